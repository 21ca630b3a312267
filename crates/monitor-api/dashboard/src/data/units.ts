/** Figures in words: three significant digits, units that suit the size, no-break spaces before units. */

const GAP = '\u00a0';
const NONE = '–';

/** What a figure counts, which says how it is written. */
export type Kind =
  | 'plain' | 'loss' | 'share' | 'rate' | 'energy' | 'mass' | 'power' | 'seconds' | 'bytes' | 'intensity' | 'count' | 'usd';

/** `value` with three significant digits, and no exponent where it can be helped. */
export function number(value: number | null | undefined, digits = 3): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  if (value === 0) return '0';
  // Rounded first: 999.6 has no fraction to three digits.
  const size = Math.abs(Number(value.toPrecision(digits)));
  if (size < 1e-4 || size >= 1e15) return value.toExponential(digits - 1).replace('e-', 'e−').replace('e+', 'e');
  const after = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return grouped(value.toFixed(Math.min(after, 20)));
}

/** Whole numbers with narrow spaces between thousands. */
export function count(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  return grouped(Math.round(value).toString());
}

function grouped(text: string): string {
  const [whole = '', fraction] = text.split('.');
  const spaced = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, '\u202f') : whole;
  return (fraction === undefined ? spaced : `${spaced}.${fraction}`).replace('-', '−');
}

/** A number of things in everyday life, which nobody wants in powers of ten. */
export function everyday(value: number | null | undefined): string {
  return value != null && value > 0 && value < 0.001 ? 'under 0.001' : number(value);
}

/** A unit and what one of it is in the base unit. */
type Scale = readonly (readonly [unit: string, size: number])[];

const SCALES: Partial<Record<Kind, Scale>> = {
  energy: [['mWh', 1e-6], ['Wh', 1e-3], ['kWh', 1], ['MWh', 1e3], ['GWh', 1e6]],
  mass: [['mg', 1e-6], ['g', 1e-3], ['kg', 1], ['t', 1e3], ['kt', 1e6]],
  power: [['mW', 1e-3], ['W', 1], ['kW', 1e3], ['MW', 1e6]],
  bytes: [['B', 1], ['kB', 1e3], ['MB', 1e6], ['GB', 1e9], ['TB', 1e12]],
};

function scaleOf(kind: Kind, size: number): readonly [string, number] | undefined {
  const scale = SCALES[kind];
  // Nothing at all is said in the unit that people expect.
  if (scale && size === 0) return scale.find(([unit]) => ['Wh', 'g', 'W', 'B'].includes(unit));
  return scale && ([...scale].reverse().find(([, one]) => size >= one * 0.9995) ?? scale[0]);
}

/** The unit that suits figures up to `largest`, and its size; for axes and columns that share one. */
export function unitFor(kind: Kind, largest: number): { unit: string; size: number } {
  const found = scaleOf(kind, Math.abs(largest));
  if (found) return { unit: kind === 'mass' ? `${found[0]}${GAP}CO2e` : found[0], size: found[1] };
  if (kind === 'share') return { unit: '%', size: 0.01 };
  if (kind === 'seconds') return { unit: 's', size: 1 };
  if (kind === 'intensity') return { unit: 'g/kWh', size: 1 };
  return { unit: '', size: 1 };
}

/** A figure with its unit. */
export function format(kind: Kind, value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  switch (kind) {
    case 'share': return `${number(value * 100)}${GAP}%`;
    case 'seconds': return duration(value);
    case 'intensity': return `${number(value)}${GAP}g/kWh`;
    case 'count': return count(value);
    case 'usd': return money(value);
    case 'loss': return number(value, 4);
    case 'plain': return number(value);
    case 'rate': return `${number(value)}/s`;
    default: {
      const { unit, size } = unitFor(kind, value);
      return `${number(value / size)}${GAP}${unit}`;
    }
  }
}

export const energy = (kwh: number | null | undefined): string => format('energy', kwh);
export const mass = (kg: number | null | undefined): string => format('mass', kg);

