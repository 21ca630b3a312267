/** Loss curves of several runs over steps, time or energy. */

import { useMemo, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { get } from '../api/client.ts';
import type { SeriesAnswer } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import { align, empty, isSeries, overEnergy, type Series } from '../data/series.ts';
import { useResource } from '../hooks.ts';
import { Choice, Loading, Section } from '../ui/parts.tsx';

/** Curves that can still be told apart. */
const MOST = 6;
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
  const wanted = [...a.map((runId) => ({ runId, side: 'A' as const })), ...b.map((runId) => ({ runId, side: 'B' as const }))].slice(0, MOST);
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
          key={`${figure} ${by} ${key}`} title={title} kind={figure === 'accuracy' ? 'share' : 'loss'} lines={lines} source={source}
          across={by === 'x' ? 'step' : by === 'time' ? 'seconds' : 'energy'} height={320} file={`${namesOf(a)}-against-${namesOf(b)}-${title.toLowerCase()}`} of={`A: ${namesOf(a)}, B: ${namesOf(b)}`}
        />
      )}
      {a.length + b.length > MOST && <p class="faint">The first {MOST} runs are drawn.</p>}
    </Section>
  );
}

/** A group in a few words. */
const namesOf = (runIds: string[]): string => (runIds.length > 1 ? `${runIds[0]} and ${runIds.length - 1} more` : runIds[0] ?? 'nothing');

function curvesOf(curves: Curve[], figure: string, by: By): { lines: { label: string; tone: number; dash: boolean; marks: boolean }[]; table: { at: number[]; columns: { mean: (number | null)[] }[] } } {
  const found = curves.map((curve, index) => ({ ...curve, tone: index + 1, series: seriesOf(curve.answer, figure, by) })).filter((curve) => curve.series.x.length > 0);
  const { at, columns } = align(found.map((curve) => curve.series), by === 'time' ? 'time' : 'x');
  return {
    lines: found.map(({ runId, side, tone, series }) => ({ label: `${side}: ${runId}`, tone, dash: side === 'B', marks: series.x.length < 40 })),
    table: { at, columns: columns.map(({ mean }) => ({ mean })) },
  };
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
