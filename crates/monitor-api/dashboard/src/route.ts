/** Where the reader is: `#/runs`, `#/run/ID`, `#/emissions`, …, with arguments after `?`. */

import { useEffect, useState } from 'preact/hooks';

export interface Route {
  view: string;
  /** What follows the view, decoded. */
  rest: string;
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [view = '', ...rest] = path.split('/');
  return { view: view || 'runs', rest: decoded(rest.join('/')), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a view. */
export function link(view: string, rest = '', query: Record<string, string | null | undefined> = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => !!entry[1]);
  const text = new URLSearchParams(given).toString();
  return `#/${view}${rest && `/${encodeURIComponent(rest)}`}${text && `?${text}`}`;
}

export const runLink = (runId: string, project?: string): string => link('run', runId, { project });

/** Changes the arguments of this view without a new entry in the history. */
export function replaceQuery(route: Route, query: Record<string, string | null | undefined>): void {
  const merged = { ...Object.fromEntries(route.query), ...query };
  history.replaceState(null, '', link(route.view, route.rest, merged));
  window.dispatchEvent(new HashChangeEvent('hashchange'));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = (): void => setRoute(parse(location.hash));
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return route;
}
