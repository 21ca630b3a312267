/** Rows of a comparison: how their figures are written, and the file of a comparison of groups. Pure functions. */

import { csv } from '../chart/cells.ts';
import type { ComparedFigure, Comparison, ComparisonRow } from '../api/types.ts';
import { runsOf } from './groups.ts';
import type { Kind } from './units.ts';

/** How a row's figures are written; masses are in g there. */
export function kindOf(row: ComparisonRow): { kind: Kind; factor: number; unit: string } {
  if (row.unit === 'kWh') return { kind: 'energy', factor: 1, unit: '' };
  if (row.unit === 'g') return { kind: 'mass', factor: 0.001, unit: '' };
  if (row.unit === 's') return { kind: 'seconds', factor: 1, unit: '' };
  if (row.unit === 'nat') return { kind: 'loss', factor: 1, unit: '' };
  if (row.unit !== '1') return { kind: 'plain', factor: 1, unit: ` ${row.unit}` };
  return { kind: /accuracy|rate|share/.test(row.metric) ? 'share' : 'count', factor: 1, unit: '' };
}

/** Where an interval comes from, in words. */
export function sourceWords(source: string | undefined): string {
  const known: Record<string, string> = { meter: 'the meters’ bounds', records: 'the number of records', seeds: 'the seeds', paired_seeds: 'paired seeds', welch_seeds: 'the seeds' };
  return known[source ?? ''] ?? (source ?? 'its source').replace(/_/g, ' ');
}

const SIDE = ['runs', 'mean', 'least', 'greatest', 'standard deviation'];

/** The figures of two groups as CSV, a line per figure. */
export function groupsAsCsv({ rows }: Comparison): string {
  const side = (figure: ComparedFigure | undefined): (number | undefined)[] => {
    const spread = runsOf(figure);
    return [figure?.runs, figure?.mean, spread?.min, spread?.max, figure?.standard_deviation];
  };
  const head = ['figure', 'unit', ...['A', 'B'].flatMap((name) => SIDE.map((words) => `${name} ${words}`)), 'A less B', 'from', 'to', 'by', 'known by'];
  return csv([head, ...rows.map((row) => [
    row.name, row.unit, ...side(row.ast), ...side(row.baseline), row.difference, row.interval?.[0], row.interval?.[1], row.interval_from, row.basis,
  ])]);
}
