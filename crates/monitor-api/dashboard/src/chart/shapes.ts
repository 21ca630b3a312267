/** Lines, bands, areas and marks of a chart as SVG. Pure functions. */

import type { Column } from '../data/series.ts';
import type { Line } from './drawn.ts';
import type { SvgChart } from './svg.ts';

/** Where values lie in the picture. */
export interface Place {
  x(value: number): string;
  y(value: number): string;
  bottom: string;
}

type Point = [at: number, value: number];

/** The shapes of each line, in the order of the lines. */
export function shapesOf(chart: SvgChart, place: Place): string[] {
  const rows = rowsInside(chart);
  return chart.lines.map((line, index) => {
    const column = chart.drawn.columns[index];
    const points = pointsOf(chart, column?.mean, rows);
    const colour = chart.colour(`--line-${line.tone}`);
    return bandOf(chart, index, rows, place, colour) + areaOf(chart, index, points, rows, place, colour) + lineOf(chart, line, points, place, colour) + marksOf(chart, line, points, place, colour);
  });
}

/** First row and the one after the last: those that are seen, and one on either side for the line that leads there. */
function rowsInside({ drawn: { at }, x }: SvgChart): [number, number] {
  let [from, to] = [0, at.length];
  while (from + 1 < at.length && at[from + 1]! < x.min) from++;
  while (to - 1 > from && at[to - 2]! > x.max) to--;
  return [from, to];
}

/** The values that there are; a gap is bridged, as on the page. */
function pointsOf(chart: SvgChart, column: Column | undefined, [from, to]: [number, number]): Point[] {
  const points: Point[] = [];
  for (let row = from; row < to; row++) {
    const value = column?.[row];
    if (value == null || !Number.isFinite(value) || (chart.y.isLog && value <= 0)) continue;
    points.push([chart.drawn.at[row]!, value]);
  }
  return points;
}

function pathOf(points: Point[], place: Place, steps = false): string {
  return points.map(([at, value], index) => {
    if (index === 0) return `M${place.x(at)} ${place.y(value)}`;
    return steps ? `H${place.x(at)}V${place.y(value)}` : `L${place.x(at)} ${place.y(value)}`;
  }).join('');
}

function lineOf({ stacked }: SvgChart, line: Line, points: Point[], place: Place, colour: string): string {
  if (line.scatter || points.length < 2) return '';
  return `<path class="line" d="${pathOf(points, place, line.steps)}" stroke="${colour}" stroke-width="${stacked ? 1.25 : 1.75}"${line.dash ? ' stroke-dasharray="5 4"' : ''}/>`;
}

/** From the least to the greatest. */
function bandOf(chart: SvgChart, index: number, rows: [number, number], place: Place, colour: string): string {
  const column = chart.drawn.columns[index];
  if (!chart.banded || !column?.min || !column.max) return '';
  const [low, high] = [pointsOf(chart, column.min, rows), pointsOf(chart, column.max, rows)];
  if (low.length < 2 || high.length < 2) return '';
  return `<path class="band" d="${pathOf(high, place)}${pathOf(low.reverse(), place).replace('M', 'L')}Z" fill="${colour}" fill-opacity="0.16"/>`;
}

/** Down to the line below, or to the ground. */
function areaOf(chart: SvgChart, index: number, points: Point[], rows: [number, number], place: Place, colour: string): string {
  if (!chart.stacked || points.length < 2) return '';
  const { steps } = chart.lines[index]!;
  const below = index > 0 ? pointsOf(chart, chart.drawn.columns[index - 1]?.mean, rows) : [];
  const ground = below.length > 0 ? backwards(below, place, !!steps) : `L${place.x(points[points.length - 1]![0])} ${place.bottom}L${place.x(points[0]![0])} ${place.bottom}`;
  return `<path class="area" d="${pathOf(points, place, steps)}${ground}Z" fill="${colour}" fill-opacity="0.28"/>`;
}

function backwards(points: Point[], place: Place, steps: boolean): string {
  const back = [...points].reverse();
  return back.map(([at, value], index) => {
    const isFirst = index === 0;
    return steps && !isFirst ? `V${place.y(value)}H${place.x(at)}` : `L${place.x(at)} ${place.y(value)}`;
  }).join('');
}

/** Marks at the values, where they are seldom or there is no line. */
function marksOf(chart: SvgChart, line: Line, points: Point[], place: Place, colour: string): string {
  if (!line.marks && !line.scatter && points.length > 2) return '';
  const look = line.scatter
    ? `r="${chart.drawn.at.length > 200 ? 2 : 4}" fill="${colour}" fill-opacity="0.55"`
    : `r="2.75" fill="${chart.colour('--surface')}" stroke="${colour}" stroke-width="1.25"`;
  return points.map(([at, value]) => `<circle cx="${place.x(at)}" cy="${place.y(value)}" ${look}/>`).join('');
}
