/** Follows the events of a run with fetch, which can send a token; goes on by itself where the connection broke. */

import { address, connection, headers, needsToken, sleep } from './client.ts';
import { SseParser, type SseMessage } from './sse.ts';

/** A comment comes every 15 s; a stream that is silent for longer is dead. */
const SILENCE = 40_000;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15_000;

export interface Follower {
  /** Called for each event of the run, and for `status`. */
  onMessage(message: SseMessage): void;
  /** Called when events come, and when they stop coming; `ended` when none will. */
  onState(state: 'live' | 'lost' | 'ended'): void;
}

/** Follows the events of `path` after number `after`; `null` for all. Returns when the run has ended or `signal` says so. */
export async function follow(path: string, after: number | null, follower: Follower, signal: AbortSignal): Promise<void> {
  let last: string | null = after == null ? null : String(after);
  let wait = FIRST_WAIT;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const stop = (): void => attempt.abort();
    signal.addEventListener('abort', stop, { once: true });
    try {
      const sent: Record<string, string> = last == null ? {} : { 'Last-Event-ID': last };
      const response = await fetch(address(path), { headers: headers({ Accept: 'text/event-stream', ...sent }), signal: attempt.signal, cache: 'no-store' });
      connection.set('online');
      if (response.status === 204) return follower.onState('ended');
      if (response.status === 401) needsToken.set(true);
      if (!response.ok || !response.body) {
        // Unknown, forbidden: asking again changes nothing.
        if (response.status < 500 && response.status !== 429) return follower.onState('ended');
        throw new Error(`status ${response.status}`);
      }
      follower.onState('live');
      wait = FIRST_WAIT;
      for await (const message of messages(response.body, attempt)) {
        if (message.id) last = message.id;
        if (message.event === 'end') return follower.onState('ended');
        follower.onMessage(message);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TypeError) connection.set('offline');
    } finally {
      signal.removeEventListener('abort', stop);
      attempt.abort();
    }
    if (signal.aborted) return;
    follower.onState('lost');
    await sleep(wait * (0.8 + 0.4 * Math.random()), signal);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

async function* messages(body: ReadableStream<Uint8Array>, attempt: AbortController): AsyncGenerator<SseMessage> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const timer = setTimeout(() => attempt.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    yield* parser.push(decoder.decode(value, { stream: true }));
  }
}
