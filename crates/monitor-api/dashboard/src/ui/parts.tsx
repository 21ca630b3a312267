/** Small parts that every view uses: states, bars, notices, empty views, tiles. */

import type { ComponentChildren, JSX } from 'preact';
import { ApiError, Unreachable } from '../api/client.ts';
import type { Problem, Status } from '../api/types.ts';
import { ago } from '../data/units.ts';
import { Icon } from './icon.tsx';

const STATES: Record<Status, [icon: string, words: string]> = {
  running: ['pulse', 'Running'],
  queued: ['clock', 'Queued'],
  completed: ['check', 'Completed'],
  failed: ['cross', 'Failed'],
  cancelled: ['stop', 'Cancelled'],
  interrupted: ['warn', 'Interrupted'],
  not_started: ['circle', 'Not started'],
};

export const isActive = (status: Status | undefined): boolean => status === 'running' || status === 'queued';

export function StateChip({ status }: { status: Status }): JSX.Element {
  const [icon, words] = STATES[status] ?? ['circle', status];
  return <span class={`chip state-${status}`}><Icon name={icon} />{words}</span>;
}

export function stateWords(status: Status): string {
  return STATES[status]?.[1] ?? status;
}

/** A figure's basis: measured by a counter, modelled, or both. */
export function Basis({ basis }: { basis: string | null | undefined }): JSX.Element | null {
  if (!basis) return null;
  const title: Record<string, string> = {
    measured: 'Read from hardware counters',
    modelled: 'Computed from time, load and rated power',
    mixed: 'Some components measured, some modelled',
  };
  return <span class={`basis basis-${basis}`} title={title[basis]}>{basis.replace(/_/g, ' ')}</span>;
}

export function Bar({ percent, label, tone }: { percent: number; label: string; tone?: string }): JSX.Element {
  const width = Math.max(0, Math.min(100, percent));
  return (
    <span class={`bar ${tone ?? ''}`} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(width)}>
      <i style={{ width: `${width}%` }} />
    </span>
  );
}

export function Ago({ at }: { at: string | null | undefined }): JSX.Element | null {
  return at ? <time dateTime={at} title={new Date(at).toLocaleString()}>{ago(at)}</time> : null;
}

export function Notice({ kind = 'info', children, title }: { kind?: 'info' | 'warn' | 'error' | 'good'; title?: string | undefined; children?: ComponentChildren }): JSX.Element {
  const icon = { info: 'info', warn: 'warn', error: 'cross', good: 'check' }[kind];
  return (
    <div class={`notice ${kind}`} role={kind === 'error' ? 'alert' : undefined}>
      <Icon name={icon} />
      <div>{title && <strong>{title}</strong>}{children}</div>
    </div>
  );
}

/** A sentence with a capital and a full stop. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const end = /[.!?…:]$/.test(trimmed) ? '' : '.';
  // An id or a path keeps its letters.
  const first = /^[a-z]+(\s|$)/.test(trimmed) ? trimmed[0]!.toUpperCase() + trimmed.slice(1) : trimmed;
  return first + end;
}

/** What went wrong, in sentences, with what to do. */
export function Trouble({ error, retry }: { error: Error; retry?: () => void }): JSX.Element {
  const problem = error instanceof ApiError ? error.problem : null;
  return (
    <Notice kind={error instanceof Unreachable ? 'warn' : 'error'}>
      <p>{sentence(error.message)}</p>
      <Parts of={problem} />
      {error instanceof Unreachable && <p>It is asked again until it does. <code>greentune serve</code> starts it.</p>}
      {retry && !(error instanceof Unreachable) && <button type="button" class="small" onClick={retry}>Try again</button>}
    </Notice>
  );
}

function Parts({ of }: { of: Problem | null }): JSX.Element | null {
  if (!of) return null;
  return (
    <>
      {of.problems?.length ? (
        <ul>{of.problems.map((part, index) => <li key={index}>{part.location?.key && <code>{part.location.key}</code>} {sentence(part.message ?? part.detail ?? '')}</li>)}</ul>
      ) : null}
      {of.hint && <p class="hint">{sentence(of.hint)}</p>}
    </>
  );
}

export function Empty({ icon, title, children }: { icon: string; title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <span class="empty-icon"><Icon name={icon} /></span>
      <h2>{title}</h2>
      <div>{children}</div>
    </div>
  );
}

export function Tile({ label, children, note }: { label: ComponentChildren; children: ComponentChildren; note?: ComponentChildren }): JSX.Element {
  return (
    <div class="tile">
      <dt>{label}</dt>
      <dd><span class="figure">{children}</span>{note && <span class="note">{note}</span>}</dd>
    </div>
  );
}

export function Tiles({ children, label }: { children: ComponentChildren; label: string }): JSX.Element {
  return <dl class="tiles" aria-label={label}>{children}</dl>;
}

export function Section({ title, children, tools, id }: { title: string; children: ComponentChildren; tools?: ComponentChildren; id?: string }): JSX.Element {
  return (
    <section class="section" aria-label={title} id={id}>
      <header class="section-head"><h2>{title}</h2>{tools && <span class="tools">{tools}</span>}</header>
      {children}
    </section>
  );
}

/** Grey bars in the place of what is being read. */
export function Loading({ rows = 5 }: { rows?: number }): JSX.Element {
  return <div class="loading" role="status" aria-label="Reading">{Array.from({ length: rows }, (_, row) => <i key={row} />)}</div>;
}

/** One of a few choices, as joined buttons. */
export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: [T, string][]; onChange: (value: T) => void }): JSX.Element {
  return (
    <span class="choice" role="group" aria-label={label}>
      {options.map(([option, words]) => (
        <button type="button" key={option} aria-pressed={option === value} onClick={() => onChange(option)}>{words}</button>
      ))}
    </span>
  );
}
