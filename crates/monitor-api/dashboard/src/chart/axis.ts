/** Where the ticks of an axis stand. Pure functions. */

import type { AcrossKind } from './ticks.ts';

/** What of an axis is shown. */
export interface Scale {
  min: number;
  max: number;
  isLog?: boolean;
}

/** Where `value` lies on the scale, from 0 to 1; outside of that beyond its ends. */
export function shareOf({ min, max, isLog }: Scale, value: number): number {
  if (!isLog) return (value - min) / (max - min || 1);
  return (Math.log(value) - Math.log(min)) / (Math.log(max) - Math.log(min) || 1);
}

/** About `number` round values on a scale; `unit` is the size of what they are told in. */
export function ticksOf(scale: Scale, number: number, unit = 1): number[] {
  if (scale.isLog) return decades(scale, number);
  const { min, max } = scale;
  const step = roundStep((max - min) / unit / number) * unit;
  return multiples(min, max, step);
}

/** The same for what lies across. */
export function ticksAcross(across: AcrossKind, scale: Scale, number: number, unit = 1): number[] {
  const { min, max } = scale;
  if (scale.isLog) return decades(scale, number);
  if (across === 'step') return multiples(min, max, Math.max(1, roundStep((max - min) / number)));
  if (across === 'seconds') return multiples(min, max, clockStep((max - min) / number));
  if (across === 'date') return dates(scale, number);
  return ticksOf(scale, number, unit);
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function roundStep(least: number): number {
  if (!(least > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  return ([1, 2, 5].find((one) => one * power >= least * 0.999) ?? 10) * power;
}

const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];
const CLOCK = [1, 2, 5, 10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];

function clockStep(least: number): number {
  if (least < 1) return roundStep(least);
  return CLOCK.find((one) => one >= least) ?? roundStep(least / DAY) * DAY;
}

/** Local dates: parts of a day from midnight on, else days. */
function dates({ min, max }: Scale, number: number): number[] {
  const step = clockStep((max - min) / number);
  const first = new Date(min * 1000);
  const midnight = (days: number): number => new Date(first.getFullYear(), first.getMonth(), first.getDate() + days).getTime() / 1000;
  const found: number[] = [];
  if (step >= DAY) {
    for (let days = 0; midnight(days) <= max && found.length < 100; days += Math.ceil(step / DAY)) found.push(midnight(days));
  } else {
    found.push(...multiples(min - midnight(0), max - midnight(0), step).map((seconds) => midnight(0) + seconds));
  }
  return found.filter((at) => at >= min);
}

function multiples(min: number, max: number, step: number): number[] {
  const first = Math.ceil(min / step - 1e-9);
  const length = Math.floor(max / step + 1e-9) - first + 1;
  if (!(length > 0) || length > 1000) return [];
  return Array.from({ length }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Powers of ten; with 2 and 5 between them where there are few, and round values where there are none. */
function decades({ min, max }: Scale, number: number): number[] {
  const [low, high] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
  const between = (list: number[]): number[] => {
    const all = Array.from({ length: high - low + 1 }, (_, index) => list.map((one) => Number((one * 10 ** (low + index)).toPrecision(12)))).flat();
    return all.filter((value) => value >= min * 0.9999 && value <= max * 1.0001);
  };
  const powers = between([1]);
  if (powers.length > number) return powers.filter((_, index) => index % Math.ceil(powers.length / number) === 0);
  const more = between([1, 2, 5]);
  return powers.length >= 4 ? powers : more.length >= 2 ? more : ticksOf({ min, max }, number);
}
