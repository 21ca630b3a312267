/** Picks runs by typing: a list of what fits, with the keyboard or the pointer. */

import { useId, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { get } from '../api/client.ts';
import type { RunList, RunSummary } from '../api/types.ts';
import { massAlone } from '../data/units.ts';
import { useResource, useSettled } from '../hooks.ts';
import { Icon } from './icon.tsx';
import { Ago, StateChip } from './parts.tsx';

interface PickerProps {
  label: string;
  hint: string;
  /** The colour of these runs in charts. */
  tone: number;
  chosen: string[];
  onChange(runIds: string[]): void;
  /** Runs that cannot be picked here. */
  taken: string[];
}

const OFFERED = 8;

export function RunPicker({ label, hint, tone, chosen, onChange, taken }: PickerProps): JSX.Element {
  const id = useId();
  const [text, setText] = useState('');
  const [isOpen, setIsOpen] = useState(false);
  const [row, setRow] = useState(0);
  const search = useSettled(text, 200);
  const { data } = useResource<RunList>(isOpen ? `pick ${search}` : null, (signal) => get('api/v1/runs', { search, limit: OFFERED + chosen.length + taken.length, status: 'completed' }, signal));
  const offered = (data?.runs ?? []).filter((run) => !chosen.includes(run.run_id) && !taken.includes(run.run_id)).slice(0, OFFERED);
  const isShown = isOpen && offered.length > 0;
  const pick = (run: RunSummary): void => {
    onChange([...chosen, run.run_id]);
    setText('');
    setIsOpen(false);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      setIsOpen(true);
      setRow((row + (event.key === 'ArrowDown' ? 1 : -1) + offered.length) % (offered.length || 1));
    } else if (event.key === 'Enter' && isShown && offered[row]) pick(offered[row]!);
    else if (event.key === 'Escape') setIsOpen(false);
    else if (event.key === 'Backspace' && text === '' && chosen.length > 0) onChange(chosen.slice(0, -1));
    else return;
    if (event.key !== 'Backspace') event.preventDefault();
  };
  return (
    <div class="picker">
      <label for={`${id}-input`}><i class={`key tone-${tone}${tone > 1 ? ' dashed' : ''}`} /> {label} <span class="faint">{hint}</span></label>
      <div class="picked">
        {chosen.map((runId) => (
          <span class="chip picked-run" key={runId} title={runId}>
            <a href={`#/run/${encodeURIComponent(runId)}`}>{runId}</a>
            <button type="button" aria-label={`Remove ${runId}`} onClick={() => onChange(chosen.filter((one) => one !== runId))}><Icon name="cross" /></button>
          </span>
        ))}
        <input
          id={`${id}-input`} role="combobox" aria-expanded={isShown} aria-controls={`${id}-list`} aria-autocomplete="list" autoComplete="off" spellcheck={false}
          aria-activedescendant={isShown ? `${id}-${row}` : undefined} placeholder={chosen.length > 0 ? 'Add another run' : 'Search a completed run'} value={text}
          onInput={(event) => { setText(event.currentTarget.value); setRow(0); setIsOpen(true); }}
          onFocus={() => setIsOpen(true)} onClick={() => setIsOpen(true)} onBlur={() => setIsOpen(false)} onKeyDown={onKeyDown}
        />
      </div>
      <ul id={`${id}-list`} role="listbox" aria-label={`Runs for ${label}`} class="offered" hidden={!isShown}>
        {offered.map((run, index) => (
          <li key={run.run_id} id={`${id}-${index}`} role="option" aria-selected={index === row} onMouseDown={(event) => { event.preventDefault(); pick(run); }} onMouseEnter={() => setRow(index)}>
            <span><b>{run.run_name}</b><small>{run.run_id}</small></span>
            <small>{massAlone(run.carbon_emissions_kg)} · <Ago at={run.created_at} /></small>
            <StateChip status={run.status} />
          </li>
        ))}
      </ul>
    </div>
  );
}
