/** What a chart draws, and what is read off it. Pure functions. */

import type { Column } from '../data/series.ts';

/** How a line is drawn. */
export interface Line {
  label: string;
  /** Number of its colour, from 1. */
  tone: number;
  dash?: boolean;
  /** Marks at its values, for figures that come seldom. */
  marks?: boolean;
  /** A line of steps: the value holds until the next. */
  steps?: boolean;
  /** No line at all, marks alone. */
  scatter?: boolean;
}

/** What is drawn: a column per line; with least and greatest where there is a band. */
export interface Drawn {
  at: number[];
  columns: { mean: Column; min?: Column; max?: Column }[];
  /** The values behind stacked areas, which are not those that are drawn. */
  told?: Column[];
}

/** The greatest size that is drawn; the unit of the chart follows from it. */
export function largest(drawn: Drawn): number {
  let most = 0;
  for (const column of drawn.columns) {
    for (const value of column.max ?? column.mean) if (value != null && Math.abs(value) > most) most = Math.abs(value);
  }
  return most;
}

function columnOf(drawn: Drawn, index: number): (number | null)[] {
  return drawn.told?.[index] ?? drawn.columns[index]?.mean ?? [];
}

/** The last value of a line, as a reader is told it. */
export function lastOf(drawn: Drawn, index: number): number | null {
  const column = columnOf(drawn, index);
  for (let row = column.length - 1; row >= 0; row--) if (column[row] != null) return column[row]!;
  return null;
}

/** Its least and greatest value. */
export function boundsOf(drawn: Drawn, index: number): { min: number | null; max: number | null } {
  const column = drawn.columns[index];
  const least = (column?.min ?? columnOf(drawn, index)).filter((value): value is number => value != null);
  const most = (column?.max ?? columnOf(drawn, index)).filter((value): value is number => value != null);
  const pick = (values: number[], better: (a: number, b: number) => number): number | null => values.reduce<number | null>((best, value) => (best == null ? value : better(best, value)), null);
  return { min: pick(least, Math.min), max: pick(most, Math.max) };
}
