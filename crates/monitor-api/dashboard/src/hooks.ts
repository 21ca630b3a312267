/** Hooks that views share: watched stores, and answers of the API that are read again. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { connection, token } from './api/client.ts';
import type { Store } from './data/store.ts';

/** The value of a store, now and after every change. */
export function useStore<T>(store: Store<T>): T {
  const [, draw] = useState(0);
  useEffect(() => store.subscribe(() => draw((times) => times + 1)), [store]);
  return store.get();
}

/** An answer that is on its way, there, or an error; an old answer stays while a newer one is asked for. */
export interface Resource<T> {
  data: T | null;
  error: Error | null;
  isLoading: boolean;
  reload(): void;
}

/**
 * Reads something, again when `key` changes, when the server is back, and every `every` milliseconds while the page is
 * seen. A `key` of `null` reads nothing.
 */
export function useResource<T>(
  key: string | null,
  read: (signal: AbortSignal) => Promise<T>,
  every: number | ((data: T | null) => number | null) | null = null,
): Resource<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; error: Error | null; isLoading: boolean }>(
    { key, data: null, error: null, isLoading: key != null },
  );
  const [turn, setTurn] = useState(0);
  const reader = useRef(read);
  reader.current = read;
  const pause = useRef(every);
  pause.current = every;

  useEffect(() => {
    if (key == null) return undefined;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let latest: T | null = null;
    const ask = async (): Promise<void> => {
      setState((old) => ({ ...(old.key === key ? old : { key, data: null, error: null }), isLoading: true }));
      try {
        latest = await reader.current(stop.signal);
        if (!stop.signal.aborted) setState({ key, data: latest, error: null, isLoading: false });
      } catch (error) {
        if (stop.signal.aborted) return;
        setState((old) => ({ key, data: old.key === key ? old.data : null, error: error as Error, isLoading: false }));
      }
      plan();
    };
    const plan = (): void => {
      clearTimeout(timer);
      const every = pause.current;
      const wait = typeof every === 'function' ? every(latest) : every;
      if (wait == null || stop.signal.aborted) return;
      timer = setTimeout(() => void (document.visibilityState === 'visible' ? ask() : plan()), wait);
    };
    const back = (): void => {
      if (connection.get() === 'online') void ask();
    };
    const end = connection.subscribe(back);
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
      end();
    };
  }, [key, turn]);

  const current = state.key === key ? state : { data: null, error: null, isLoading: key != null };
  return { ...current, reload: () => setTurn((turn) => turn + 1) };
}

/** A number that rises when another token is given, so that everything is asked again. */
export function useTokenTurn(): [number, (value: string) => void] {
  const [turn, setTurn] = useState(0);
  return [turn, (value) => {
    token.set(value);
    setTurn((turn) => turn + 1);
  }];
}

/** `value` once it has not changed for `milliseconds`. */
export function useSettled<T>(value: T, milliseconds: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(() => value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}

/** Draws again every `milliseconds`, for times such as `5 min ago`. */
export function useClock(milliseconds: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
  return now;
}
