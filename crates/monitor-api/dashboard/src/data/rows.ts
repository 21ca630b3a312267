/** What the rows of metered runs say together: sums by run, courses over time. Pure functions. */

import type { EmissionRows } from '../api/types.ts';
import type { Column } from './series.ts';

/** A row, as far as charts use it. */
export interface MeteredRow {
  runId: string;
  /** Seconds since 1970; rows without a readable time are left out of charts over time. */
  at: number;
  emissionsKg: number;
  energyKwh: number;
  /** How the energy is known; empty where nothing says it. */
  basis: string;
  power: { cpu: number; gpu: number; ram: number };
  energy: { cpu: number; gpu: number; ram: number };
}

/** The rows in time's order. */
export function read(table: EmissionRows): MeteredRow[] {
  const index = new Map(table.columns.map((name, column) => [name, column]));
  const rows = table.rows.map((row) => {
    const cell = (name: string): string | number | null => row[index.get(name) ?? -1] ?? null;
    const figure = (name: string): number => {
      const value = Number(cell(name));
      return Number.isFinite(value) ? value : 0;
    };
    return {
      runId: String(cell('run_id') ?? ''),
      at: Date.parse(String(cell('timestamp') ?? '')) / 1000,
      emissionsKg: figure('emissions'),
      energyKwh: figure('energy_consumed'),
      basis: String(cell('basis') ?? ''),
      power: { cpu: figure('cpu_power'), gpu: figure('gpu_power'), ram: figure('ram_power') },
      energy: { cpu: figure('cpu_energy'), gpu: figure('gpu_energy'), ram: figure('ram_energy') },
    };
  });
  return rows.sort((a, b) => (a.at || 0) - (b.at || 0));
}

export interface RunTotal {
  runId: string;
  emissionsKg: number;
  energyKwh: number;
  /** The bases of its rows, each once. */
  bases: Set<string>;
}

/** Sums by run, those that emitted most first. */
export function byRun(rows: MeteredRow[]): RunTotal[] {
  const totals = new Map<string, RunTotal>();
  for (const row of rows) {
    const total = totals.get(row.runId) ?? { runId: row.runId, emissionsKg: 0, energyKwh: 0, bases: new Set<string>() };
    total.bases.add(row.basis);
    total.emissionsKg += row.emissionsKg;
    total.energyKwh += row.energyKwh;
    totals.set(row.runId, total);
  }
  return [...totals.values()].sort((a, b) => b.emissionsKg - a.emissionsKg);
}

/** Energy by component, in kWh. */
export function byComponent(rows: MeteredRow[]): { cpu: number; gpu: number; ram: number } {
  const sum = { cpu: 0, gpu: 0, ram: 0 };
  for (const { energy } of rows) for (const part of ['cpu', 'gpu', 'ram'] as const) sum[part] += energy[part];
  return sum;
}

/** Emissions added up over time: a column for each of `runIds`, and one for all others at the end. */
export function cumulative(rows: MeteredRow[], runIds: string[]): { at: number[]; columns: Column[] } {
  const timed = rows.filter((row) => Number.isFinite(row.at));
  const place = new Map(runIds.map((runId, index) => [runId, index]));
  const sums = new Array<number>(runIds.length + 1).fill(0);
  const at: number[] = [];
  const columns: Column[] = sums.map(() => []);
  for (const row of timed) {
    sums[place.get(row.runId) ?? runIds.length]! += row.emissionsKg;
    if (at[at.length - 1] === row.at) columns.forEach((column) => column.pop());
    else at.push(row.at);
    sums.forEach((sum, index) => columns[index]!.push(sum));
  }
  return { at, columns };
}

/** The mean of figures at each time; `null` where a figure is absent. */
export function overTime(rows: MeteredRow[], figures: ((row: MeteredRow) => number | null)[]): { at: number[]; columns: Column[] } {
  const at: number[] = [];
  const sums: { sum: number; count: number }[][] = figures.map(() => []);
  for (const row of rows) {
    if (!Number.isFinite(row.at)) continue;
    if (at[at.length - 1] !== row.at) {
      at.push(row.at);
      sums.forEach((column) => column.push({ sum: 0, count: 0 }));
    }
    figures.forEach((figure, index) => {
      const value = figure(row);
      const cell = sums[index]![at.length - 1]!;
      if (value != null) {
        cell.sum += value;
        cell.count += 1;
      }
    });
  }
  return { at, columns: sums.map((column) => column.map(({ sum, count }) => (count > 0 ? sum / count : null))) };
}

/** Carbon intensity of a row in g/kWh: what it emitted by the energy that it used. */
export const intensityOf = (row: MeteredRow): number | null => (row.energyKwh > 0 ? (1000 * row.emissionsKg) / row.energyKwh : null);
