/** What all runs of a project emitted: the eight parts of an emissions report. */

import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { ApiError, get } from '../api/client.ts';
import type { Aggregate, EmissionRows, EmissionsSummary } from '../api/types.ts';
import { byComponent, byRun, cumulative, intensityOf, overTime, read, type MeteredRow, type RunTotal } from '../data/rows.ts';
import { stack } from '../data/series.ts';
import { count, energy, everyday, fileName, format, mass, massAlone, number, range } from '../data/units.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import { useResource } from '../hooks.ts';
import { runLink } from '../route.ts';
import { ProjectChoice, useProjects } from '../ui/project.tsx';
import { Basis, Empty, Loading, Notice, Section, sentence, Tile, Tiles, Trouble } from '../ui/parts.tsx';
import { basisOf } from './run-head.tsx';
import { RowsTable } from './emissions-table.tsx';
import { Advice, ShareBar } from './run-emissions.tsx';

/** Runs that get a colour of their own over time. */
const COLOURED = 5;
/** Runs whose recommendations are asked for. */
const ADVISED = 3;
const EVERY = 15_000;

export function EmissionsPage({ route, server }: ViewProps): JSX.Element {
  const projects = useProjects(server, route);
  const project = projects.chosen;
  const key = server && projects.isKnown ? `emissions ${project ?? ''}` : null;
  const totals = useResource<Aggregate>(key, (signal) => get('emissions/aggregate', { project }, signal), EVERY);
  const table = useResource<EmissionRows>(key && `${key} rows`, (signal) => get('api/v1/emissions/rows', { project }, signal), EVERY);
  const rows = useMemo(() => (table.data ? read(table.data) : []), [table.data]);
  const error = totals.error ?? table.error;
  const isNone = error instanceof ApiError && error.status === 404;
  return (
    <>
      <header class="page-head">
        <div><h1>Emissions</h1><p class="sub">What training used and emitted, from the rows that were metered in the project.</p></div>
        <div class="page-tools"><ProjectChoice projects={projects} route={route} /></div>
      </header>
      {error && !isNone && !totals.data && <Trouble error={error} retry={() => { totals.reload(); table.reload(); }} />}
      {!error && (!totals.data || !table.data) && <Loading rows={8} />}
      {(isNone || (totals.data && table.data && rows.length === 0)) && (
        <Empty icon="leaf" title="Nothing has been metered yet">
          <p>Every stage that is trained here leaves a row. <code>greentune demo</code> trains a small model in less than a minute; <code>greentune emissions track -- PROGRAM</code> meters any program.</p>
        </Empty>
      )}
      {totals.data && table.data && rows.length > 0 && <Parts totals={totals.data} table={table.data} rows={rows} project={project} />}
    </>
  );
}

interface PartsProps {
  totals: Aggregate;
  table: EmissionRows;
  rows: MeteredRow[];
  project: string | null;
}

function Parts({ totals, table, rows, project }: PartsProps): JSX.Element {
  const runs = useMemo(() => byRun(rows), [rows]);
  const name = project ? fileName(project) : 'all-projects';
  return (
    <>
      <KeyMetrics totals={totals} basis={basisOf(rows.map((row) => row.basis))} />
      <Notes totals={totals} />
      <Section title="Trends over time">
        <Trend rows={rows} runs={runs} name={name} />
      </Section>
      <div class="columns halves gap">
        <ByRun runs={runs} />
        <ByComponent rows={rows} totals={totals} />
      </div>
      <div class="charts gap">
        <PowerOverTime rows={rows} name={name} />
        <IntensityOverTime rows={rows} name={name} />
      </div>
      <Section title="What would lower it"><Recommendations totals={totals} project={project} /></Section>
      <Section title="Raw data"><RowsTable table={table} project={project} /></Section>
    </>
  );
}

