/** Ranks runs by energy and quality. Pure functions. */

import type { LeaderboardRow } from '../api/types.ts';

/** What the order follows. */
export type Order = 'score' | 'energy' | 'quality';

export interface Ranked extends LeaderboardRow {
  /** kWh for each point (per cent) of accuracy; less is better. */
  score: number;
}

/** The rows in order, the best first; rows without energy or quality are left out. */
export function ranked(rows: LeaderboardRow[], order: Order): Ranked[] {
  const known = rows.filter((row) => row.energy_kwh > 0 && row.quality > 0).map((row) => ({ ...row, score: row.energy_kwh / (100 * row.quality) }));
  const by: Record<Order, (a: Ranked, b: Ranked) => number> = {
    score: (a, b) => a.score - b.score,
    energy: (a, b) => a.energy_kwh - b.energy_kwh,
    quality: (a, b) => b.quality - a.quality || a.energy_kwh - b.energy_kwh,
  };
  return known.sort(by[order]);
}

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
