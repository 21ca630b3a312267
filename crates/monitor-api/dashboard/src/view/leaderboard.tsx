/** Completed runs ranked by what their result took in energy. */

import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { perform } from '../api/client.ts';
import type { EnergyLeaderboard } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import { groups, groupWords, ranked, shortened, type Order, type Ranked } from '../data/board.ts';
import { count, duration, energy, fileName, format, massAlone } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { replaceQuery, runLink } from '../route.ts';
import { Basis, Choice, Empty, Loading, Section, Trouble } from '../ui/parts.tsx';
import { ProjectChoice, useProjects } from '../ui/project.tsx';

export function Leaderboard({ route, server }: ViewProps): JSX.Element {
  const projects = useProjects(server, route);
  const project = projects.chosen;
  const order = (['energy', 'quality'].includes(route.query.get('by') ?? '') ? route.query.get('by') : 'score') as Order;
  const board = useResource<EnergyLeaderboard>(projects.isKnown ? `board ${project}` : null, (signal) => perform('energy_leaderboard', project ? { project_path: project } : {}, signal));
  const all = board.data?.rows ?? [];
  const known = useMemo(() => groups(all), [board.data]);
  const asked = route.query.get('group');
  const group = known.some(([name]) => name === asked) ? asked : known[0]?.[0];
  const rows = useMemo(() => ranked(all.filter((row) => row.group === group), order), [board.data, group, order]);
  return (
    <>
      <header class="page-head">
        <div><h1>Leaderboard</h1><p class="sub">Completed runs by the energy that each point of accuracy took. Less is better.</p></div>
        <div class="page-tools"><ProjectChoice projects={projects} route={route} /></div>
      </header>
      {board.error && <Trouble error={board.error} retry={board.reload} />}
      {!board.data && board.isLoading && <Loading rows={8} />}
      {board.data && rows.length === 0 && (
        <Empty icon="leader" title="Nothing to rank yet">
          <p>A run is ranked when it is completed, was metered and was evaluated at its end. <code>greentune demo</code> makes one in less than a minute.</p>
        </Empty>
      )}
      {rows.length > 0 && (
        <>
          <div class="board-tools">
            <Choice<Order> label="Ranked by" value={order} options={[['score', 'Energy per point'], ['energy', 'Energy'], ['quality', 'Accuracy']]} onChange={(by) => replaceQuery(route, { by: by === 'score' ? null : by })} />
            {known.length > 1 && (
              <label class="project-choice">
                <span>Evaluated as</span>
                <select value={group ?? ''} onChange={(event) => replaceQuery(route, { group: event.currentTarget.value })}>
                  {known.map(([name, runs]) => <option key={name} value={name}>{groupWords(name, all)} ({count(runs)})</option>)}
                </select>
              </label>
            )}
          </div>
          <Front rows={rows} name={project ? fileName(project) : 'all-projects'} />
          <p class="faint tip">Unbeaten runs are those than which no other is at least as good on less energy. Only runs with the same task and validation data are ranked against each other.</p>
          <Section title="Ranking"><Table rows={rows} /></Section>
        </>
      )}
      {board.data && board.data.left_out.length > 0 && <LeftOut runs={board.data.left_out} />}
    </>
  );
}

function Front({ rows, name }: { rows: Ranked[]; name: string }): JSX.Element {
  const sorted = useMemo(() => [...rows].sort((a, b) => a.energy_kwh - b.energy_kwh), [rows]);
  const source = useMemo<Source>(() => {
    const at: number[] = [];
    const columns: { mean: (number | null)[] }[] = [{ mean: [] }, { mean: [] }];
    for (const row of sorted) {
      // Two runs of the same energy still need a place each.
      const last = at[at.length - 1];
      at.push(last != null && row.energy_kwh <= last ? last * (1 + 1e-9) : row.energy_kwh);
      columns[0]!.mean.push(row.is_unbeaten ? null : row.quality);
      columns[1]!.mean.push(row.is_unbeaten ? row.quality : null);
    }
    return { read: () => ({ at, columns }) };
  }, [sorted]);
  return (
    <Chart
      title="Accuracy by energy" kind="share" across="energy" source={source} file={`${name}-accuracy-by-energy`} of={name} height={260} logAcross={isWide(sorted)}
      lines={[{ label: 'runs', tone: 1, scatter: true }, { label: 'unbeaten', tone: 2, marks: true, dash: true }]} note={(row) => sorted[row]?.run_name ?? null}
    />
  );
}

/** Whether energies lie so far apart that they need a logarithmic axis. */
const isWide = (sorted: Ranked[]): boolean => sorted[sorted.length - 1]!.energy_kwh > 20 * sorted[0]!.energy_kwh;

const SHOWN = 100;

function Table({ rows }: { rows: Ranked[] }): JSX.Element {
  return (
    <>
      <div class="table-wrap board-wrap" tabIndex={0} role="region" aria-label="Ranking, a table that can be scrolled">
        <table class="plain board">
          <caption class="unseen">Runs, the best first</caption>
          <thead><tr><th scope="col">Place</th><th scope="col">Run</th><th scope="col" class="num">Accuracy</th><th scope="col" class="num">Energy</th><th scope="col" class="num">CO2e</th><th scope="col" class="num">Time</th><th scope="col" class="num">Energy per point</th><th scope="col">Energy is</th></tr></thead>
          <tbody>
            {rows.slice(0, SHOWN).map((row, index) => (
              <tr key={row.project_path + row.run_id} class={row.is_unbeaten ? 'front' : ''}>
                <td class="place">{index + 1}</td>
                <td class="c-name"><a href={runLink(row.run_id)}>{row.run_name}</a><small>{row.is_unbeaten && <b class="good">unbeaten · </b>}{shortened(row.base_model)}{row.activation_rate != null && `, ${format('share', row.activation_rate)} of samples`}</small></td>
                <td class="num">{format('share', row.quality)}</td>
                <td class="num">{energy(row.energy_kwh)}</td>
                <td class="num">{massAlone(row.emissions_kg)}</td>
                <td class="num">{duration(row.duration_seconds)}</td>
                <td class="num"><b>{energy(row.score)}</b></td>
                <td><Basis basis={row.energy_basis} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > SHOWN && <p class="faint tip">The first {SHOWN} of {count(rows.length)}.</p>}
    </>
  );
}

function LeftOut({ runs }: { runs: EnergyLeaderboard['left_out'] }): JSX.Element {
  return (
    <details class="left-out faint">
      <summary>{runs.length === 1 ? 'One completed run is not ranked' : `${count(runs.length)} completed runs are not ranked`}</summary>
      <ul>{runs.slice(0, SHOWN).map((run) => <li key={run.run_id}><a href={runLink(run.run_id)}>{run.run_id}</a>: {run.reason}</li>)}</ul>
    </details>
  );
}
