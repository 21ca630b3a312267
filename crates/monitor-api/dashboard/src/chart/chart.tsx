/** A chart as a figure: title, legend with last values, text for those who do not see it, and files to save. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { ComponentChildren, JSX } from 'preact';
import { format, unitFor } from '../data/units.ts';
import { colours, paperColour } from '../theme.ts';
import { boundsOf, largest, lastOf, type Drawn } from './drawn.ts';
import { Plot, type PlotOptions } from './plot.ts';
import { drawnAsCsv, fileNameOf, offer, pngOf } from './save.ts';
import { SaveMenu } from './save-menu.tsx';
import { svgOf } from './svg.ts';
import { acrossText } from './ticks.ts';

/** Where a chart gets its figures; `read` is called in the frame after a change. */
export interface Source {
  read(): Drawn;
  subscribe?(watcher: () => void): () => void;
  /** The part across that is shown; all when absent. */
  domain?(): [number, number] | null;
}

export interface ChartProps extends Omit<PlotOptions, 'height'> {
  title: string;
  source: Source;
  height?: number;
  /** Name of saved files, without ending. */
  file: string;
  /** What the chart is of, such as the id of a run; it stands in saved pictures. */
  of?: string | undefined;
  /** Buttons beside that to save. */
  tools?: ComponentChildren;
  note2?: ComponentChildren;
  onStep?(factor: number, at: number): void;
}

/** Milliseconds between two changes of the text for screen readers. */
const TOLD_EVERY = 10_000;

export function Chart(props: ChartProps): JSX.Element {
  const { title, source, height = 200, lines, kind, file, across } = props;
  const host = useRef<HTMLDivElement>(null);
  const figure = useRef<HTMLElement>(null);
  const plot = useRef<Plot | null>(null);
  const isSeen = useIsNear(figure);
  const [drawn, setDrawn] = useState<Drawn>(() => source.read());
  const latest = useRef(props);
  latest.current = props;
  const shape = `${lines.map((line) => line.label + line.tone).join()}|${props.stacked}|${props.logarithmic}|${props.logAcross}|${across}|${height}|${kind}`;

  // The legend and the plot follow the source, in the frame that it gives.
  useEffect(() => {
    const changed = (): void => {
      const now = latest.current.source.read();
      plot.current?.set(now, latest.current.source.domain?.());
      setDrawn(now);
    };
    changed();
    return source.subscribe?.(changed);
  }, [source]);

  useEffect(() => {
    const element = host.current;
    if (!isSeen || !element) return undefined;
    const first = latest.current.source.read();
    const made = new Plot(element, {
      ...latest.current, height,
      onZoom: props.onZoom && ((from, to) => latest.current.onZoom?.(from, to)),
      onReset: () => latest.current.onReset?.(),
    } as PlotOptions, first);
    made.set(first, latest.current.source.domain?.());
    plot.current = made;
    const watcher = new ResizeObserver(() => made.resize(element.clientWidth));
    watcher.observe(element);
    const end = colours.subscribe(() => made.redraw());
    return () => {
      watcher.disconnect();
      end();
      made.destroy();
      plot.current = null;
    };
  }, [isSeen, shape]);

  const onKeyDown = (event: KeyboardEvent): void => {
    const drawnPlot = plot.current;
    if (!drawnPlot) return;
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 };
    const by = steps[event.key];
    if (by !== undefined) drawnPlot.step(by);
    else if ((event.key === '+' || event.key === '=') && props.onStep) props.onStep(0.5, drawnPlot.focus);
    else if (event.key === '-' && props.onStep) props.onStep(2, drawnPlot.focus);
    else if (event.key === 'Escape' || event.key === '0') props.onReset?.();
    else return;
    event.preventDefault();
  };

  const savePicture = async (ending: 'svg' | 'png'): Promise<void> => {
    const shown = await whenDrawn(plot);
    if (!shown) return;
    const text = drawing(latest.current, shown);
    const content = ending === 'svg' ? text : await pngOf(text);
    if (content) offer(fileNameOf(file, ending), content, 'image/svg+xml;charset=utf-8');
  };
  const files: [string, string, () => void][] = [
    ['Picture', 'svg', () => void savePicture('svg')],
    ['Picture', 'png', () => void savePicture('png')],
    ['Figures', 'csv', () => offer(fileNameOf(file, 'csv'), drawnAsCsv(across, lines, source.read()))],
  ];

  const unit = unitFor(kind, largest(drawn)).unit;
  return (
    <figure class="card chart" ref={figure}>
      <figcaption class="chart-head">
        <span class="chart-title">{title}{unit && <small>{unit}</small>}</span>
        <Legend {...props} drawn={drawn} />
        <span class="chart-tools">
          {props.tools}
          <SaveMenu title={title} files={files} />
        </span>
      </figcaption>
      <div
        class="plot" ref={host} tabIndex={0} role="group" aria-roledescription="chart" aria-label={title} onKeyDown={onKeyDown}
        style={{ height: `${height}px` }}
      />
      <Told {...props} drawn={drawn} />
      {props.note2}
    </figure>
  );
}

