/** What went wrong, the plan against what came of it, files, and the end of the log. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { get } from '../api/client.ts';
import type { Plan, Progress, RunShown } from '../api/types.ts';
import { format, number, range, type Kind } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { Icon } from '../ui/icon.tsx';
import { Ago, Basis, Notice, Section, sentence } from '../ui/parts.tsx';

export function Problems({ run, progress }: { run: RunShown; progress: Progress }): JSX.Element | null {
  const { problem, hint } = progress;
  const warnings = [...new Set([...progress.warnings, ...(run.warnings ?? [])])];
  if (!problem && !hint && warnings.length === 0) return null;
  return (
    <div class="problems">
      {problem && <Notice kind="error" title="The run failed."><p>{sentence(problem.message ?? problem.detail ?? '')}</p>{problem.hint && <p class="hint">{sentence(problem.hint)}</p>}</Notice>}
      {!problem && hint && <Notice kind="info">{sentence(hint)}</Notice>}
      {warnings.length > 3
        ? <details class="notice warn"><summary><Icon name="warn" /><strong>{warnings.length} warnings</strong></summary><ul>{warnings.map((text) => <li key={text}>{sentence(text)}</li>)}</ul></details>
        : warnings.map((text) => <Notice key={text} kind="warn">{sentence(text)}</Notice>)}
    </div>
  );
}

const QUANTITIES: Record<string, [string, Kind]> = {
  peak_memory_bytes: ['Peak memory', 'bytes'], duration_seconds: ['Time', 'seconds'], energy_kwh: ['Energy', 'energy'], emissions_kg_co2: ['Emissions', 'mass'],
};

const BASES: Record<string, string> = {
  measured_steps: 'a few steps that were measured', past_runs: 'earlier runs on this machine', formula: 'a formula; nothing was measured',
};

/** A quantity of a plan, with its bounds. */
interface Planned {
  quantity: string;
  planned: number;
  range?: [number, number] | undefined;
}

export function plannedOf(plan: Plan): Planned[] {
  const rows: (Planned | null)[] = [
    { quantity: 'peak_memory_bytes', planned: plan.memory.peak_bytes, range: plan.memory.peak_range_bytes },
    plan.time ? { quantity: 'duration_seconds', planned: plan.time.duration_seconds, range: plan.time.range_seconds } : null,
    plan.energy ? { quantity: 'energy_kwh', planned: plan.energy.energy_kwh, range: plan.energy.range_kwh } : null,
    plan.carbon ? { quantity: 'emissions_kg_co2', planned: plan.carbon.emissions_kg_co2, range: plan.carbon.range_kg_co2 } : null,
  ];
  return rows.filter((row): row is Planned => !!row);
}

