/** Arithmetic of groups of runs: what a group says of a figure, what a difference is worth, and its curve. Pure functions. */

import type { Comparison, ComparisonRow, Range } from '../api/types.ts';
import { valueAt, type Across, type Column, type Series } from './series.ts';

/** A figure in the runs of a group. */
export interface Spread {
  values: number[];
  mean: number;
  min: number;
  max: number;
  /** Standard deviation (n − 1); of one run there is none. */
  deviation: number | null;
}

export function spreadOf(values: number[]): Spread | null {
  if (values.length === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { values, mean, min: Math.min(...values), max: Math.max(...values), deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null };
}

/** The pairs of runs whose comparisons have every run of both groups; a shorter group repeats its last run. */
export function pairsOf(a: string[], b: string[]): [a: string, b: string | undefined][] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, index) => [a[index] ?? a[a.length - 1]!, b[index] ?? b[b.length - 1]]);
}

/** A figure in both groups, run by run. */
export interface GroupedFigure {
  a: Spread | null;
  b: Spread | null;
}

/**
 * The figures of `whole` run by run, from the comparisons of pairs. A side whose runs do not give the mean that `whole`
 * has, such as times that were read off differently, is left out: no spread is better than one of something else.
 */
export function groupedFigures(whole: Comparison, pairs: Comparison[]): Map<string, GroupedFigure> {
  const side = (row: ComparisonRow, name: 'ast' | 'baseline', runs: number): Spread | null => {
    const figures = pairs.slice(0, runs).map((pair) => pair.rows.find((one) => one.metric === row.metric)?.[name]?.mean);
    const spread = spreadOf(figures.filter((value): value is number => value != null));
    const told = row[name];
    return spread && told && spread.values.length === told.runs && isAbout(spread.mean, told.mean) ? spread : null;
  };
  return new Map(whole.rows.map((row) => [row.metric, { a: side(row, 'ast', whole.ast_run_ids.length), b: side(row, 'baseline', whole.baseline_run_ids.length) }]));
}

const isAbout = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b), 1e-12);

/** What a difference is worth, in words; `isClear` where the ranges are apart and the bounds do not hold 0. */
export interface Worth {
  words: string;
  isClear: boolean;
}

export function worthOf(a: Spread, b: Spread, interval: Range | undefined): Worth {
  if (a.min === b.max && a.max === b.min) return { words: 'The same in every run.', isClear: false };
  const overlaps = a.min <= b.max && b.min <= a.max;
  const holdsZero = interval && interval[0] <= 0 && interval[1] >= 0;
  if (a.values.length === 1 || b.values.length === 1) return { words: ofOne(a, b, overlaps), isClear: false };
  if (overlaps) {
    return { words: interval && !holdsZero ? 'The ranges overlap, though the bounds of the difference exclude 0.' : 'The ranges overlap: the seeds alone may explain the difference.', isClear: false };
  }
  const words = `Every run of A is ${a.mean < b.mean ? 'below' : 'above'} every run of B`;
  return holdsZero ? { words: `${words}, but the bounds of the difference include 0: too few runs to be sure.`, isClear: false } : { words: `${words}.`, isClear: true };
}

function ofOne(a: Spread, b: Spread, overlaps: boolean): string {
  if (a.values.length === b.values.length) return 'One run on each side says nothing about seeds.';
  const [one, many] = a.values.length === 1 ? ['A', 'B'] : ['B', 'A'];
  return overlaps ? `The one run of ${one} lies within the range of ${many}.` : `The one run of ${one} lies outside of the range of ${many}; its own spread is not known.`;
}

/** Positions at most on which curves of groups are worked out. */
const POSITIONS = 1000;

/** Where several series have values, thinned out where these are many. */
export function positionsOf(series: Series[], across: Across): number[] {
  const all = [...new Set(series.flatMap((one) => one[across]))].sort((a, b) => a - b);
  const every = Math.ceil(all.length / POSITIONS);
  return every > 1 ? all.filter((_, index) => index % every === 0 || index === all.length - 1) : all;
}

/** Mean, least and greatest of the runs at each position; `null` where not every run has a value. */
export function groupCurve(series: Series[], across: Across, at: number[]): { mean: Column; min: Column; max: Column } {
  const curve: { mean: Column; min: Column; max: Column } = { mean: [], min: [], max: [] };
  for (const position of at) {
    const values = series.map((one) => valueAt(one[across], one.mean, position));
    const spread = values.includes(null) ? null : spreadOf(values as number[]);
    curve.mean.push(spread?.mean ?? null);
    curve.min.push(spread?.min ?? null);
    curve.max.push(spread?.max ?? null);
  }
  return curve;
}