/** The chart as it is shown, as SVG on a light ground. */
function drawing({ source, dividers, ...chart }: ChartProps, plot: Plot): string {
  return svgOf({ ...chart, ...plot.scales, drawn: source.read(), dividers: dividers?.(), colour: paperColour });
}

/** Frames that a chart which has just come into view may take until it is drawn. */
const FRAMES = 120;

async function whenDrawn(plot: { current: Plot | null }): Promise<Plot | null> {
  for (let frame = 0; !plot.current && frame < FRAMES; frame++) await new Promise((next) => requestAnimationFrame(next));
  return plot.current;
}

function Legend({ lines, drawn, kind }: ChartProps & { drawn: Drawn }): JSX.Element {
  return (
    <span class="legend" aria-hidden="true">
      {lines.map((line, index) => (
        <span key={line.label}>
          <i class={`key tone-${line.tone}${line.dash ? ' dashed' : ''}`} />
          {line.label}
          {!line.scatter && <b>{format(kind, lastOf(drawn, index))}</b>}
        </span>
      ))}
    </span>
  );
}

/** The chart in words; it changes seldom, so that a screen reader can be read to. */
function Told({ lines, drawn, kind, across }: ChartProps & { drawn: Drawn }): JSX.Element {
  const words = (): string => {
    const at = drawn.at[drawn.at.length - 1];
    if (at === undefined) return 'No values yet.';
    const parts = lines.map((line, index) => {
      const { min, max } = boundsOf(drawn, index);
      return `${line.label}: last ${format(kind, lastOf(drawn, index))}, least ${format(kind, min)}, greatest ${format(kind, max)}`;
    });
    return `${parts.join('. ')}. Up to ${acrossText(across, at)}.`;
  };
  const [text, setText] = useState(words);
  const said = useRef(0);
  useEffect(() => {
    if (Date.now() - said.current < TOLD_EVERY) return;
    said.current = Date.now();
    setText(words());
  });
  return <p class="unseen">{text}</p>;
}

/** Whether an element is on the screen or near; charts that are far away are taken down. */
function useIsNear(element: { current: HTMLElement | null }): boolean {
  const [isNear, setIsNear] = useState(false);
  useEffect(() => {
    if (!element.current) return undefined;
    const watcher = new IntersectionObserver((entries) => setIsNear(entries[entries.length - 1]!.isIntersecting), { rootMargin: '400px 0px' });
    watcher.observe(element.current);
    // On paper every chart is seen.
    const printed = (): void => setIsNear(true);
    window.addEventListener('beforeprint', printed);
    return () => {
      watcher.disconnect();
      window.removeEventListener('beforeprint', printed);
    };
  }, []);
  return isNear;
}
