/** Requests to the API: the token, problems as errors, and whether the server answers at all. */

import { Store } from '../data/store.ts';
import type { Problem } from './types.ts';

const TOKEN = 'greentune-token';

/** What went wrong, as the API words it. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly problem: Problem) {
    super(problem.detail ?? problem.message ?? problem.title ?? `the server answered ${status}`);
  }

  get hint(): string | undefined {
    return this.problem.hint;
  }
}

/** The server gave no answer. */
export class Unreachable extends Error {
  constructor() {
    super('The server does not answer.');
  }
}

/** Whether the server answers, and whether it wants a token. */
export const connection = new Store<'online' | 'offline'>('online');
export const needsToken = new Store<boolean>(false);

/** The token of this tab; it is kept in the tab's session alone. */
export const token = {
  get(): string | null {
    try {
      return sessionStorage.getItem(TOKEN);
    } catch {
      return null;
    }
  },
  set(value: string | null): void {
    try {
      if (value) sessionStorage.setItem(TOKEN, value);
      else sessionStorage.removeItem(TOKEN);
    } catch {
      // A page without storage asks again after a reload.
    }
    needsToken.set(false);
  },
};

/** Headers of every request. */
export function headers(more: Record<string, string> = {}): Record<string, string> {
  const own = token.get();
  return own ? { ...more, Authorization: `Bearer ${own}` } : more;
}

type Query = Record<string, string | number | null | undefined>;

/** `path` with the arguments that have a value. */
export function address(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== '');
  const text = given.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`).join('&');
  // Relative, so that the page works below a prefix too.
  return path.replace(/^\//, '') + (text && `?${text}`);
}

/** Sends a request; every answer but success is an error. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: headers(init.headers as Record<string, string>) });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    connection.set('offline');
    throw new Unreachable();
  }
  connection.set('online');
  if (response.ok) return response;
  if (response.status === 401) needsToken.set(true);
  throw new ApiError(response.status, await problemOf(response));
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const body: unknown = await response.json();
    if (body && typeof body === 'object') return body as Problem;
  } catch {
    // Not JSON: its status has to do.
  }
  return { status: response.status, title: response.statusText || `status ${response.status}` };
}

/** Reads JSON. */
export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const response = await send(address(path, query), { signal: signal ?? null, headers: { Accept: 'application/json' } });
  return (await response.json()) as T;
}

/** Performs an operation of the workbench. */
export async function perform<T>(operation: string, args: Record<string, unknown>, signal?: AbortSignal): Promise<T> {
  const response = await send(`api/v1/${operation}`, {
    method: 'POST',
    signal: signal ?? null,
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    body: JSON.stringify(args),
  });
  return (await response.json()) as T;
}

let pinging = false;

/** Asks a silent server until it answers, more and more seldom. */
connection.subscribe(() => {
  if (connection.get() === 'online' || pinging) return;
  pinging = true;
  const ask = async (wait: number): Promise<void> => {
    await sleep(wait);
    try {
      await fetch('healthz', { cache: 'no-store' });
      pinging = false;
      connection.set('online');
    } catch {
      await ask(Math.min(wait * 1.6, 10_000));
    }
  };
  void ask(1000);
});

/** Waits, or until the browser says that it is online again. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    window.addEventListener('online', done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
