/** Draws lines with uPlot: bands between least and greatest, stacked areas, a tooltip, the theme's colours. */

import uPlot from 'uplot';
import { duration, format, unitFor, type Kind } from '../data/units.ts';
import { colour } from '../theme.ts';
import type { Scale } from './axis.ts';
import { largest, type Drawn, type Line } from './drawn.ts';
import { acrossText, acrossTicks, tick, type AcrossKind } from './ticks.ts';

export interface PlotOptions {
  lines: Line[];
  kind: Kind;
  across: AcrossKind;
  stacked?: boolean;
  /** A band behind each line, from least to greatest; it may come and go with the figures. */
  banded?: boolean;
  /** Includes 0. */
  fromZero?: boolean;
  logarithmic?: boolean;
  /** The same across. */
  logAcross?: boolean;
  height: number;
  /** Charts with the same key show the same position. */
  sync?: string;
  onZoom?(from: number, to: number): void;
  onReset?(): void;
  /** More lines for the tooltip at a row. */
  note?(row: number): string | null;
  /** Where something begins, such as a stage. */
  dividers?(): { at: number; label: string }[];
}

const FONT = '11px system-ui, sans-serif';

/** A chart in `host`; `width` is that of the host. */
export class Plot {
  readonly chart: uPlot;
  private tip: HTMLElement;
  private drawn: Drawn = { at: [], columns: [] };
  /** Charts that only follow another one's position have no tooltip. */
  private isPointedAt = false;

  constructor(private host: HTMLElement, readonly options: PlotOptions, drawn: Drawn) {
    this.tip = document.createElement('div');
    this.tip.className = 'plot-tip';
    this.tip.hidden = true;
    this.drawn = drawn;
    this.chart = new uPlot(this.uplotOptions(), this.table(drawn), host);
    const { over } = this.chart;
    over.append(this.tip);
    over.addEventListener('pointerenter', () => (this.isPointedAt = true));
    over.addEventListener('pointerleave', () => (this.isPointedAt = false));
    if (options.onReset) this.chart.over.addEventListener('dblclick', options.onReset);
  }

  set(drawn: Drawn, domain?: [number, number] | null): void {
    this.drawn = drawn;
    this.chart.setData(this.table(drawn), false);
    const at = drawn.at;
    const [min, max] = domain ?? [at[0] ?? 0, at[at.length - 1] ?? 1];
    const isSpot = !(max > min);
    const gap = this.options.across === 'date' || this.options.across === 'step' || this.options.across === 'seconds' ? 0.5 : Math.abs(max) * 0.1 || 0.5;
    const [low, high] = !isSpot ? [min, max] : this.options.logAcross ? [min / 2, max * 2] : [min - gap, max + gap];
    // Marks at the ends would be cut in half.
    const aside = this.options.lines.some((line) => line.scatter) ? (high - low) * 0.02 : 0;
    this.chart.setScale('x', this.options.logAcross ? { min: low * 0.9, max: high * 1.1 } : { min: low - aside, max: high + aside });
  }

  resize(width: number): void {
    if (Math.abs(this.chart.width - width) > 0.5) this.chart.setSize({ width, height: this.options.height });
  }

  redraw(): void {
    this.chart.redraw(false, true);
  }

  /** Moves the position by `by` rows; for the keyboard. */
  step(by: number): void {
    const rows = this.drawn.at.length;
    if (rows === 0) return;
    const row = Math.min(rows - 1, Math.max(0, (this.chart.cursor.idx ?? (by > 0 ? -1 : rows)) + by));
    const left = this.chart.valToPos(this.drawn.at[row]!, 'x');
    this.chart.setCursor({ left, top: this.chart.over.clientHeight / 2 });
  }

  /** The middle of what is seen, or the position that is pointed at. */
  get focus(): number {
    const { min = 0, max = 1 } = this.chart.scales['x']!;
    const row = this.chart.cursor.idx;
    return row == null ? (min! + max!) / 2 : this.drawn.at[row] ?? (min! + max!) / 2;
  }

  /** What of both axes is shown. */
  get scales(): { x: Scale; y: Scale } {
    const { x, y } = this.chart.scales;
    return {
      x: { min: x?.min ?? 0, max: x?.max ?? 1, isLog: !!this.options.logAcross },
      y: { min: y?.min ?? (this.options.logarithmic ? 0.1 : 0), max: y?.max ?? 1, isLog: !!this.options.logarithmic },
    };
  }

