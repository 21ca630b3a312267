/** Arithmetic of groups of runs: what a group says of a figure, what a difference is worth, and its curve. Pure functions. */

import type { ComparedFigure, Range } from '../api/types.ts';
import { valueAt, type Across, type Column, type Series } from './series.ts';

/** A figure in the runs of a group. */
export interface Spread {
  values: number[];
  mean: number;
  min: number;
  max: number;
}

export function spreadOf(values: number[]): Spread | null {
  if (values.length === 0) return null;
  return { values, mean: values.reduce((sum, value) => sum + value, 0) / values.length, min: Math.min(...values), max: Math.max(...values) };
}

/** What a side of a comparison says of its runs. */
export const runsOf = (figure: ComparedFigure | undefined): Spread | null => (figure ? spreadOf(figure.values ?? [figure.mean]) : null);

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
