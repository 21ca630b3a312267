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
