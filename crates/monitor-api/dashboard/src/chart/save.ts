/** Saves what a chart shows: its picture as SVG or PNG, its figures as CSV. */

import { csv } from './cells.ts';
import type { Drawn, Line } from './drawn.ts';

/** Letters of a file's name at most, before its ending. */
const LONGEST = 150;

/** A name that every file system takes; what it does not take becomes a dash. */
export function fileNameOf(name: string, ending: string): string {
  const safe = name.replace(/[^\p{L}\p{N}_.-]+/gu, '-').replace(/^[-.]+|[-.]+$/g, '').slice(0, LONGEST);
  return `${safe || 'chart'}.${ending}`;
}

/** Offers `content` to the reader as a file. */
export function offer(name: string, content: Blob | string, type = 'text/csv;charset=utf-8'): void {
  const blob = typeof content === 'string' ? new Blob([content], { type }) : content;
  const address = URL.createObjectURL(blob);
  const anchor = document.createElement('a');
  anchor.href = address;
  anchor.download = name;
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

/** Dots of the picture for one of the drawing. */
const DENSITY = 2;

/** A drawing as PNG, in twice its size. */
export async function pngOf(svg: string): Promise<Blob | null> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth * DENSITY;
  canvas.height = image.naturalHeight * DENSITY;
  const draw = canvas.getContext('2d');
  if (!draw) return null;
  draw.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}
