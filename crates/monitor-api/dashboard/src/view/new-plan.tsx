/** What a configured run will take, and the button that starts it. */

import type { JSX } from 'preact';
import { ApiError } from '../api/client.ts';
import type { Plan, Range } from '../api/types.ts';
import { count, fileName, format, money, range, type Kind } from '../data/units.ts';
import { Icon } from '../ui/icon.tsx';
import { Basis, Notice, sentence } from '../ui/parts.tsx';

/** A run that was made by the form. */
export interface Configured {
  kind: 'text' | 'images';
  answer: {
    run_id: string;
    project_path?: string;
    configuration_summary?: { base_model: string; model_id?: string; adapters: string; device: string; selection?: string; stages: { stage: number; iterations: number; learning_rate: number; records_per_step: number }[]; warnings: string[] };
    warnings?: string[];
    chosen?: { key: string; value: unknown; to_suit: string }[];
  };
  project?: string | undefined;
  plan?: Plan;
  /** Why there is no plan. */
  unplanned?: Error;
}

interface PlannedProps {
  stage: string;
  configured: Configured | null;
  onStart(): void;
}

export function Planned({ stage, configured, onStart }: PlannedProps): JSX.Element {
  if (!configured) {
    return (
      <div class="plan-empty">
        <h2>Plan</h2>
        <p>{stage === 'configuring' ? 'Data, settings and model are being checked …' : 'Memory, time, energy, CO2 and cost of the run appear here before it starts.'}</p>
      </div>
    );
  }
  const { answer, plan, unplanned } = configured;
  const summary = answer.configuration_summary;
  const warnings = [...(summary?.warnings ?? []), ...(answer.warnings ?? [])];
  const isReady = stage === 'planned' || stage === 'starting';
  return (
    <div class="card plan">
      <header><h2>Plan</h2><code class="faint">{answer.run_id}</code></header>
      {summary && (
        <p class="plan-what">
          {summary.adapters} on {summary.model_id ?? fileName(summary.base_model)}{summary.selection && `, ${summary.selection}`}; {summary.stages.map((one) => `stage ${one.stage}: ${count(one.iterations)} steps of ${count(one.records_per_step)} records`).join('; ')}.
        </p>
      )}
      {answer.chosen && answer.chosen.length > 0 && <p class="plan-what">Chosen to suit: {answer.chosen.map((one) => `${one.key} = ${String(one.value)}`).join(', ')}.</p>}
      {warnings.map((text) => <Notice key={text} kind="warn">{sentence(text)}</Notice>)}
      {stage === 'planning' && <p class="planning" role="status"><i class="spin" />Planning; a few steps may be tried, up to a minute …</p>}
      {plan && <PlanFigures plan={plan} />}
      {unplanned && <Unplanned error={unplanned} />}
      {isReady && (
        <div class="new-buttons">
          <button type="button" class="primary" disabled={stage === 'starting' || plan?.memory.fits === false} onClick={onStart}><Icon name="play" />{stage === 'starting' ? 'Starting …' : 'Start'}</button>
          <small class="faint">Without a start the run stays in the list as “not started”.</small>
        </div>
      )}
    </div>
  );
}

function Unplanned({ error }: { error: Error }): JSX.Element {
  const isForeseen = error instanceof ApiError && [409, 501].includes(error.status);
  return (
    <Notice kind={isForeseen ? 'info' : 'warn'} title="There is no plan.">
      {sentence(error.message)}
      {error instanceof ApiError && error.hint && <p class="hint">{sentence(error.hint)}</p>}
    </Notice>
  );
}

const BASES: Record<string, string> = { measured_steps: 'measured on a few steps', past_runs: 'from earlier runs', formula: 'by formula' };

function PlanFigures({ plan }: { plan: Plan }): JSX.Element {
  const { memory, time, energy: power, carbon, cost } = plan;
  const rows: [string, Kind, number, Range, string | undefined][] = [
    ['Memory at its peak', 'bytes', memory.peak_bytes, memory.peak_range_bytes, memory.available.bytes != null ? `${format('bytes', memory.available.bytes)} free on ${memory.available.limited_by}` : undefined],
    ...(time ? [['Time', 'seconds', time.duration_seconds, time.range_seconds, BASES[plan.basis]] as [string, Kind, number, Range, string | undefined]] : []),
    ...(power ? [['Energy', 'energy', power.energy_kwh, power.range_kwh, `${format('power', power.power_w)} on average`] as [string, Kind, number, Range, string | undefined]] : []),
    ...(carbon ? [['Emissions', 'mass', carbon.emissions_kg_co2, carbon.range_kg_co2, `${format('intensity', carbon.carbon_intensity_g_per_kwh)}`] as [string, Kind, number, Range, string | undefined]] : []),
  ];
  return (
    <>
      {memory.fits === false && <Notice kind="error" title="It does not fit.">The run needs more memory than there is; smaller batches, shorter records or a quantized base need less.</Notice>}
      <table class="plain">
        <caption class="unseen">What the run will take</caption>
        <thead><tr><th scope="col">What</th><th scope="col" class="num">About</th><th scope="col" class="num">Between</th></tr></thead>
        <tbody>
          {rows.map(([name, kind, value, bounds, note]) => (
            <tr key={name}><th scope="row">{name} {name === 'Energy' && <Basis basis={power?.basis} />}{note && <small class="bounds">{note}</small>}</th><td class="num"><b>{format(kind, value)}</b></td><td class="num faint">{range(kind, bounds)}</td></tr>
          ))}
          {cost && <tr><th scope="row">Cost<small class="bounds">at {money(cost.price_per_kwh, cost.currency ?? '')} per kWh</small></th><td class="num"><b>{money(cost.amount, cost.currency ?? '')}</b></td><td class="num faint">{range('usd', cost.range, cost.currency ?? '')}</td></tr>}
        </tbody>
      </table>
      <p class="faint plan-device">On {plan.device}; {count(plan.trainable_parameters)} of {count(plan.base_parameters + plan.trainable_parameters)} weights are trained.</p>
      <details><summary>What the plan assumes</summary><ul>{plan.assumptions.map((text) => <li key={text}>{sentence(text)}</li>)}{carbon && <li>{sentence(`Carbon intensity: ${carbon.carbon_intensity_source}`)}</li>}</ul></details>
    </>
  );
}

