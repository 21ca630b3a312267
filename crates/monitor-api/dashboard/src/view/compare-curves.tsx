/** Curves of two runs, or of two groups of runs, over steps, time or energy. */

import { useMemo, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { get } from '../api/client.ts';
import type { SeriesAnswer } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import type { Drawn, Line } from '../chart/drawn.ts';
import { groupCurve, positionsOf } from '../data/groups.ts';
import { align, empty, isSeries, overEnergy, type Column, type Series } from '../data/series.ts';
import { useResource } from '../hooks.ts';
import { Choice, Loading, Section } from '../ui/parts.tsx';

/** Runs of a group that are read. */
const MOST = 12;
const FIGURES: [string, string][] = [['train_loss', 'Training loss'], ['validation_loss', 'Validation loss'], ['accuracy', 'Accuracy']];
type By = 'x' | 'time' | 'energy';

interface Curve {
  runId: string;
  side: 'A' | 'B';
  answer: SeriesAnswer | null;
}

export function Curves({ a, b }: { a: string[]; b: string[] }): JSX.Element | null {
  const [figure, setFigure] = useState('train_loss');
  const [by, setBy] = useState<By>('x');
  const of = (runIds: string[], side: 'A' | 'B'): { runId: string; side: 'A' | 'B' }[] => runIds.slice(0, MOST).map((runId) => ({ runId, side }));
  const wanted = [...of(a, 'A'), ...of(b, 'B')];
  const key = wanted.map(({ runId }) => runId).join();
  const { data } = useResource<Curve[]>(`curves ${key}`, (signal) => Promise.all(wanted.map(async ({ runId, side }) => {
    const names = 'train_loss,validation_loss,accuracy,token_accuracy,energy_kwh';
    const answer = await get<SeriesAnswer>(`api/v1/runs/${encodeURIComponent(runId)}/series`, { points: 400, names }, signal).catch(() => null);
    return { runId, side, answer };
  })));
  const drawn = useMemo(() => (data ? curvesOf(data, figure, by) : null), [data, figure, by]);
  const source = useMemo<Source>(() => ({ read: () => drawn?.table ?? { at: [], columns: [] } }), [drawn]);
  const tools = (
    <>
      <Choice label="Figure" value={figure} options={FIGURES} onChange={setFigure} />
      <Choice<By> label="Across" value={by} options={[['x', 'Steps'], ['time', 'Time'], ['energy', 'Energy']]} onChange={setBy} />
    </>
  );
  const lines = drawn?.lines ?? [];
  const title = FIGURES.find(([name]) => name === figure)![1];
  return (
    <Section title="Curves" tools={tools}>
      {!drawn && <Loading rows={4} />}
      {drawn && lines.length === 0 && <p class="faint">None of these runs has {by === 'energy' ? 'this figure together with its energy' : 'this figure'}.</p>}
      {drawn && lines.length > 0 && (
        <Chart
          key={`${figure} ${by} ${key}`} title={title} kind={figure === 'accuracy' ? 'share' : 'loss'} lines={lines} source={source} banded={drawn.isBanded}
          across={by === 'x' ? 'step' : by === 'time' ? 'seconds' : 'energy'} height={320} file={`${namesOf(a)}-against-${namesOf(b)}-${title.toLowerCase()}`} of={`A: ${namesOf(a)}, B: ${namesOf(b)}`}
        />
      )}
      {drawn?.isBanded && <p class="faint tip-text">The line is the mean of a group, the band goes from the least to the greatest of its runs; both end where the shortest run of the group ends.</p>}
      {Math.max(a.length, b.length) > MOST && <p class="faint">The first {MOST} runs of each group are drawn.</p>}
    </Section>
  );
}

/** A group in a few words. */
const namesOf = (runIds: string[]): string => (runIds.length > 1 ? `${runIds[0]} and ${runIds.length - 1} more` : runIds[0] ?? 'nothing');

interface Shown {
  lines: Line[];
  table: Drawn;
  isBanded: boolean;
}

/** A line for each side: its run, or the mean and range of its runs. */
function curvesOf(curves: Curve[], figure: string, by: By): Shown {
  const across = by === 'time' ? 'time' : 'x';
  const all = curves.map((curve) => ({ ...curve, series: seriesOf(curve.answer, figure, by) })).filter((curve) => curve.series.x.length > 0);
  const sides = (['A', 'B'] as const).map((side) => ({ side, asked: curves.filter((curve) => curve.side === side).length, own: all.filter((curve) => curve.side === side) })).filter(({ own }) => own.length > 0);
  const isGrouped = sides.some(({ asked }) => asked > 1);
  // A run beside a run keeps its values as they are; groups are worked out on positions that all share.
  const at = isGrouped ? positionsOf(all.map(({ series }) => series), across) : null;
  const found = at ? sides.map(({ own }) => groupCurve(own.map(({ series }) => series), across, at)) : [];
  const aligned = at ? null : align(all.map(({ series }) => series), across);
  return {
    isBanded: isGrouped,
    lines: sides.map(({ side, asked, own }) => ({
      label: `${side}: ${asked === 1 ? own[0]!.runId : `mean of ${own.length === asked ? asked : `${own.length} of ${asked}`} runs`}`,
      tone: side === 'A' ? 1 : 2, dash: side === 'B', marks: own.every(({ series }) => series.x.length < 40),
    })),
    table: aligned ? { at: aligned.at, columns: aligned.columns.map(({ mean }) => ({ mean })) } : { at: at!, columns: found.map(withBand) },
  };
}

/** A band where there are several runs. */
function withBand(curve: { mean: Column; min: Column; max: Column }): Drawn['columns'][number] {
  return curve.mean.some((_, row) => curve.min[row] !== curve.max[row]) ? curve : { mean: curve.mean };
}

function seriesOf(answer: SeriesAnswer | null, figure: string, by: By): Series {
  const named = (name: string): Series | null => {
    const series = answer?.series?.[name];
    return isSeries(series) ? series : null;
  };
  const own = figure === 'accuracy' ? named('accuracy') ?? named('token_accuracy') : named(figure);
  if (!own) return empty();
  if (by !== 'energy') return own;
  const energy = named('energy_kwh');
  if (!energy) return empty();
  const { at, mean } = overEnergy(own, energy);
  return { x: at, time: at, mean, min: mean, max: mean, count: mean.map(() => 1) };
}