function KeyMetrics({ totals, basis }: { totals: Aggregate; basis: string | null }): JSX.Element {
  const known = totals.energy_with_provenance;
  const tree = totals.equivalence_factors?.tree_year;
  const all = known && totals.total_files != null && known.files >= totals.total_files;
  return (
    <Tiles label="Key metrics">
      <Tile label={<>Total emissions <Basis basis={basis} /></>} note={totals.equivalencies && `${everyday(totals.equivalencies.miles_driven_equivalent)} miles driven`}>{mass(totals.total_emissions_kg_co2)}</Tile>
      <Tile label={<>Total energy <Basis basis={basis} /></>} note={known && (all ? range('energy', known.range_kwh) : `${range('energy', known.range_kwh)} for the ${known.files} of ${totals.total_files} files that have bounds`)}>{energy(totals.total_energy_kwh)}</Tile>
      <Tile label="Runs" note={`${format('seconds', totals.total_duration_hours * 3600)} metered`}>{count(totals.total_runs)}</Tile>
      <Tile label="Average per run">{mass(totals.average_per_run_kg)}</Tile>
      <Tile label="Trees for a year" note={tree && <span title={`${tree.unit}; ${tree.source}, ${tree.year}`}>at {number(tree.kg_co2_per_unit)} kg each, contested</span>}>{everyday(totals.trees_to_offset_1year)}</Tile>
    </Tiles>
  );
}

function Notes({ totals }: { totals: Aggregate }): JSX.Element | null {
  const notes = [...(totals.shared_machines ?? []).map((shared) => shared.message), ...(totals.notes ?? [])];
  const skipped = totals.skipped ?? [];
  if (notes.length === 0 && skipped.length === 0) return null;
  return (
    <div class="problems">
      {notes.map((note) => <Notice key={note}>{sentence(note)}</Notice>)}
      {skipped.length > 0 && (
        <Notice kind="warn" title={skipped.length === 1 ? 'One file is in no figure.' : `${skipped.length} files are in no figure.`}>
          {skipped.slice(0, 5).map((one) => <span key={one.file}><code>{one.file}</code>: {one.reason} </span>)}
        </Notice>
      )}
    </div>
  );
}

function Trend({ rows, runs, name }: { rows: MeteredRow[]; runs: RunTotal[]; name: string }): JSX.Element {
  const named = runs.slice(0, COLOURED).map((run) => run.runId);
  const hasOthers = runs.length > named.length;
  const source = useMemo<Source>(() => {
    const { at, columns } = cumulative(rows, named);
    const told = hasOthers ? columns : columns.slice(0, -1);
    return { read: () => ({ at, told, columns: stack(told).map((mean) => ({ mean })) }) };
  }, [rows]);
  const lines = [...named.map((runId, index) => ({ label: runId, tone: index + 1, steps: true })), ...(hasOthers ? [{ label: `${count(runs.length - named.length)} others`, tone: 6, steps: true }] : [])];
  return <Chart title="Cumulative emissions by run" kind="mass" lines={lines} across="date" stacked source={source} height={240} file={`${name}-emissions-over-time`} of={name} />;
}

/** Bars that are drawn before the rest is asked for. */
const BARS = 10;

function ByRun({ runs }: { runs: RunTotal[] }): JSX.Element {
  const most = runs[0]?.emissionsKg || 1;
  return (
    <section class="card" aria-label="Emissions by run">
      <h3>Emissions by run</h3>
      <ol class="bars">
        {runs.slice(0, BARS).map((run) => (
          <li key={run.runId}>
            <a href={runLink(run.runId)} title={run.runId}>{run.runId}</a>
            <span class="bar-figure"><Basis basis={basisOf([...run.bases])} /> {massAlone(run.emissionsKg)}</span>
            <span class="bar" aria-hidden="true"><i style={{ width: `${(100 * run.emissionsKg) / most}%` }} /></span>
          </li>
        ))}
      </ol>
      <p class="faint">In CO2e.{runs.length > BARS && ` The ${BARS} that emitted most of ${count(runs.length)}; the raw data below has all.`}</p>
    </section>
  );
}

