/** Ranks runs by energy and result. Pure functions. */

/** A run with what is known of it. */
export interface Standing {
  runId: string;
  name: string;
  energyKwh: number | undefined;
  emissionsKg: number | undefined;
  basis: string | undefined;
  task: string | undefined;
  accuracy: number | undefined;
  loss: number | undefined;
}

export type Rule = 'accuracy' | 'loss';

export interface Ranked extends Standing {
  energyKwh: number;
  /** Accuracy or loss, as the rule has it. */
  result: number;
  /** Less is better: kWh per point of accuracy, or kWh times loss. */
  score: number;
  /** No other run has both less energy and a better result. */
  isFront: boolean;
}

export function board(standings: Standing[], rule: Rule): Ranked[] {
  const known = standings.flatMap((one): Ranked[] => {
    const result = rule === 'accuracy' ? one.accuracy : one.loss;
    const { energyKwh } = one;
    if (result == null || energyKwh == null || !(energyKwh > 0) || !(result > 0)) return [];
    const score = rule === 'accuracy' ? energyKwh / (100 * result) : energyKwh * result;
    return [{ ...one, energyKwh, result, score, isFront: false }];
  });
  markFront(known, rule);
  return known.sort((a, b) => a.score - b.score);
}

/** Marks the runs that no other beats in both, going from the least energy up. */
function markFront(runs: Ranked[], rule: Rule): void {
  const isBetter = (a: number, b: number): boolean => (rule === 'accuracy' ? a > b : a < b);
  let best: number | null = null;
  for (const run of [...runs].sort((a, b) => a.energyKwh - b.energyKwh || (isBetter(a.result, b.result) ? -1 : 1))) {
    run.isFront = best == null || isBetter(run.result, best);
    if (run.isFront) best = run.result;
  }
}