  destroy(): void {
    this.chart.destroy();
  }

  /** uPlot's table: x, the lines, then least and greatest of each. Its shape stays, whatever the figures are. */
  private table(drawn: Drawn): uPlot.AlignedData {
    const columns = this.options.lines.map((_, index) => drawn.columns[index] ?? { mean: drawn.at.map(() => null) });
    const bands = this.options.banded ? columns.flatMap(({ mean, min, max }) => [min ?? mean, max ?? mean]) : [];
    return [drawn.at, ...columns.map((column) => column.mean), ...bands] as uPlot.AlignedData;
  }

  private uplotOptions(): uPlot.Options {
    const { options } = this;
    const { lines, height, across, logarithmic, sync } = options;
    const bands: uPlot.Band[] = [];
    const series: uPlot.Series[] = [{}, ...lines.map((line) => this.lineSeries(line))];
    if (options.banded) {
      for (const line of lines) {
        const low = series.length;
        series.push(invisible(), invisible());
        bands.push({ series: [low + 1, low], fill: () => faded(line.tone, 0.16) });
      }
    }
    if (options.stacked) {
      for (let index = lines.length; index > 1; index--) {
        bands.push({ series: [index, index - 1], fill: () => faded(lines[index - 1]!.tone, 0.28) });
      }
    }
    const axis = { stroke: () => colour('--text-2'), font: FONT, ticks: { show: false }, border: { show: false } };
    const grid = { stroke: () => colour('--grid'), width: 1 };
    return {
      width: Math.max(120, this.host.clientWidth),
      height,
      series,
      bands,
      legend: { show: false },
      padding: [8, options.logAcross ? 26 : 10, 0, 0],
      scales: {
        x: { time: across === 'date', ...(options.logAcross ? { distr: 3 as const, range: (_u: uPlot, min: number, max: number): [number, number] => [min, max] } : {}) },
        y: logarithmic ? { distr: 3 } : { range: (_u, min, max) => padded(min, max, !!options.fromZero || !!options.stacked) },
      },
      axes: [
        {
          ...axis, grid: { show: false }, space: 70, size: 26, gap: 4,
          values: (_u: uPlot, values: number[]) => acrossTicks(across, values),
        },
        {
          ...axis, grid, space: 34, gap: 6,
          size: (u: uPlot, values: string[] | null) => labelWidth(u, values),
          values: (_u: uPlot, values: (number | null)[]) => this.upTicks(values),
        },
      ],
      cursor: {
        y: false,
        drag: { x: !!options.onZoom, y: false, setScale: false, dist: 6 },
        points: { size: (_u, index) => (index > lines.length ? 0 : 7), width: (_u, index) => (index > lines.length ? 0 : 1.5), stroke: (_u, index) => colour(`--line-${lines[index - 1]?.tone ?? 1}`), fill: () => colour('--surface') },
        bind: { dblclick: () => null },
        ...(sync ? { sync: { key: sync, scales: ['x', null] as [string, null], setSeries: false } } : {}),
      },
      hooks: {
        setCursor: [(u) => this.tell(u)],
        setSelect: [(u) => this.selected(u)],
        draw: [(u) => this.divide(u)],
      },
    };
  }

