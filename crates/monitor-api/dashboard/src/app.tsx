/** The frame of all views: navigation, theme, what the server is, whether it answers. */

import { useEffect, useRef } from 'preact/hooks';
import type { JSX } from 'preact';
import { connection, get, needsToken } from './api/client.ts';
import type { ServerInfo } from './api/types.ts';
import { fileName } from './data/units.ts';
import { useResource, useStore, useTokenTurn } from './hooks.ts';
import { useRoute, type Route } from './route.ts';
import { choose, theme, type Theme } from './theme.ts';
import { Icon } from './ui/icon.tsx';
import { Empty, Notice } from './ui/parts.tsx';
import { TokenForm } from './view/token.tsx';
import { Runs } from './view/runs.tsx';
import { RunPage } from './view/run.tsx';
import { EmissionsPage } from './view/emissions.tsx';
import { ComparePage } from './view/compare.tsx';
import { Leaderboard } from './view/leaderboard.tsx';
import { NewRun } from './view/new.tsx';

/** What a view is given. */
export interface ViewProps {
  route: Route;
  server: ServerInfo | null;
  /** Whether an operation may be called here. */
  can(operation: string): boolean;
}

const VIEWS: [view: string, words: string, icon: string][] = [
  ['runs', 'Runs', 'runs'],
  ['emissions', 'Emissions', 'leaf'],
  ['compare', 'Compare', 'compare'],
  ['leaderboard', 'Leaderboard', 'leader'],
];

export function App(): JSX.Element {
  const route = useRoute();
  const wantsToken = useStore(needsToken);
  const [turn, giveToken] = useTokenTurn();
  const { data: server } = useResource<ServerInfo>(`server ${turn}`, (signal) => get('api/v1/server', {}, signal));
  const main = useRef<HTMLElement>(null);
  const place = `${route.view}/${route.rest}`;
  const shown = useRef(place);
  useEffect(() => {
    if (shown.current === place) return;
    shown.current = place;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [place]);
  useTitle(route);
  const can = (operation: string): boolean => !!server && !server.read_only && server.operations.includes(operation);
  const canStart = can('start_training');
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
      <header class="side">
        <a class="brand" href="#/runs" aria-label="greentune, all runs"><Mark />greentune</a>
        <nav aria-label="Views">
          {VIEWS.map(([view, words, icon]) => (
            <a key={view} href={`#/${view}`} aria-current={view === route.view || (view === 'runs' && route.view === 'run') ? 'page' : undefined}><Icon name={icon} /><span>{words}</span></a>
          ))}
          {canStart && <a key="new" href="#/new" class="nav-new" aria-current={route.view === 'new' ? 'page' : undefined}><Icon name="plus" /><span>New run</span></a>}
        </nav>
        <div class="side-end">
          {server && <About server={server} />}
          <ThemeSwitch />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <ConnectionNotice />
        {wantsToken ? <TokenForm onToken={giveToken} /> : <View key={turn} route={route} server={server} can={can} />}
      </main>
    </div>
  );
}

function View(props: ViewProps): JSX.Element {
  switch (props.route.view) {
    case 'runs': return <Runs {...props} />;
    case 'run': return <RunPage key={props.route.rest} {...props} />;
    case 'emissions': return <EmissionsPage {...props} />;
    case 'compare': return <ComparePage {...props} />;
    case 'leaderboard': return <Leaderboard {...props} />;
    case 'new': return <NewRun {...props} />;
    default: return <Empty icon="search" title="There is no such page"><p><a href="#/runs">All runs</a></p></Empty>;
  }
}

function useTitle(route: Route): void {
  const words = VIEWS.find(([view]) => view === route.view)?.[1];
  useEffect(() => {
    document.title = `${route.view === 'run' ? route.rest : route.view === 'new' ? 'New run' : words ?? 'greentune'} · greentune`;
  }, [route.view, route.rest]);
}

function ConnectionNotice(): JSX.Element {
  const state = useStore(connection);
  return (
    <div role="status" aria-live="polite" class="connection">
      {state === 'offline' && <Notice kind="warn" title="Offline, trying again.">The server does not answer. What you see is the last it said; the page goes on by itself.</Notice>}
    </div>
  );
}

function About({ server }: { server: ServerInfo }): JSX.Element {
  return (
    <p class="about">
      {server.read_only && <span class="chip quiet" title="Nothing can be started or changed here"><Icon name="lock" />Read-only</span>}
      {server.account && <span class="faint">{server.account}</span>}
      {server.project_path && <span class="faint" title={server.project_path}>{fileName(server.project_path)}</span>}
      <span class="faint">v{server.version}</span>
    </p>
  );
}

export function ThemeSwitch(): JSX.Element {
  const now = useStore(theme);
  const options: [Theme, string, string][] = [['light', 'sun', 'Light'], ['system', 'auto', 'As the system'], ['dark', 'moon', 'Dark']];
  return (
    <span class="choice theme" role="group" aria-label="Theme">
      {options.map(([option, icon, words]) => (
        <button type="button" key={option} aria-pressed={now === option} aria-label={words} title={words} onClick={() => choose(option)}><Icon name={icon} /></button>
      ))}
    </span>
  );
}

export function Mark(): JSX.Element {
  return (
    <svg class="mark" width="22" height="22" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" />
      <path d="M6 9c4 0 5 13 10 13 4 0 5-6 10-6" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" />
    </svg>
  );
}
