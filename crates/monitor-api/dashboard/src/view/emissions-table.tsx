/** Every row that was metered, as it stands in the files. */

import { useMemo, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { address, send } from '../api/client.ts';
import type { EmissionRows } from '../api/types.ts';
import { offer } from '../chart/save.ts';
import { count, format, type Kind } from '../data/units.ts';
import { runLink } from '../route.ts';
import { Icon } from '../ui/icon.tsx';
import { Choice } from '../ui/parts.tsx';

const KINDS: Record<string, Kind> = {
  duration: 'seconds', emissions: 'mass', cpu_power: 'power', gpu_power: 'power', ram_power: 'power',
  cpu_energy: 'energy', gpu_energy: 'energy', ram_energy: 'energy', energy_consumed: 'energy',
};
const MAIN = ['run_id', 'stage', 'timestamp', 'duration', 'emissions', 'energy_consumed', 'cpu_power', 'gpu_power', 'ram_power', 'country_name', 'cpu_model', 'gpu_model'];
const PAGE = 25;

export function RowsTable({ table, project }: { table: EmissionRows; project: string | null }): JSX.Element {
  const [isAll, setIsAll] = useState<'main' | 'all'>('main');
  const [order, setOrder] = useState<{ column: string; isRising: boolean }>({ column: 'timestamp', isRising: false });
  const [page, setPage] = useState(0);
  const [isBusy, setIsBusy] = useState(false);
  const columns = isAll === 'all' ? table.columns : MAIN.filter((name) => table.columns.includes(name));
  const sorted = useMemo(() => {
    const index = table.columns.indexOf(order.column);
    const rows = [...table.rows].sort((a, b) => compare(a[index] ?? null, b[index] ?? null));
    return order.isRising ? rows : rows.reverse();
  }, [table, order]);
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE));
  const shown = Math.min(page, pages - 1);
  const download = async (): Promise<void> => {
    setIsBusy(true);
    try {
      const answer = await send(address('api/v1/emissions/rows', { project, format: 'csv' }));
      offer('emissions.csv', await answer.blob());
    } finally {
      setIsBusy(false);
    }
  };
  const sortBy = (column: string): void => {
    setOrder({ column, isRising: order.column === column ? !order.isRising : KINDS[column] == null });
    setPage(0);
  };
  return (
    <div class="card rows">
      <div class="rows-head">
        <Choice label="Columns" value={isAll} options={[['main', 'Main columns'], ['all', `All ${table.columns.length}`]]} onChange={setIsAll} />
        <button type="button" disabled={isBusy} onClick={() => void download().catch(() => {})}><Icon name="download" />Download CSV</button>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Raw data, a table that can be scrolled">
        <table class="plain raw">
          <caption class="unseen">Rows of the files of emissions</caption>
          <thead>
            <tr>
              {columns.map((name) => (
                <th scope="col" key={name} class={KINDS[name] ? 'num' : ''} aria-sort={order.column === name ? (order.isRising ? 'ascending' : 'descending') : undefined}>
                  <button type="button" onClick={() => sortBy(name)}>{name}<span aria-hidden="true">{order.column === name ? (order.isRising ? ' ↑' : ' ↓') : ''}</span></button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(shown * PAGE, (shown + 1) * PAGE).map((row, index) => (
              <tr key={index}>{columns.map((name) => <td key={name} class={KINDS[name] ? 'num' : ''}>{cellOf(name, row[table.columns.indexOf(name)] ?? null)}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="pager">
        <span class="faint">Rows {count(shown * PAGE + 1)} to {count(Math.min(sorted.length, (shown + 1) * PAGE))} of {count(sorted.length)}</span>
        <button type="button" class="small" disabled={shown === 0} onClick={() => setPage(shown - 1)}>Back</button>
        <button type="button" class="small" disabled={shown >= pages - 1} onClick={() => setPage(shown + 1)}>Next</button>
      </p>
    </div>
  );
}

type Cell = string | number | null;

function compare(a: Cell, b: Cell): number {
  const [left, right] = [Number(a), Number(b)];
  if (a !== '' && b !== '' && a != null && b != null && Number.isFinite(left) && Number.isFinite(right)) return left - right;
  return String(a ?? '').localeCompare(String(b ?? ''));
}

function cellOf(name: string, value: Cell): JSX.Element | string {
  if (name === 'run_id' && value) return <a href={runLink(String(value))}>{String(value)}</a>;
  if (name === 'timestamp') return String(value ?? '').replace('T', ' ');
  const kind = KINDS[name];
  if (kind && value !== '' && value != null && Number.isFinite(Number(value))) return <span title={String(value)}>{format(kind, Number(value))}</span>;
  return String(value ?? '');
}
