/** What a run emitted: by component with method and bounds, in everyday units, and what would lower it. */

import type { ComponentChildren, JSX } from 'preact';
import { ApiError } from '../api/client.ts';
import type { Component, EmissionsSummary, Progress, Range } from '../api/types.ts';
import { duration, energy, everyday, format, massAlone, money, number, range } from '../data/units.ts';
import { Basis, Notice, Section, sentence, Trouble } from '../ui/parts.tsx';

interface Props {
  summary: EmissionsSummary | null;
  progress: Progress | null;
  error: Error | null;
}

export function RunEmissions({ summary, progress, error }: Props): JSX.Element | null {
  if (!summary) {
    if (error && !(error instanceof ApiError && error.status === 404)) return <Section title="Energy and emissions"><Trouble error={error} /></Section>;
    return progress?.status === 'not_started' ? null : <Section title="Energy and emissions"><p class="faint">Nothing has been metered yet.</p></Section>;
  }
  const parts = componentsOf(summary);
  const { summary: totals, stages } = summary;
  const intensity = stages.find((stage) => stage.provenance?.carbon_intensity_g_per_kwh != null)?.provenance;
  return (
    <Section title="Energy and emissions">
      <div class="columns">
        <div class="card">
          <h3>Energy by component</h3>
          {parts.length > 0 ? <Components parts={parts} /> : <p class="faint">The files of this run do not say how its components were metered, so there are no bounds.</p>}
          {intensity && (
            <p class="source"><b>{format('intensity', intensity.carbon_intensity_g_per_kwh)}</b> carbon intensity: {intensity.carbon_intensity_source}{intensity.pue != null && intensity.pue !== 1 ? `; PUE ${number(intensity.pue)}` : ''}</p>
          )}
        </div>
        <div class="card">
          <h3>By stage</h3>
          <table class="plain tight">
            <caption class="unseen">Energy and emissions of each stage</caption>
            <thead><tr><th scope="col">Stage</th><th scope="col" class="num">Time</th><th scope="col" class="num">Energy</th><th scope="col" class="num">CO2e</th></tr></thead>
            <tbody>
              {stages.map((stage, index) => (
                <tr key={index}><th scope="row">{stage.stage}</th><td class="num">{duration(stage.duration_hours * 3600)}</td><td class="num">{energy(stage.energy_kwh)}</td><td class="num">{massAlone(stage.emissions_kg)}</td></tr>
              ))}
              <tr class="sum">
                <th scope="row">All</th><td class="num">{duration(totals.total_duration_hours * 3600)}</td>
                <td class="num">{energy(totals.total_energy_kwh)}<Bounds of={totals.energy_range_kwh} kind="energy" /></td>
                <td class="num">{massAlone(totals.total_emissions_kg_co2)}<Bounds of={totals.emissions_range_kg} kind="mass" /></td>
              </tr>
            </tbody>
          </table>
          <Everyday summary={summary} />
        </div>
      </div>
      {summary.caveats?.map((caveat) => <Notice key={caveat} kind="warn">{sentence(caveat)}</Notice>)}
      <Advice recommendations={summary.recommendations} offset={summary.carbon_offset_cost_range_usd} offsetAtMost={summary.carbon_offset_cost_usd} source={summary.equivalence_factors?.offset_source} />
    </Section>
  );
}

function Bounds({ of, kind }: { of: Range | undefined; kind: 'energy' | 'mass' }): JSX.Element | null {
  return of ? <small class="bounds">{range(kind, of).replace('\u00a0CO2e', '')}</small> : null;
}

/** The components over all stages. */
export function componentsOf(summary: EmissionsSummary): Component[] {
  const merged = new Map<string, Component>();
  for (const part of summary.stages.flatMap((stage) => stage.provenance?.components ?? [])) {
    const key = `${part.component} ${part.basis} ${part.method}`;
    const had = merged.get(key);
    merged.set(key, !had ? { ...part } : {
      ...had,
      energy_kwh: had.energy_kwh + part.energy_kwh,
      ...(had.range_kwh && part.range_kwh ? { range_kwh: [had.range_kwh[0] + part.range_kwh[0], had.range_kwh[1] + part.range_kwh[1]] as Range } : {}),
    });
  }
  return [...merged.values()].sort((a, b) => b.energy_kwh - a.energy_kwh);
}

