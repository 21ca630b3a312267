/** Completed runs ranked by what their result took in energy, or by any other of their figures. */

import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { perform } from '../api/client.ts';
import type { EnergyLeaderboard } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import { groups, groupWords, isMoreBetter, isOrder, keyOf, ranked, shortened, type Order, type Ranked } from '../data/board.ts';
import { count, duration, energy, fileName, format, massAlone } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { replaceQuery, runLink, type Route } from '../route.ts';
import { Basis, Empty, Loading, Section, Trouble } from '../ui/parts.tsx';
import { ProjectChoice, useProjects } from '../ui/project.tsx';

interface BoardColumn {
  order: Order;
  name: string;
  isText?: boolean;
  /** What the figure is, where its name does not say. */
  title?: string;
  cell(row: Ranked): JSX.Element | string | null;
}

const COLUMNS: BoardColumn[] = [
  { order: 'name', name: 'Run', isText: true, cell: (row) => row.run_name },
  { order: 'quality', name: 'Accuracy', cell: (row) => format('share', row.quality) },
  { order: 'validation_loss', name: 'Validation loss', title: 'Validation loss: the mean on the validation data after the last stage, in nats per token or image.', cell: (row) => format('loss', row.validation_loss) },
  { order: 'train_loss', name: 'Training loss', title: 'Training loss: the mean of the last tenth of the steps of the last stage. It is of training data, and of the selected samples alone where a run selects; a low one may be learning by heart.', cell: (row) => format('loss', row.train_loss) },
  { order: 'energy', name: 'Energy', cell: (row) => energy(row.energy_kwh) },
  { order: 'emissions', name: 'CO2e', cell: (row) => massAlone(row.emissions_kg) },
  { order: 'time', name: 'Time', cell: (row) => duration(row.duration_seconds) },
  { order: 'score', name: 'Energy per point', title: 'Energy per point: the energy of the run by each per cent of its accuracy.', cell: (row) => energy(row.score) },
  { order: 'basis', name: 'Energy is', isText: true, cell: (row) => <Basis basis={row.energy_basis} /> },
];

/** What is ranked by stands in the address. */
const rankBy = (route: Route, by: Order, isTurned: boolean): void => replaceQuery(route, { by: by === 'score' ? null : by, turned: isTurned ? 'yes' : null });

export function Leaderboard({ route, server }: ViewProps): JSX.Element {
  const projects = useProjects(server, route);
  const project = projects.chosen;
  const board = useResource<EnergyLeaderboard>(projects.isKnown ? `board ${project}` : null, (signal) => perform('energy_leaderboard', project ? { project_path: project } : {}, signal));
  const all = useMemo(() => board.data?.rows ?? [], [board.data]);
  const known = useMemo(() => groups(all), [all]);
  const asked = route.query.get('group');
  const group = known.some(([name]) => name === asked) ? asked : known[0]?.[0];
  const own = useMemo(() => all.filter((row) => row.group === group), [all, group]);
  const columns = COLUMNS.filter(({ order }) => order !== 'train_loss' || own.some((row) => row.train_loss != null));
  const by = route.query.get('by');
  const order = isOrder(by) && columns.some((column) => column.order === by) ? by : 'score';
  const isTurned = route.query.get('turned') === 'yes';
  const rows = useMemo(() => ranked(own, order, isTurned), [own, order, isTurned]);
  return (
    <>
      <header class="page-head">
        <div><h1>Leaderboard</h1><p class="sub">Completed runs by the energy that each point of accuracy took, or by any other figure.</p></div>
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
            <label class="project-choice">
              <span>Ranked by</span>
              <select value={order} onChange={(event) => rankBy(route, event.currentTarget.value as Order, false)}>
                {columns.map((column) => <option key={column.order} value={column.order}>{column.name}</option>)}
              </select>
            </label>
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
          <Section title="Ranking"><Table rows={rows} columns={columns} order={order} isTurned={isTurned} onSort={(by) => rankBy(route, by, by === order && !isTurned)} /></Section>
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

interface TableProps {
  rows: Ranked[];
  columns: BoardColumn[];
  order: Order;
  isTurned: boolean;
  onSort(order: Order): void;
}

function Table({ rows, columns, order, isTurned, onSort }: TableProps): JSX.Element {
  const isFalling = isMoreBetter(order) !== isTurned;
  const chosen = columns.find((column) => column.order === order)!;
  return (
    <>
      <div class="table-wrap board-wrap" tabIndex={0} role="region" aria-label="Ranking, a table that can be scrolled">
        <table class="plain board">
          <caption class="unseen">Runs by {chosen.name.toLowerCase()}, {isTurned ? 'turned' : 'the best first'}</caption>
          <thead>
            <tr>
              <th scope="col">Place</th>
              {columns.map((column) => (
                <th scope="col" key={column.order} class={column.isText ? '' : 'num'} title={column.title} aria-sort={column === chosen ? (isFalling ? 'descending' : 'ascending') : undefined}>
                  <button type="button" onClick={() => onSort(column.order)}>{column.name}{column === chosen && <span aria-hidden="true">{isFalling ? '↓' : '↑'}</span>}</button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, SHOWN).map((row) => (
              <tr key={keyOf(row)} class={row.is_unbeaten ? 'front' : ''}>
                <td class="place">{row.place ?? '–'}</td>
                {columns.map((column) => (column.order === 'name' ? <Name key="name" row={row} chosen={chosen} /> : (
                  <td key={column.order} class={column.isText ? '' : 'num'}>{column === chosen ? <b>{column.cell(row)}</b> : column.cell(row)}</td>
                )))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {chosen.title && <p class="faint tip-text">{chosen.title}</p>}
      {rows.length > SHOWN && <p class="faint tip">The first {SHOWN} of {count(rows.length)}.</p>}
    </>
  );
}

/** The run; on a phone also the figure that it is ranked by, whose column may lie outside of the screen. */
function Name({ row, chosen }: { row: Ranked; chosen: BoardColumn }): JSX.Element {
  return (
    <td class="c-name">
      <a href={runLink(row.run_id)}>{row.run_name}</a>
      {!chosen.isText && <small class="narrow-label">{chosen.name} <b>{chosen.cell(row)}</b></small>}
      <small>{row.is_unbeaten && <b class="good">unbeaten · </b>}{shortened(row.base_model)}{row.activation_rate != null && `, ${format('share', row.activation_rate)} of samples`}</small>
    </td>
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
