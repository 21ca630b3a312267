/** Two runs, or two groups of runs over seeds, beside each other. */

import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { perform } from '../api/client.ts';
import type { ComparedFigure, Comparison, ComparisonRow, Range } from '../api/types.ts';
import { csv } from '../chart/cells.ts';
import { offer } from '../chart/save.ts';
import { groupsAsCsv, kindOf, sourceWords } from '../data/compared.ts';
import { differenceOf, energy, format, mass, range, signed, signedRange, type Kind } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { replaceQuery, type Route } from '../route.ts';
import { Icon } from '../ui/icon.tsx';
import { Basis, Empty, Loading, Section, sentence, Trouble } from '../ui/parts.tsx';
import { RunPicker } from '../ui/picker.tsx';
import { Curves } from './compare-curves.tsx';
import { GroupTable, isGrouped } from './compare-groups.tsx';

const listOf = (route: Route, side: string): string[] => (route.query.get(side) ?? '').split(',').filter(Boolean);

export function ComparePage({ route }: ViewProps): JSX.Element {
  const [a, b] = [listOf(route, 'a'), listOf(route, 'b')];
  const key = a.length > 0 ? `compare ${a.join()} ${b.join()}` : null;
  const comparison = useResource<Comparison>(key, (signal) => perform('compare_runs', { ast_run_id: a, ...(b.length > 0 ? { baseline_run_id: b } : {}), format: 'json' }, signal));
  const found = comparison.data?.baseline_run_ids ?? b;
  const other = b.length > 0 ? b : found;
  const set = (side: 'a' | 'b') => (runIds: string[]): void => replaceQuery(route, { [side]: runIds.join() });
  return (
    <>
      <header class="page-head">
        <div><h1>Compare</h1><p class="sub">Two runs, or two groups of runs such as three seeds each. Differences are A less B.</p></div>
        {a.length > 0 && b.length > 0 && <div class="page-tools"><button type="button" onClick={() => replaceQuery(route, { a: b.join(), b: a.join() })}><Icon name="compare" />Swap</button></div>}
      </header>
      <div class="columns pickers">
        <RunPicker label="A" tone={1} hint="one run or several, for instance sparse training" chosen={a} taken={b} onChange={set('a')} />
        <RunPicker label="B" tone={2} hint="what it is compared with; its twin when empty" chosen={b} taken={a} onChange={set('b')} />
      </div>
      {a.length === 0 && (
        <Empty icon="compare" title="Choose a run to begin with">
          <p>With A alone, the completed run is taken that differs least and trains on all samples. On the command line: <code>greentune compare A B</code>.</p>
        </Empty>
      )}
      {comparison.isLoading && !comparison.data && <Loading rows={5} />}
      {comparison.error && <Trouble error={comparison.error} />}
      {comparison.error && a.length + b.length > 1 && <EmissionsBeside runIds={[...a, ...b]} />}
      {comparison.data && <Compared comparison={comparison.data} wasFound={b.length === 0 && found.length > 0} />}
      {a.length > 0 && <Curves a={a} b={other} />}
    </>
  );
}

function Compared({ comparison, wasFound }: { comparison: Comparison; wasFound: boolean }): JSX.Element {
  const { rows, caveats, quantities, baseline_run_ids: baseline } = comparison;
  const saving = quantities?.['energy_savings'];
  const isGroups = isGrouped(comparison);
  const download = (): void => offer('comparison.csv', isGroups ? groupsAsCsv(comparison) : comparison.csv || csv([['metric', 'unit', 'A', 'B', 'difference', 'basis'], ...rows.map((row) => [row.name, row.unit, row.ast?.mean, row.baseline?.mean, row.difference, row.basis])]));
  return (
    <Section title="Figures" tools={<button type="button" class="small" onClick={download}><Icon name="download" />CSV</button>}>
      {saving && (
        <p class="verdict">
          <b>{format('share', Math.abs(saving.value))} {saving.value >= 0 ? 'less' : 'more'} energy</b> in A <Basis basis={saving.basis} />
          {saving.interval && <span class="faint"> between {signed('share', saving.interval[0])} and {signed('share', saving.interval[1])} saved, by {sourceWords(saving.interval_from)}</span>}
        </p>
      )}
      {wasFound && <p class="faint">B was found as the twin of A: {baseline.map((runId) => <a key={runId} href={`#/run/${encodeURIComponent(runId)}`}>{runId}</a>)}</p>}
      {isGroups ? <GroupTable comparison={comparison} /> : <PairTable rows={rows} />}
      {caveats.length > 0 && (
        <div class="card caveats">
          <h3>What limits this comparison</h3>
          <ul>{caveats.map((caveat) => <li key={caveat.code + caveat.message}>{sentence(caveat.message)} <code class="faint">{caveat.code}</code></li>)}</ul>
        </div>
      )}
    </Section>
  );
}

