/** The course of a figure in buckets: appending, merging, aligning and reading off. Pure functions on plain arrays. */

/** Buckets of one figure, in the order of `x`; `time` is in seconds since the run began. */
export interface Series {
  x: number[];
  time: number[];
  mean: number[];
  min: number[];
  max: number[];
  count: number[];
}

export const empty = (): Series => ({ x: [], time: [], mean: [], min: [], max: [], count: [] });

/** Whether what a server sent is a series, all of whose columns are as long as each other. */
export function isSeries(value: unknown): value is Series {
  const series = value as Series | undefined;
  const columns = series && [series.x, series.time, series.mean, series.min, series.max, series.count];
  return !!columns && columns.every((column) => Array.isArray(column) && column.length === series.x.length);
}

/** Appends `more`. What is at or after its first `x` is replaced: a run that goes on from a checkpoint repeats steps. */
export function append(series: Series, more: Series): void {
  const first = more.x[0];
  if (first === undefined) return;
  let keep = series.x.length;
  while (keep > 0 && series.x[keep - 1]! >= first) keep--;
  for (const name of COLUMNS) {
    series[name].length = keep;
    for (const value of more[name]) series[name].push(value);
  }
}

/** Appends one value. */
export function appendPoint(series: Series, x: number, time: number, value: number): void {
  append(series, { x: [x], time: [time], mean: [value], min: [value], max: [value], count: [1] });
}

const COLUMNS = ['x', 'time', 'mean', 'min', 'max', 'count'] as const;

/** Merges neighbours until at most `limit` buckets of about the same width are left; exact in min, max and mean. */
export function compact(series: Series, limit: number): Series {
  const length = series.x.length;
  if (length <= limit) return series;
  const first = series.x[0]!;
  const width = (series.x[length - 1]! - first + 1) / limit;
  const merged = empty();
  let bucket = -1;
  for (let from = 0; from < length; from++) {
    const own = Math.floor((series.x[from]! - first) / width);
    if (own === bucket) {
      const last = merged.x.length - 1;
      const [had, more] = [merged.count[last]!, series.count[from]!];
      merged.mean[last] = (merged.mean[last]! * had + series.mean[from]! * more) / (had + more);
      merged.min[last] = Math.min(merged.min[last]!, series.min[from]!);
      merged.max[last] = Math.max(merged.max[last]!, series.max[from]!);
      merged.count[last] = had + more;
    } else {
      for (const name of COLUMNS) merged[name].push(series[name][from]!);
      bucket = own;
    }
  }
  return merged;
}

/** What is drawn across. */
export type Across = 'x' | 'time';

/** One column of an aligned table; `null` where the line has no value. */
export type Column = (number | null)[];

/** Puts series beside each other on the union of their positions; each gets its mean, min and max. */
export function align(series: Series[], across: Across): { at: number[]; columns: { mean: Column; min: Column; max: Column }[] } {
  const at = union(series.map((one) => one[across]));
  const columns = series.map((one) => {
    const [mean, min, max]: [Column, Column, Column] = [new Array(at.length).fill(null), new Array(at.length).fill(null), new Array(at.length).fill(null)];
    let row = 0;
    one[across].forEach((position, index) => {
      while (row < at.length && at[row]! < position) row++;
      if (at[row] !== position) return;
      mean[row] = one.mean[index]!;
      min[row] = one.min[index]!;
      max[row] = one.max[index]!;
    });
    return { mean, min, max };
  });
  return { at, columns };
}

function union(lists: number[][]): number[] {
  if (lists.length === 1) return ascending(lists[0]!);
  const [first, ...others] = lists;
  if (first && others.every((other) => other.length === first.length && other.every((value, index) => value === first[index]))) {
    return ascending(first);
  }
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

function ascending(list: number[]): number[] {
  const isRising = list.every((value, index) => index === 0 || list[index - 1]! < value);
  return isRising ? list.slice() : [...new Set(list)].sort((a, b) => a - b);
}

/** Sums from the first column on, so that areas stand on each other; a gap keeps what was there before it. */
export function stack(columns: Column[]): Column[] {
  const rows = columns[0]?.length ?? 0;
  const last = columns.map(() => 0);
  const stacked: Column[] = columns.map(() => new Array(rows).fill(null));
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    columns.forEach((column, index) => {
      last[index] = column[row] ?? last[index]!;
      sum += last[index]!;
      stacked[index]![row] = sum;
    });
  }
  return stacked;
}

/** The value of `series` at `position`, between two buckets in proportion; `null` outside of them. */
export function valueAt(positions: number[], values: number[], position: number): number | null {
  const length = positions.length;
  if (length === 0 || position < positions[0]! || position > positions[length - 1]!) return null;
  let [low, high] = [0, length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (positions[middle]! <= position) low = middle;
    else high = middle;
  }
  const [from, to] = [positions[low]!, positions[high]!];
  const part = to > from ? (position - from) / (to - from) : 0;
  return values[low]! + (values[high]! - values[low]!) * part;
}

/** Last, least and greatest value. */
export interface Extent {
  last: number;
  min: number;
  max: number;
}

export function extent(series: Series): Extent | null {
  const length = series.x.length;
  if (length === 0) return null;
  let [min, max] = [Infinity, -Infinity];
  for (let row = 0; row < length; row++) {
    min = Math.min(min, series.min[row]!);
    max = Math.max(max, series.max[row]!);
  }
  return { last: series.mean[length - 1]!, min, max };
}

/** An exponential mean that starts without bias; `strength` from 0 (the values themselves) to below 1. */
export function smooth(values: Column, strength: number): Column {
  if (strength <= 0) return values;
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    if (value == null) return null;
    sum = strength * sum + (1 - strength) * value;
    weight = strength * weight + (1 - strength);
    return sum / weight;
  });
}

/** The same figures over the energy that was used by then, in kWh: for curves that are compared by energy. */
export function overEnergy(series: Series, energy: Series): { at: number[]; mean: number[] } {
  const at: number[] = [];
  const mean: number[] = [];
  series.x.forEach((x, index) => {
    const used = valueAt(energy.x, energy.mean, x);
    if (used == null || (at.length > 0 && used <= at[at.length - 1]!)) return;
    at.push(used);
    mean.push(series.mean[index]!);
  });
  return { at, mean };
}
