/** Writes a chart as SVG, from what it shows. Pure functions: no page is needed, and nothing is loaded by the file. */

import { format, unitFor, type Kind } from '../data/units.ts';
import { shareOf, ticksAcross, ticksOf, type Scale } from './axis.ts';
import { largest, lastOf, type Drawn, type Line } from './drawn.ts';
import { shapesOf, type Place } from './shapes.ts';
import { acrossTicks, tick, type AcrossKind } from './ticks.ts';

/** A chart as it is shown. */
export interface SvgChart {
  title: string;
  /** What it is of, such as the id of a run. */
  of?: string | undefined;
  lines: Line[];
  drawn: Drawn;
  kind: Kind;
  across: AcrossKind;
  x: Scale;
  y: Scale;
  stacked?: boolean | undefined;
  banded?: boolean | undefined;
  dividers?: { at: number; label: string }[] | undefined;
  /** A colour of the style sheet, such as `--line-1`. */
  colour(name: string): string;
}

export const WIDTH = 800;
const PLOT_HEIGHT = 320;
const EDGE = 20;
const FONT = 'system-ui, -apple-system, &quot;Segoe UI&quot;, Roboto, &quot;Helvetica Neue&quot;, Arial, sans-serif';
/** Names of what lies across, below the axis. */
const ACROSS: Partial<Record<AcrossKind, string>> = { step: 'optimizer step', seconds: 'time since the start', energy: 'energy' };

