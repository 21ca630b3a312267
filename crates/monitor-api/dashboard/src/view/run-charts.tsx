/** The charts of a run; all share what part of the run they show. */

import { useEffect, useMemo, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import type { Progress } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import type { Drawn, Line } from '../chart/drawn.ts';
import type { RunCourse, Zoom } from '../data/live.ts';
import { align, empty, smooth, stack, valueAt, type Across, type Column, type Series } from '../data/series.ts';
import type { Kind } from '../data/units.ts';
import { Icon } from '../ui/icon.tsx';
import { Choice, Empty, isActive, Loading, Section } from '../ui/parts.tsx';

interface ChartsProps {
  course: RunCourse;
  isLoaded: boolean;
  progress: Progress | null;
  runId: string;
  /** Whether a finer part can be asked for. */
  online: boolean;
}

/** A chart of a run: the series it draws, of which those that are absent are left out. */
interface Wanted {
  title: string;
  kind: Kind;
  lines: (Line & { name: string })[];
  stacked?: boolean;
  fromZero?: boolean;
  /** A sum that grows: least and greatest of a bucket say nothing, and would look like an error. */
  isSum?: boolean;
}

const CHARTS: Wanted[] = [
  { title: 'Loss', kind: 'loss', lines: [{ name: 'train_loss', label: 'training', tone: 1 }, { name: 'validation_loss', label: 'validation', tone: 2, dash: true, marks: true }] },
  { title: 'Accuracy', kind: 'share', lines: [{ name: 'accuracy', label: 'accuracy', tone: 3, marks: true }, { name: 'token_accuracy', label: 'token accuracy', tone: 3, marks: true }] },
  { title: 'Power', kind: 'power', stacked: true, lines: [{ name: 'cpu_power_w', label: 'CPU', tone: 1 }, { name: 'gpu_power_w', label: 'GPU', tone: 2 }, { name: 'ram_power_w', label: 'memory', tone: 3 }] },
  { title: 'Energy', kind: 'energy', fromZero: true, isSum: true, lines: [{ name: 'energy_kwh', label: 'energy', tone: 4 }] },
  { title: 'Emissions', kind: 'mass', fromZero: true, isSum: true, lines: [{ name: 'emissions_kg_co2', label: 'emissions', tone: 3 }] },
  { title: 'Speed', kind: 'rate', fromZero: true, lines: [{ name: 'tokens_per_second', label: 'tokens', tone: 1 }, { name: 'samples_per_second', label: 'samples', tone: 5 }] },
  { title: 'Learning rate', kind: 'plain', lines: [{ name: 'learning_rate', label: 'learning rate', tone: 5 }] },
  { title: 'Activation rate', kind: 'share', fromZero: true, lines: [{ name: 'activation_rate', label: 'trained on', tone: 4 }] },
  { title: 'Selection threshold', kind: 'plain', lines: [{ name: 'threshold', label: 'threshold', tone: 2 }] },
  { title: 'Gradient norm', kind: 'plain', fromZero: true, lines: [{ name: 'gradient_norm', label: 'before clipping', tone: 6 }] },
];

/** What of a chart the run has. */
function present(chart: Wanted, course: RunCourse): Wanted | null {
  const has = (name: string): boolean => course.has(name);
  if (chart.title === 'Power' && !['cpu_power_w', 'gpu_power_w', 'ram_power_w'].some(has)) {
    return has('power_w') ? { ...chart, stacked: false, fromZero: true, lines: [{ name: 'power_w', label: 'all components', tone: 1 }] } : null;
  }
  // A component that used nothing, such as a GPU that is not there, is no line.
  const lines = chart.lines.filter((line) => has(line.name) && !(chart.stacked && course.series.get(line.name)!.max.every((value) => value === 0)));
  return lines.length > 0 ? { ...chart, lines } : null;
}

export function RunCharts({ course, isLoaded, progress, runId, online }: ChartsProps): JSX.Element | null {
  const [across, setAcross] = useState<Across>('x');
  const [isLog, setIsLog] = useState(false);
  const [isSmooth, setIsSmooth] = useState(false);
  const [zoom, setZoom] = useState<Zoom | null>(null);
  const shape = useShape(course);
  const charts = useMemo(() => CHARTS.map((chart) => present(chart, course)).filter((chart): chart is Wanted => !!chart), [shape]);
  if (!isLoaded) return <Section title="Charts"><Loading rows={4} /></Section>;
  if (charts.length === 0) {
    const words = isActive(progress?.status) ? 'The first step has not been done yet; charts appear by themselves.' : 'This run has done no step, so there is nothing to draw.';
    return <Section title="Charts"><Empty icon="pulse" title="No figures yet"><p>{words}</p></Empty></Section>;
  }
  const look = (next: Zoom | null): void => {
    setZoom(next);
    void course.look(next, online).catch(() => {});
  };
  const onZoom = (from: number, to: number): void => look(across === 'x' ? rounded(from, to) : rounded(stepAt(course, from), stepAt(course, to)));
  const onStep = (factor: number, at: number): void => {
    const [first, last] = reach(course);
    const { from, to } = zoom ?? { from: first, to: last };
    const middle = across === 'x' ? at : stepAt(course, at);
    const half = ((to - from) * factor) / 2;
    const next = { from: Math.max(first, middle - half), to: Math.min(last, middle + half) };
    look(next.from <= first && next.to >= last ? null : rounded(next.from, next.to));
  };
  const tools = (
    <>
      {zoom && <button type="button" class="small" onClick={() => look(null)}><Icon name="reset" />Whole run</button>}
      <Choice label="Across" value={across} options={[['x', 'Steps'], ['time', 'Time']]} onChange={setAcross} />
    </>
  );
  return (
    <Section title="Charts" tools={tools}>
      <div class="charts">
        {charts.map((chart) => {
          const isLoss = chart.title === 'Loss';
          return (
            <RunChart
              key={chart.title} chart={chart} course={course} across={across} file={`${runId}-${chart.title.toLowerCase()}`} of={runId}
              smoothing={isLoss && isSmooth ? 0.9 : 0} logarithmic={isLoss && isLog} onZoom={onZoom} onReset={() => look(null)} onStep={onStep}
              tools={isLoss && (
                <>
                  <button type="button" class="small quiet" aria-pressed={isSmooth} onClick={() => setIsSmooth(!isSmooth)} title="Draw the running mean; the band stays as it is">Smooth</button>
                  <button type="button" class="small quiet" aria-pressed={isLog} onClick={() => setIsLog(!isLog)}>Log</button>
                </>
              )}
            />
          );
        })}
      </div>
      <p class="faint tip">Drag across a chart to look closer, double-click for the whole run. With the keyboard: arrows read values, + and − zoom, Esc resets.</p>
    </Section>
  );
}

interface RunChartProps {
  chart: Wanted;
  course: RunCourse;
  across: Across;
  file: string;
  of: string;
  smoothing: number;
  logarithmic: boolean;
  onZoom(from: number, to: number): void;
  onReset(): void;
  onStep(factor: number, at: number): void;
  tools?: JSX.Element | false;
}

function RunChart({ chart, course, across, smoothing, ...rest }: RunChartProps): JSX.Element {
  const source = useMemo<Source>(() => ({
    read: () => drawn(chart, course, across, smoothing),
    subscribe: (watcher) => course.subscribe(watcher),
    domain: () => domain(course, across),
  }), [chart, course, across, smoothing]);
  return (
    <Chart
      {...rest} title={chart.title} kind={chart.kind} lines={chart.lines} stacked={!!chart.stacked} fromZero={!!chart.fromZero} banded={!chart.stacked && !chart.isSum}
      across={across === 'x' ? 'step' : 'seconds'} source={source} sync={`run-${course.runId}-${across}`} dividers={() => dividers(course, across)}
    />
  );
}

function drawn(chart: Wanted, course: RunCourse, across: Across, smoothing: number): Drawn {
  // A part may lack a figure that the whole has.
  const found = chart.lines.map((line) => course.shown.get(line.name) ?? empty());
  const { at, columns } = align(found, across);
  if (chart.stacked) {
    const told = columns.map((column) => column.mean);
    return { at, told, columns: stack(told).map((mean) => ({ mean })) };
  }
  const withBand = (column: { mean: Column; min: Column; max: Column }, series: Series): { mean: Column; min?: Column; max?: Column } => {
    const mean = smooth(column.mean, smoothing);
    if (chart.isSum) return { mean };
    return series.count.some((count) => count > 1) || smoothing > 0 ? { ...column, mean } : { mean };
  };
  return { at, columns: columns.map((column, index) => withBand(column, found[index]!)) };
}

/** First and last step of all series. */
function reach(course: RunCourse): [number, number] {
  let [first, last] = [Infinity, -Infinity];
  for (const { x } of course.series.values()) {
    first = Math.min(first, x[0] ?? Infinity);
    last = Math.max(last, x[x.length - 1] ?? -Infinity);
  }
  return last >= first ? [first, last] : [0, 1];
}

function domain(course: RunCourse, across: Across): [number, number] {
  const { zoom } = course;
  if (across === 'x') return zoom ? [zoom.from, zoom.to] : reach(course);
  if (zoom) return [timeAt(course, zoom.from), timeAt(course, zoom.to)];
  let last = 0;
  for (const { time } of course.series.values()) last = Math.max(last, time[time.length - 1] ?? 0);
  return [0, last || 1];
}

/** The series that has most values; it joins steps and time. */
function ruler(course: RunCourse): Series | null {
  let longest: Series | null = null;
  for (const series of course.series.values()) if (!longest || series.x.length > longest.x.length) longest = series;
  return longest;
}

function timeAt(course: RunCourse, step: number): number {
  const series = ruler(course);
  if (!series || series.x.length === 0) return 0;
  const inside = Math.min(Math.max(step, series.x[0]!), series.x[series.x.length - 1]!);
  return valueAt(series.x, series.time, inside) ?? 0;
}

function stepAt(course: RunCourse, time: number): number {
  const series = ruler(course);
  if (!series || series.time.length === 0) return 0;
  const inside = Math.min(Math.max(time, series.time[0]!), series.time[series.time.length - 1]!);
  return valueAt(series.time, series.x, inside) ?? 0;
}

function rounded(from: number, to: number): Zoom {
  const first = Math.max(0, Math.floor(from));
  return { from: first, to: Math.max(first + 1, Math.ceil(to)) };
}

function dividers(course: RunCourse, across: Across): { at: number; label: string }[] {
  const begun = course.stages.filter((stage) => stage.first > 0);
  return begun.map((stage) => ({ at: across === 'x' ? stage.first : timeAt(course, stage.first), label: `stage ${stage.stage}` }));
}

/** Which series there are; changes when another one appears. */
function useShape(course: RunCourse): string {
  const shapeOf = (): string => [...course.series.keys()].sort().join();
  const [shape, setShape] = useState(shapeOf);
  useEffect(() => {
    setShape(shapeOf());
    return course.subscribe(() => setShape(shapeOf()));
  }, [course]);
  return shape;
}
