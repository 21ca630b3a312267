/** Saves what a chart shows: its picture as PNG, its figures as CSV. */

import { csv } from './cells.ts';
import type { Drawn, Line, Plot } from './plot.ts';
import { colour } from '../theme.ts';

/** Offers `content` to the reader as a file. */
export function offer(name: string, content: Blob | string, type = 'text/csv;charset=utf-8'): void {
  const blob = typeof content === 'string' ? new Blob([content], { type }) : content;
  const address = URL.createObjectURL(blob);
  const anchor = document.createElement('a');
  anchor.href = address;
  anchor.download = name.replace(/[^\w.-]+/g, '-');
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** The figures of a chart, in full. */
export function drawnAsCsv(across: string, lines: Line[], drawn: Drawn): string {
  const head = [across, ...lines.flatMap((line, index) => {
    const hasBand = drawn.columns[index]?.min;
    return hasBand ? [line.label, `${line.label} min`, `${line.label} max`] : [line.label];
  })];
  const rows = drawn.at.map((at, row) => [at, ...drawn.columns.flatMap((column, index) => {
    const value = drawn.told ? drawn.told[index]?.[row] : column.mean[row];
    return column.min ? [value, column.min[row], column.max?.[row]] : [value];
  })]);
  return csv([head, ...rows]);
}

/** The picture of a chart with its title and legend. */
export function picture(plot: Plot, title: string, lines: Line[]): Promise<Blob | null> {
  const drawn = plot.chart.ctx.canvas;
  const scale = drawn.width / plot.chart.width;
  const [margin, head] = [16, 46];
  const canvas = document.createElement('canvas');
  canvas.width = drawn.width + 2 * margin * scale;
  canvas.height = drawn.height + (head + margin) * scale;
  const draw = canvas.getContext('2d');
  if (!draw) return Promise.resolve(null);
  draw.fillStyle = colour('--surface');
  draw.fillRect(0, 0, canvas.width, canvas.height);
  draw.drawImage(drawn, margin * scale, head * scale);
  draw.scale(scale, scale);
  draw.textBaseline = 'middle';
  draw.fillStyle = colour('--text');
  draw.font = '600 14px system-ui, sans-serif';
  draw.fillText(title, margin, 22);
  draw.font = '12px system-ui, sans-serif';
  let right = canvas.width / scale - margin;
  for (const line of [...lines].reverse()) {
    right -= draw.measureText(line.label).width;
    draw.fillStyle = colour('--text-2');
    draw.fillText(line.label, right, 22);
    draw.fillStyle = colour(`--line-${line.tone}`);
    draw.fillRect(right - 18, 20.5, 12, 3);
    right -= 34;
  }
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}