/** Text or the value of an attribute; what XML cannot hold at all becomes a replacement character. */
export function escaped(text: string): string {
  const marks: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[\p{Surrogate}\p{Noncharacter_Code_Point}\u0000-\u0008\u000b\u000c\u000e-\u001f]/gu, '\ufffd').replace(/[&<>"']/g, (mark) => marks[mark] ?? mark);
}

/** The chart as a document. */
export function svgOf(chart: SvgChart): string {
  const { colour, lines, drawn, of } = chart;
  const legend = legendOf(chart);
  const { unit } = unitFor(chart.kind, largest(drawn));
  const top = EDGE + (of ? 44 : 26) + legend.height + (unit ? 36 : 22);
  const ticks = upTicks(chart);
  const left = EDGE + Math.max(24, ...ticks.map(({ label }) => widthOf(label, 12))) + 8;
  const box: Box = { left, top, width: WIDTH - left - EDGE - 6, height: PLOT_HEIGHT };
  const height = top + PLOT_HEIGHT + 26 + (ACROSS[chart.across] ? 20 : 4) + 8;
  const place = placeIn(box, chart);
  const isEmpty = !drawn.columns.some((column) => column.mean.some((value) => value != null));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="${FONT}" font-size="12">`,
    `<title>${escaped(of ? `${chart.title}, ${of}` : chart.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="${colour('--surface')}"/>`,
    headOf(chart),
    legend.text,
    axesOf(chart, box, ticks, unit),
    `<clipPath id="plot"><rect x="${box.left - 6}" y="${box.top - 6}" width="${box.width + 12}" height="${box.height + 12}"/></clipPath>`,
    `<g clip-path="url(#plot)" fill="none" stroke-linejoin="round">`,
    ...shapesOf(chart, place).map((shapes, index) => `<g class="series"><title>${escaped(lines[index]!.label)}</title>${shapes}</g>`),
    '</g>',
    dividersOf(chart, box),
    isEmpty ? `<text x="${box.left + box.width / 2}" y="${box.top + box.height / 2}" text-anchor="middle" fill="${colour('--text-2')}">No values yet</text>` : '',
    '</svg>',
  ].filter(Boolean).join('\n') + '\n';
}

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

function placeIn(box: Box, { x, y }: SvgChart): Place {
  const coordinate = (value: number): string => String(Number(value.toFixed(2)));
  return {
    x: (value) => coordinate(box.left + shareOf(x, value) * box.width),
    y: (value) => coordinate(box.top + (1 - shareOf(y, value)) * box.height),
    bottom: coordinate(box.top + box.height),
  };
}

function headOf({ title, of, colour }: SvgChart): string {
  const words = `<text x="${EDGE}" y="${EDGE + 14}" font-size="16" font-weight="600" fill="${colour('--text')}">${escaped(cut(title, 16))}</text>`;
  return of ? `${words}\n<text x="${EDGE}" y="${EDGE + 34}" fill="${colour('--text-2')}">${escaped(cut(of, 12))}</text>` : words;
}

/** Keys, names and last values, in as many rows as they need. */
function legendOf(chart: SvgChart): { text: string; height: number } {
  const { lines, drawn, kind, colour, of } = chart;
  let [left, row] = [EDGE, 0];
  const entries = lines.map((line, index) => {
    const value = line.scatter ? '' : format(kind, lastOf(drawn, index));
    const label = cut(line.label, 12, widthOf(value, 12) + 40);
    const width = 20 + widthOf(`${label} ${value}`, 12) + 18;
    if (left > EDGE && left + width > WIDTH - EDGE) [left, row] = [EDGE, row + 1];
    const y = EDGE + (of ? 58 : 40) + row * 20;
    const ink = `stroke="${colour(`--line-${line.tone}`)}"`;
    const key = line.scatter
      ? `<circle cx="${left + 7}" cy="${y - 4}" r="4" fill="${colour(`--line-${line.tone}`)}"/>`
      : `<line x1="${left}" y1="${y - 4}" x2="${left + 14}" y2="${y - 4}" ${ink} stroke-width="3"${line.dash ? ' stroke-dasharray="5 4"' : ''}/>`;
    const text = `<text x="${left + 20}" y="${y}" fill="${colour('--text-2')}">${escaped(label)}${value && ` <tspan fill="${colour('--text')}" font-weight="600">${escaped(value)}</tspan>`}</text>`;
    left += width;
    return key + text;
  });
  return { text: `<g class="legend">${entries.join('\n')}</g>`, height: (row + 1) * 20 };
}

interface Tick {
  at: number;
  label: string;
}

function upTicks({ drawn, kind, y }: SvgChart): Tick[] {
  const { size } = unitFor(kind, largest(drawn));
  return ticksOf(y, 6, size).map((at) => ({ at, label: tick(at / size) }));
}

function axesOf(chart: SvgChart, box: Box, ups: Tick[], unit: string): string {
  const { x, y, across, colour } = chart;
  const [grid, words] = [colour('--grid'), colour('--text-2')];
  const bottom = box.top + box.height;
  const parts: string[] = [];
  if (unit) parts.push(`<text x="${EDGE}" y="${box.top - 13}" fill="${words}">${escaped(unit)}</text>`);
  for (const { at, label } of ups) {
    const up = round(box.top + (1 - shareOf(y, at)) * box.height);
    parts.push(`<line x1="${box.left}" y1="${up}" x2="${box.left + box.width}" y2="${up}" stroke="${grid}"/><text x="${box.left - 8}" y="${round(up + 4)}" text-anchor="end" fill="${words}">${escaped(label)}</text>`);
  }
  const positions = ticksAcross(across, x, across === 'date' ? 7 : 8, sizeAcross(across, x));
  const labels = acrossTicks(across, positions);
  let free = 0;
  positions.forEach((at, index) => {
    const middle = round(box.left + shareOf(x, at) * box.width);
    const half = widthOf(labels[index]!, 12) / 2;
    parts.push(`<line x1="${middle}" y1="${bottom}" x2="${middle}" y2="${bottom + 5}" stroke="${colour('--divider')}"/>`);
    // A label that would touch its neighbour, or leave the picture, is left out.
    if (middle - half < free || middle + half > WIDTH - 4) return;
    parts.push(`<text x="${middle}" y="${bottom + 19}" text-anchor="middle" fill="${words}">${escaped(labels[index]!)}</text>`);
    free = middle + half + 8;
  });
  parts.push(`<line x1="${box.left}" y1="${bottom}" x2="${box.left + box.width}" y2="${bottom}" stroke="${colour('--divider')}"/>`);
  const name = ACROSS[across];
  if (name) parts.push(`<text x="${round(box.left + box.width / 2)}" y="${bottom + 39}" text-anchor="middle" fill="${words}">${name}</text>`);
  return `<g class="axes">${parts.join('\n')}</g>`;
}

function sizeAcross(across: AcrossKind, x: Scale): number {
  return across === 'step' || across === 'seconds' || across === 'date' ? 1 : unitFor(across, x.max).size;
}

function dividersOf({ dividers = [], x, colour }: SvgChart, box: Box): string {
  const inside = dividers.filter(({ at }) => at > x.min && at < x.max);
  return inside.map(({ at, label }) => {
    const left = round(box.left + shareOf(x, at) * box.width);
    const isLate = left + widthOf(label, 11) + 8 > box.left + box.width;
    return `<line x1="${left}" y1="${box.top}" x2="${left}" y2="${box.top + box.height}" stroke="${colour('--divider')}" stroke-dasharray="3 3"/><text x="${isLate ? left - 5 : left + 5}" y="${box.top + 10}" font-size="11"${isLate ? ' text-anchor="end"' : ''} fill="${colour('--text-2')}">${escaped(label)}</text>`;
  }).join('\n');
}

const round = (value: number): number => Number(value.toFixed(2));

/** About how wide text is, rather more than less: nothing measures it here. */
function widthOf(text: string, size: number): number {
  return [...text].reduce((sum, letter) => sum + (letter > '\u2e7f' ? 1.02 : 0.58), 0) * size;
}

/** Text that would not fit in one line, without its end. */
function cut(text: string, size: number, aside = 0): string {
  const letters = [...text];
  const room = WIDTH - 2 * EDGE - aside;
  if (widthOf(text, size) <= room) return text;
  while (letters.length > 1 && widthOf(letters.join(''), size) > room - size) letters.pop();
  return `${letters.join('')}…`;
}
