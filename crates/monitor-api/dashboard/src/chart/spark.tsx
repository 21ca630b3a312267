/** A small line in a table. */

import type { JSX } from 'preact';
import { format } from '../data/units.ts';

const [WIDTH, HEIGHT] = [96, 24];

export function Spark({ points, label }: { points: [number, number][] | undefined; label: string }): JSX.Element | null {
  const known = points?.filter(([, value]) => Number.isFinite(value)) ?? [];
  if (known.length < 2) return <span class="faint" aria-hidden="true">–</span>;
  const values = known.map(([, value]) => value);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  const [from, to] = [known[0]![0], known[known.length - 1]![0]];
  const place = ([step, value]: [number, number]): string => {
    const x = 2 + ((step - from) / (to - from || 1)) * (WIDTH - 6);
    const y = 2 + (1 - (value - min) / (max - min || 1)) * (HEIGHT - 5);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  };
  const last = place(known[known.length - 1]!).split(',');
  return (
    <svg class="spark" width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${label}: from ${format('loss', values[0])} to ${format('loss', values[values.length - 1])}`}>
      <polyline points={known.map(place).join(' ')} />
      <circle cx={last[0]} cy={last[1]} r="2" />
    </svg>
  );
}