/** The same without `CO2e`, where the column or label says it. */
export const massAlone = (kg: number | null | undefined): string => mass(kg).replace(`${GAP}CO2e`, '');

/** `low – high` in one unit; the unit is that of the higher end. */
export function range(kind: Kind, bounds: readonly [number, number] | null | undefined, currency = 'USD'): string {
  if (!bounds || !bounds.every(Number.isFinite)) return NONE;
  const [low, high] = bounds;
  if (kind === 'seconds') return `${duration(low)} – ${duration(high)}`;
  if (kind === 'usd') return high < 0.01 ? money(high, currency) : `${money(low, currency).replace('under ', '')} – ${money(high, currency)}`;
  const { unit, size } = unitFor(kind, Math.max(Math.abs(low), Math.abs(high)));
  return `${number(low / size)} – ${number(high / size)}${unit && GAP + unit}`;
}

/** `low to high` of a difference: both with their signs, in one unit. */
export function signedRange(kind: Kind, [low, high]: readonly [number, number]): string {
  if (kind === 'seconds') return `${signed(kind, low)} to ${signed(kind, high)}`;
  const { unit, size } = unitFor(kind, Math.max(Math.abs(low), Math.abs(high)));
  const one = (value: number): string => (value > 0 ? '+' : '') + number(value / size);
  return inPoints(kind, `${one(low)} to ${one(high)}${unit && GAP + unit}`);
}

/** A difference of two figures, with its sign. */
export const differenceOf = (kind: Kind, value: number | null | undefined): string => inPoints(kind, signed(kind, value));

/** What two shares differ by are points: 91 % is one point more than 90 %, and 1.1 % more. */
const inPoints = (kind: Kind, text: string): string => (kind === 'share' ? text.replace('%', 'points') : text);

/** A change, with its sign. */
export function signed(kind: Kind, value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return NONE;
  const text = format(kind, Math.abs(value));
  return value > 0 ? `+${text}` : value < 0 ? `−${text}` : text;
}

/** Seconds as people say them: `36.5 s`, `12 min 5 s`, `3 h 12 min`, `2 d 3 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return NONE;
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds < 1) return seconds === 0 ? `0${GAP}s` : `${number(seconds * 1000)}${GAP}ms`;
  if (seconds < 59.95) return `${number(seconds)}${GAP}s`;
  const whole = Math.round(seconds);
  const parts: [number, string][] = [
    [Math.floor(whole / 86400), 'd'], [Math.floor(whole / 3600) % 24, 'h'], [Math.floor(whole / 60) % 60, 'min'], [whole % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  const told = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return told.map(([amount, unit]) => `${amount}${GAP}${unit}`).join(' ');
}

/** How long ago: `just now`, `5 min ago`, `3 d ago`; a date after a month. */
export function ago(iso: string | null | undefined, now = Date.now()): string {
  const at = iso ? Date.parse(iso) : NaN;
  if (!Number.isFinite(at)) return NONE;
  const seconds = Math.max(0, (now - at) / 1000);
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))}${GAP}min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)}${GAP}h ago`;
  if (seconds < 30 * 86400) return `${Math.round(seconds / 86400)}${GAP}d ago`;
  return new Date(at).toISOString().slice(0, 10);
}

/** Money; what is less than a cent is said to be. */
export function money(usd: number | null | undefined, currency = 'USD'): string {
  if (usd == null || !Number.isFinite(usd)) return NONE;
  const isTiny = usd > 0 && usd < 0.01;
  const amount = isTiny ? '0.01' : grouped(usd.toFixed(2));
  return `${isTiny ? 'under ' : ''}${currency === 'USD' ? `$${amount}` : `${amount}${GAP}${currency}`}`;
}

/** Steps on an axis: `0`, `500`, `12k`, `1.5M`. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${trimmed(value / 1e9)}G`;
  if (size >= 1e6) return `${trimmed(value / 1e6)}M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)}k`;
  return trimmed(value);
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(4))).replace('-', '−');
}

/** The end of a path, with its folder in front where there is room for it. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).pop() ?? path;
}