function PairTable({ rows }: { rows: ComparisonRow[] }): JSX.Element {
  return (
    <div class="card scroll" tabIndex={0} role="region" aria-label="Comparison, a table that can be scrolled">
      <table class="plain compared">
        <caption class="unseen">Figures of A and B</caption>
        <thead><tr><th scope="col">Figure</th><th scope="col" class="num">A</th><th scope="col" class="num">B</th><th scope="col" class="num">A − B</th><th scope="col">Known by</th></tr></thead>
        <tbody>{rows.map((row) => <Row key={row.metric} row={row} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ row }: { row: ComparisonRow }): JSX.Element {
  const { kind, factor, unit } = kindOf(row);
  const isApart = row.interval && (row.interval[0] > 0 || row.interval[1] < 0);
  return (
    <tr>
      <th scope="row">{row.name[0]!.toUpperCase() + row.name.slice(1)}</th>
      <Side figure={row.ast} kind={kind} factor={factor} unit={unit} />
      <Side figure={row.baseline} kind={kind} factor={factor} unit={unit} />
      <td class="num">
        {row.difference == null ? '–' : <span class={isApart ? 'apart' : ''}>{differenceOf(kind, row.difference * factor)}{unit}</span>}
        {row.interval && <small class="bounds">{signedRange(kind, [row.interval[0] * factor, row.interval[1] * factor])}</small>}
      </td>
      <td><Basis basis={row.basis} />{row.interval && <small class="bounds">{isApart ? 'bounds exclude 0' : 'bounds include 0'}, by {sourceWords(row.interval_from)}</small>}</td>
    </tr>
  );
}

function Side({ figure, kind, factor, unit }: { figure: ComparedFigure | undefined; kind: Kind; factor: number; unit: string }): JSX.Element {
  if (!figure) return <td class="num faint">–</td>;
  const bounds: Range | undefined = figure.interval && [figure.interval[0] * factor, figure.interval[1] * factor];
  return (
    <td class="num">
      {format(kind, figure.mean * factor)}{unit}
      {bounds && <small class="bounds">{range(kind, bounds)}</small>}
    </td>
  );
}

interface BesideAnswer {
  runs: { run_id: string; energy_kwh: number; energy_range_kwh?: Range; emissions_kg: number; emissions_range_kg?: Range; duration_hours: number; basis: string; difference?: { energy_percent?: number; verdict: string } }[];
}

/** Energy and emissions alone, for runs that cannot be compared in all figures. */
function EmissionsBeside({ runIds }: { runIds: string[] }): JSX.Element | null {
  const { data } = useResource<BesideAnswer>(`beside ${runIds.join()}`, (signal) => perform('compare_emissions', { run_ids: runIds }, signal));
  if (!data) return null;
  return (
    <Section title="Energy and emissions alone">
      <div class="card scroll" tabIndex={0} role="region" aria-label="Energy and emissions of the runs">
        <table class="plain compared">
          <caption class="unseen">Energy and emissions of the runs</caption>
          <thead><tr><th scope="col">Run</th><th scope="col" class="num">Energy</th><th scope="col" class="num">Emissions</th><th scope="col" class="num">Time</th><th scope="col">Against the first</th></tr></thead>
          <tbody>
            {data.runs.map((run) => (
              <tr key={run.run_id}>
                <th scope="row"><a href={`#/run/${encodeURIComponent(run.run_id)}`}>{run.run_id}</a></th>
                <td class="num">{energy(run.energy_kwh)} <Basis basis={run.basis} />{run.energy_range_kwh && <small class="bounds">{range('energy', run.energy_range_kwh)}</small>}</td>
                <td class="num">{mass(run.emissions_kg)}{run.emissions_range_kg && <small class="bounds">{range('mass', run.emissions_range_kg)}</small>}</td>
                <td class="num">{format('seconds', run.duration_hours * 3600)}</td>
                <td>{run.difference ? <>{run.difference.energy_percent != null && <b>{signed('share', run.difference.energy_percent / 100)} energy. </b>}{sentence(run.difference.verdict)}</> : <span class="faint">the first</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}