function ByComponent({ rows, totals }: { rows: MeteredRow[]; totals: Aggregate }): JSX.Element {
  const sum = byComponent(rows);
  const whole = sum.cpu + sum.gpu + sum.ram;
  const parts = [{ name: 'CPU', kwh: sum.cpu, tone: 1 }, { name: 'GPU', kwh: sum.gpu, tone: 2 }, { name: 'Memory', kwh: sum.ram, tone: 3 }];
  const known = totals.energy_with_provenance;
  return (
    <section class="card" aria-label="Energy by component">
      <h3>Energy by component</h3>
      <ShareBar parts={parts.map((part) => ({ ...part, share: whole > 0 ? part.kwh / whole : 0 }))} />
      <table class="plain">
        <caption class="unseen">Energy by component</caption>
        <thead><tr><th scope="col">Component</th><th scope="col" class="num">Energy</th><th scope="col" class="num">Share</th></tr></thead>
        <tbody>
          {parts.map((part) => (
            <tr key={part.name}><th scope="row"><i class={`key tone-${part.tone}`} /> {part.name}</th><td class="num">{energy(part.kwh)}</td><td class="num">{whole > 0 ? format('share', part.kwh / whole) : '–'}</td></tr>
          ))}
        </tbody>
      </table>
      <p class="faint">{known ? `Of ${count(totals.total_files)} files ${count(known.files)} say how they were metered; each run's page has the method and bounds of every component.` : 'The files do not say how they were metered, so there are no bounds.'}</p>
    </section>
  );
}

function PowerOverTime({ rows, name }: { rows: MeteredRow[]; name: string }): JSX.Element {
  const hasGpu = rows.some((row) => row.power.gpu > 0);
  const source = useMemo<Source>(() => {
    const parts = (hasGpu ? ['cpu', 'gpu', 'ram'] : ['cpu', 'ram']) as ('cpu' | 'gpu' | 'ram')[];
    const { at, columns } = overTime(rows, parts.map((part) => (row) => row.power[part] || null));
    return { read: () => ({ at, columns: columns.map((mean) => ({ mean })) }) };
  }, [rows]);
  const lines = [{ label: 'CPU', tone: 1 }, ...(hasGpu ? [{ label: 'GPU', tone: 2 }] : []), { label: 'memory', tone: 3 }].map((line) => ({ ...line, scatter: true }));
  return <Chart title="Power over time" kind="power" lines={lines} across="date" fromZero source={source} file={`${name}-power-over-time`} of={name} />;
}

function IntensityOverTime({ rows, name }: { rows: MeteredRow[]; name: string }): JSX.Element {
  const source = useMemo<Source>(() => {
    const { at, columns } = overTime(rows, [intensityOf]);
    return { read: () => ({ at, columns: columns.map((mean) => ({ mean })) }) };
  }, [rows]);
  return <Chart title="Carbon intensity over time" kind="intensity" lines={[{ label: 'emissions by energy of each row', tone: 4, scatter: true }]} across="date" fromZero source={source} file={`${name}-carbon-intensity-over-time`} of={name} />;
}

function Recommendations({ totals, project }: { totals: Aggregate; project: string | null }): JSX.Element {
  const top = totals.top_emitting_runs.slice(0, ADVISED).map((run) => run.run_id);
  const { data } = useResource(`advice ${project} ${top.join()}`, async (signal) => {
    const answers = await Promise.allSettled(top.map((runId) => get<EmissionsSummary>(`emissions/${encodeURIComponent(runId)}/summary`, { project }, signal)));
    return answers.flatMap((answer, index) => (answer.status === 'fulfilled' ? answer.value.recommendations.map((text) => ({ text, runId: top[index]! })) : []));
  });
  const advice = new Map<string, string[]>();
  for (const { text, runId } of data ?? []) advice.set(text, [...(advice.get(text) ?? []), runId]);
  return (
    <Advice
      recommendations={[...advice].map(([text, runIds]) => <>{sentence(text)} {runIds.map((runId) => <a key={runId} class="tag" href={runLink(runId)}>{runId}</a>)}</>)}
      offset={totals.total_offset_cost_range_usd} offsetAtMost={totals.total_offset_cost_usd} source={totals.equivalence_factors?.offset_source}
    />
  );
}