const TONES: Record<string, number> = { cpu: 1, gpu: 2, ram: 3 };
const NAMES: Record<string, string> = { cpu: 'CPU', gpu: 'GPU', ram: 'Memory' };

function Components({ parts }: { parts: Component[] }): JSX.Element {
  const total = parts.reduce((sum, part) => sum + part.energy_kwh, 0) || 1;
  return (
    <>
      <ShareBar parts={parts.map((part) => ({ name: NAMES[part.component] ?? part.component, share: part.energy_kwh / total, tone: TONES[part.component] ?? 6 }))} />
      <dl class="components">
        {parts.map((part, index) => (
          <div key={index}>
            <dt><i class={`key tone-${TONES[part.component] ?? 6}`} />{NAMES[part.component] ?? part.component} <Basis basis={part.basis} /></dt>
            <dd>
              <b>{energy(part.energy_kwh)}</b> <span class="faint">{format('share', part.energy_kwh / total)}</span>
              {part.range_kwh && <small class="bounds">{range('energy', part.range_kwh)}</small>}
              <details><summary>How it is known</summary><p>{sentence(part.method)}</p><p class="faint">{sentence(part.source)}{part.year ? ` (${part.year})` : ''}</p></details>
            </dd>
          </div>
        ))}
      </dl>
    </>
  );
}

/** Shares of a whole, as one bar. */
export function ShareBar({ parts }: { parts: { name: string; share: number; tone: number }[] }): JSX.Element {
  const words = parts.map((part) => `${part.name} ${format('share', part.share)}`).join(', ');
  return (
    <span class="share-bar" role="img" aria-label={words}>
      {parts.filter((part) => part.share > 0).map((part) => <i key={part.name} class={`tone-${part.tone}`} style={{ flexGrow: part.share }} title={`${part.name} ${format('share', part.share)}`} />)}
    </span>
  );
}

function Everyday({ summary }: { summary: EmissionsSummary }): JSX.Element {
  const { equivalencies: same, equivalence_factors: factors, sci } = summary;
  const rows: [string, string, string | undefined][] = [
    ['Trees for a year', everyday(same.trees_to_offset_1year), factors?.tree_year && `${factors.tree_year.unit}; ${factors.tree_year.source}, ${factors.tree_year.year}`],
    ['Miles driven', everyday(same.miles_driven_equivalent), factors?.mile_driven?.unit],
    ['Smartphones charged', everyday(same.smartphones_charged), factors?.smartphone_charge?.unit],
  ];
  return (
    <dl class="everyday">
      {rows.map(([name, value, title]) => <div key={name} title={title}><dt>{name}</dt><dd>{value}</dd></div>)}
      {sci && <div title={sci.note}><dt>Per {sci.per.unit}</dt><dd>{number(sci.g_per_unit)}&nbsp;g CO2e</dd></div>}
    </dl>
  );
}

interface AdviceProps {
  recommendations: ComponentChildren[];
  offset: Range | undefined;
  offsetAtMost: number;
  source: string | undefined;
}

/** What would lower the figure, and what an offset would cost. */
export function Advice({ recommendations, offset, offsetAtMost, source }: AdviceProps): JSX.Element {
  return (
    <div class="card advice">
      <h3>Recommendations</h3>
      {recommendations.length > 0
        ? <ul>{recommendations.map((text, index) => <li key={index}>{typeof text === 'string' ? sentence(text) : text}</li>)}</ul>
        : <p class="faint">Nothing stands out that would lower these figures.</p>}
      <p class="offset" title={source}>
        <span>Offsetting would cost</span> <b>{offset ? range('usd', offset) : `up to ${money(offsetAtMost)}`}</b>
        <span class="faint"> An offset is never subtracted from emissions.</span>
      </p>
    </div>
  );
}
