/** Positions and words along an axis. Pure functions. */

import { count, duration, format, short, unitFor, type Kind } from '../data/units.ts';

/** What lies across: optimizer steps, seconds since the run began, seconds since 1970, or a figure. */
export type AcrossKind = 'step' | 'seconds' | 'date' | Kind;

/** A value across, in words. */
export function acrossText(across: AcrossKind, value: number): string {
  if (across === 'step') return `step ${count(value)}`;
  if (across === 'seconds') return duration(value);
  if (across === 'date') return dateText(value, true);
  return format(across, value);
}

/** Local date and time, to the minute, or to the second. */
export function dateText(seconds: number, isFine = false): string {
  const at = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}${isFine ? `:${two(at.getSeconds())}` : ''}`;
}

/** The words at ticks across. */
export function acrossTicks(across: AcrossKind, values: number[]): string[] {
  if (across === 'step') return values.map((value) => (Number.isInteger(value) ? short(value) : ''));
  if (across === 'seconds') return values.map(duration);
  if (across === 'date') return dateTicks(values);
  return values.map((value) => {
    if (value == null) return '';
    const { unit, size } = unitFor(across as Kind, value);
    return `${tick(value / size)} ${unit}`;
  });
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Days where ticks lie days apart, else the time of the day with the day where it changes. */
function dateTicks(values: number[]): string[] {
  const gap = (values[1] ?? 0) - (values[0] ?? 0);
  return values.map((value, index) => {
    const at = new Date(value * 1000);
    const day = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
    if (gap >= 86_000 || values.length < 2) return day;
    const isNew = index === 0 || new Date(values[index - 1]! * 1000).getDate() !== at.getDate();
    const time = dateText(value, gap < 60).slice(11);
    return isNew ? `${day} ${time}` : time;
  });
}

/** A tick's number: short, without a unit, which the chart's head has. */
export function tick(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return Number(value.toPrecision(4)).toExponential().replace('e-', 'e−').replace('e+', 'e');
  return short(Number(value.toPrecision(6)));
}