  private lineSeries(line: Line): uPlot.Series {
    const { stacked } = this.options;
    const first = this.options.lines[0] === line;
    return {
      label: line.label,
      width: line.scatter ? 0 : stacked ? 1.25 : 1.75,
      stroke: () => colour(`--line-${line.tone}`),
      spanGaps: true,
      ...(line.scatter ? { paths: () => null } : line.steps ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
      ...(line.dash ? { dash: [5, 4] } : {}),
      ...(stacked && first ? { fill: () => faded(line.tone, 0.28) } : {}),
      points: {
        size: line.scatter ? (this.drawn.at.length > 200 ? 4 : 8) : 5.5,
        fill: () => (line.scatter ? faded(line.tone, 0.55) : colour('--surface')),
        stroke: () => (line.scatter ? 'transparent' : colour(`--line-${line.tone}`)),
        show: (_u, _index, from, to) => !!line.marks || !!line.scatter || to - from < 2,
      },
    };
  }

  private upTicks(values: (number | null)[]): string[] {
    const { kind } = this.options;
    const { size } = unitFor(kind, largest(this.drawn));
    return values.map((value) => (value == null ? '' : kind === 'seconds' ? duration(value) : tick(value / size)));
  }

  private divide(u: uPlot): void {
    const { min = 0, max = 0 } = u.scales['x']!;
    const { ctx, bbox } = u;
    for (const { at, label } of this.options.dividers?.() ?? []) {
      if (at <= min! || at >= max!) continue;
      const left = Math.round(u.valToPos(at, 'x', true));
      ctx.save();
      ctx.strokeStyle = colour('--divider');
      ctx.fillStyle = colour('--text-2');
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
      ctx.font = `${10 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'top';
      const width = ctx.measureText(label).width;
      const fits = left + width + 8 * devicePixelRatio < bbox.left + bbox.width;
      ctx.fillText(label, fits ? left + 4 * devicePixelRatio : left - width - 4 * devicePixelRatio, bbox.top + 2);
      ctx.restore();
    }
  }

  private selected(u: uPlot): void {
    const { left, width } = u.select;
    if (width < 6) return;
    const [from, to] = [u.posToVal(left, 'x'), u.posToVal(left + width, 'x')];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.options.onZoom?.(from, to);
  }

  private tell(u: uPlot): void {
    const { tip, options, drawn } = this;
    const row = u.cursor.idx;
    const left = u.cursor.left ?? -1;
    tip.hidden = row == null || left < 0 || !(this.isPointedAt || this.host === document.activeElement);
    if (row == null || tip.hidden) return;
    const head = document.createElement('div');
    head.className = 'plot-tip-head';
    head.textContent = acrossText(options.across, drawn.at[row] ?? 0);
    const rows = options.lines.flatMap((line, index) => this.tipRow(line, index, row));
    const note = options.note?.(row);
    if (note) {
      const last = document.createElement('div');
      last.className = 'plot-tip-note';
      last.textContent = note;
      rows.push(last);
    }
    tip.replaceChildren(head, ...(options.stacked ? rows.reverse() : rows));
    const isRight = left > u.over.clientWidth / 2;
    tip.style.left = isRight ? '' : `${left + 12}px`;
    tip.style.right = isRight ? `${u.over.clientWidth - left + 12}px` : '';
  }

  private tipRow(line: Line, index: number, row: number): HTMLElement[] {
    const { options, drawn } = this;
    const column = drawn.columns[index];
    const value = drawn.told ? drawn.told[index]?.[row] : column?.mean[row];
    if (value == null) return [];
    const item = document.createElement('div');
    item.className = 'plot-tip-row';
    const key = document.createElement('span');
    key.className = `key tone-${line.tone}`;
    const name = document.createElement('span');
    name.textContent = line.label;
    const figure = document.createElement('b');
    figure.textContent = format(options.kind, value);
    item.append(key, name, figure);
    const [min, max] = [column?.min?.[row], column?.max?.[row]];
    if (min != null && max != null && max > min) {
      const span = document.createElement('small');
      span.textContent = `${format(options.kind, min)} – ${format(options.kind, max)}`;
      item.append(span);
    }
    return [item];
  }
}

function invisible(): uPlot.Series {
  return { show: true, width: 0, stroke: 'transparent', points: { show: false }, spanGaps: true };
}

function labelWidth(u: uPlot, values: string[] | null): number {
  u.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  const widest = Math.max(0, ...(values ?? []).map((value) => u.ctx.measureText(value).width / devicePixelRatio));
  return Math.max(34, Math.ceil(widest) + 12);
}

function padded(min: number | null, max: number | null, fromZero: boolean): [number, number] {
  if (min == null || max == null) return [0, 1];
  if (fromZero) return [Math.min(0, min), max > 0 ? max * 1.08 : 1];
  const gap = max - min || Math.abs(max) * 0.1 || 1;
  const low = min - gap * 0.06;
  return [min >= 0 && low < 0 ? 0 : low, max + gap * 0.06];
}

/** A colour of the palette, mostly transparent. */
function faded(tone: number, alpha: number): string {
  const own = colour(`--line-${tone}`);
  const [red, green, blue] = [1, 3, 5].map((from) => parseInt(own.slice(from, from + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}