export function PlanAgainstActual({ run, plan }: { run: RunShown; plan: Plan | null }): JSX.Element | null {
  const accuracy = run.plan_accuracy;
  if (!accuracy && !plan) return null;
  const ranges = new Map(plan ? plannedOf(plan).map((row) => [row.quantity, row.range]) : []);
  const rows: (Planned & { actual?: number; ratio?: number; within_range?: boolean })[] = accuracy?.quantities ?? (plan ? plannedOf(plan) : []);
  const basis = accuracy?.basis ?? plan?.basis ?? '';
  return (
    <Section title="Plan against actual">
      <div class="card">
        <div class="scroll" tabIndex={0} role="region" aria-label="Plan against actual">
          <table class="plain">
            <caption class="unseen">What was planned, and what came of it</caption>
            <thead><tr><th scope="col">Quantity</th><th scope="col" class="num">Planned</th><th scope="col" class="num">Bounds</th><th scope="col" class="num">Actual</th><th scope="col" class="num">Actual ÷ planned</th><th scope="col">Within bounds</th></tr></thead>
            <tbody>
              {rows.map((row) => {
                const [name, kind] = QUANTITIES[row.quantity] ?? [row.quantity.replace(/_/g, ' '), 'plain' as Kind];
                return (
                  <tr key={row.quantity}>
                    <th scope="row">{name}</th><td class="num">{format(kind, row.planned)}</td><td class="num faint">{range(kind, row.range ?? ranges.get(row.quantity))}</td>
                    <td class="num">{format(kind, row.actual)}</td><td class="num">{row.ratio != null ? number(row.ratio) : '–'}</td>
                    <td>{row.within_range == null ? <span class="faint">not known yet</span> : row.within_range ? <span class="good"><Icon name="check" />yes</span> : <span class="bad"><Icon name="cross" />no</span>}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
        <p class="faint">Time and energy of the plan rest on {BASES[basis] ?? basis.replace(/_/g, ' ')}{accuracy?.planned_afterwards ? ', and it was planned after training had begun' : ''}. {plan?.energy && <>Power is <Basis basis={plan.energy.basis} />.</>}</p>
      </div>
    </Section>
  );
}

const ROLES: [RegExp, string][] = [
  [/^final_model$/, 'Final model'], [/^stage(\d+)_adapters$/, 'Adapters of stage $1'], [/^stage(\d+)_checkpoints$/, 'Checkpoints of stage $1'],
  [/^stage(\d+)_emissions$/, 'Emissions of stage $1 (CodeCarbon CSV)'], [/^stage(\d+)_provenance$/, 'How stage $1 was metered'],
];

function roleWords(role: string): string {
  for (const [pattern, words] of ROLES) if (pattern.test(role)) return role.replace(pattern, words);
  return role.replace(/_/g, ' ');
}

export function Files({ run }: { run: RunShown }): JSX.Element | null {
  const { artifacts = {}, exports = [], data = {} } = run.manifest;
  const made = Object.entries(artifacts);
  if (made.length === 0 && exports.length === 0) return null;
  return (
    <Section title="Files">
      <div class="card">
        <dl class="files">
          {made.map(([role, path]) => <File key={role} name={roleWords(role)} path={path} />)}
          {exports.map((one) => (
            <File key={one.path + one.at} name={<>Export of stage {one.stage}: {one.format}{one.quantization ? ` ${one.quantization}` : ''}{one.merged ? ', merged' : ''} <Ago at={one.at} /></>} path={one.path} />
          ))}
          {Object.entries(data).map(([role, path]) => <File key={role} name={`Data: ${role.replace(/_/g, ' ')}`} path={path} />)}
          <File name="Folder" path={run.run_directory} />
        </dl>
      </div>
    </Section>
  );
}

function File({ name, path }: { name: JSX.Element | string; path: string }): JSX.Element {
  const [isCopied, setIsCopied] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard?.writeText(path);
    setIsCopied(true);
    setTimeout(() => setIsCopied(false), 1500);
  };
  return (
    <div>
      <dt><Icon name="file" /><span>{name}</span></dt>
      <dd><code>{path}</code><button type="button" class="small quiet" onClick={() => void copy().catch(() => {})} aria-label={`Copy the path ${path}`}>{isCopied ? 'Copied' : 'Copy'}</button></dd>
    </div>
  );
}

export function Log({ runId, isRunning }: { runId: string; isRunning: boolean }): JSX.Element {
  const [isOpen, setIsOpen] = useState(isRunning);
  const path = `api/v1/runs/${encodeURIComponent(runId)}/log`;
  const { data, error } = useResource<{ lines: string[] }>(isOpen ? `${path} ${isRunning}` : null, (signal) => get(path, { lines: 200 }, signal), isRunning ? 3000 : null);
  const box = useRef<HTMLPreElement>(null);
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (box.current && isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [data]);
  return (
    <Section title="Log" tools={<button type="button" class="small" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>{isOpen ? 'Hide' : 'Show the end of the log'}</button>}>
      {isOpen && (
        <pre
          class="log" ref={box} tabIndex={0} role="region" aria-label="End of the log"
          onScroll={(event) => { const own = event.currentTarget; isAtEnd.current = own.scrollHeight - own.scrollTop - own.clientHeight < 24; }}
        >{error && !data ? error.message : data ? data.lines.join('\n') || 'The log is empty.' : 'Reading …'}</pre>
      )}
    </Section>
  );
}
