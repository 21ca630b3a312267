/** Ranks runs by energy, quality or loss. Pure functions. */

import type { LeaderboardRow } from '../api/types.ts';

/** What the order follows; each is a column of the table. */
export type Order = 'score' | 'energy' | 'quality' | 'validation_loss' | 'train_loss' | 'emissions' | 'time' | 'name' | 'basis';

export interface Ranked extends LeaderboardRow {
  /** kWh for each point (per cent) of accuracy; less is better. */
  score: number;
  /** From 1, the best; of a row that lacks the figure there is none. In an order of words it is that by score. */
  place: number | null;
}

type Scored = Omit<Ranked, 'place'>;

/** A figure by which runs are ranked, and whether more of it is better. */
interface Figure {
  of(row: Scored): number | string | null | undefined;
  isMoreBetter?: boolean;
  isText?: boolean;
}

const FIGURES: Record<Order, Figure> = {
  score: { of: (row) => row.score },
  energy: { of: (row) => row.energy_kwh },
  quality: { of: (row) => row.quality, isMoreBetter: true },
  validation_loss: { of: (row) => row.validation_loss },
  train_loss: { of: (row) => row.train_loss },
  emissions: { of: (row) => row.emissions_kg },
  time: { of: (row) => row.duration_seconds },
  name: { of: (row) => row.run_name, isText: true },
  basis: { of: (row) => row.energy_basis, isText: true },
};

export const isOrder = (text: string | null): text is Order => text != null && Object.hasOwn(FIGURES, text);

/** Whether the column goes from the greatest to the least when the best stand first. */
export const isMoreBetter = (order: Order): boolean => !!FIGURES[order].isMoreBetter;

/**
 * The rows in order, the best first or, turned, the last; equals by energy. Rows without energy or quality are left out,
 * those that lack the figure stand at the end.
 */
export function ranked(rows: LeaderboardRow[], order: Order, isTurned = false): Ranked[] {
  const { of, isMoreBetter = false, isText = false } = FIGURES[order];
  const known = rows.filter((row) => row.energy_kwh > 0 && row.quality > 0).map((row) => ({ ...row, score: row.energy_kwh / (100 * row.quality) }));
  const sign = isMoreBetter !== isTurned ? -1 : 1;
  known.sort((a, b) => {
    const [left, right] = [of(a), of(b)];
    if (left == null || right == null) return Number(left == null) - Number(right == null);
    const between = typeof left === 'string' ? left.localeCompare(String(right)) : left - Number(right);
    return sign * between || a.energy_kwh - b.energy_kwh;
  });
  if (isText) {
    const places = new Map(ranked(rows, 'score').map((row) => [keyOf(row), row.place]));
    return known.map((row) => ({ ...row, place: places.get(keyOf(row)) ?? null }));
  }
  const placed = known.filter((row) => of(row) != null).length;
  return known.map((row, index) => ({ ...row, place: index >= placed ? null : isTurned ? placed - index : index + 1 }));
}

/** What tells runs apart, over projects. */
export const keyOf = (row: { project_path: string; run_id: string }): string => `${row.project_path}\n${row.run_id}`;

/** The groups of runs that can be ranked against each other, the largest first. */
export function groups(rows: LeaderboardRow[]): [group: string, runs: number][] {
  const sizes = new Map<string, number>();
  for (const { group } of rows) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  return [...sizes].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

/** A hash is shortened; other names stay. */
export const shortened = (name: string): string => name.replace(/\b([0-9a-f]{8})[0-9a-f]{24,}\b/g, '$1…');

/** What a group is, for readers: its task, the models in it, and its data. */
export function groupWords(group: string, rows: LeaderboardRow[]): string {
  const own = rows.filter((row) => row.group === group);
  const models = [...new Set(own.map((row) => shortened(row.base_model)))];
  const named = models.length > 2 ? `${models.slice(0, 2).join(', ')} and ${models.length - 2} more` : models.join(', ');
  const [task = group, data = ''] = group.split(' on ');
  const tasks: Record<string, string> = { image: 'Images', text: 'Text' };
  return `${tasks[task] ?? task}: ${named}${data && `, data ${shortened(data)}`}`;
}
