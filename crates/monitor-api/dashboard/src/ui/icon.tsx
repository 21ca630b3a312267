/** Icons, drawn here: 16 by 16, in the colour of the text. */

import type { JSX } from 'preact';

const PATHS: Record<string, string> = {
  runs: 'M2 4h12M2 8h12M2 12h8',
  leaf: 'M13.5 2.5C7 2.5 3 5.5 3 10c0 1 .3 2 .8 2.8M13.5 2.5c0 7-3 10.5-7 10.5-1 0-2-.2-2.7-.6M13.5 2.5C9 5 6 8 3 14',
  compare: 'M5.5 3v10M10.5 3v10M2.5 6l3-3 3 3M7.5 10l3 3 3-3',
  leader: 'M2.5 13.5v-4h3v4M6.5 13.5v-10h3v10M10.5 13.5v-7h3v7M1.5 13.5h13',
  plus: 'M8 3v10M3 8h10',
  sun: 'M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1',
  moon: 'M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z',
  auto: 'M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11',
  check: 'M3 8.5l3.2 3.2L13 4.8',
  cross: 'M4 4l8 8M12 4l-8 8',
  stop: 'M4.5 4.5h7v7h-7z',
  warn: 'M8 2.5l6 10.5H2zM8 6.5v3M8 11.2v.01',
  clock: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M8 5v3.2l2 1.3',
  circle: 'M8 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9',
  play: 'M5 3.5l7.5 4.5L5 12.5z',
  search: 'M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4M10.2 10.2l3.3 3.3',
  download: 'M8 2.5v7.5M4.8 7L8 10.2 11.2 7M2.5 13.5h11',
  back: 'M9.5 3.5L5 8l4.5 4.5',
  reset: 'M3 8a5 5 0 1 0 1.6-3.7M3 2.8v2.6h2.6',
  file: 'M4 1.8h5l3.2 3.2v9.2H4zM9 1.8V5h3.2',
  info: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M8 7.3v3.5M8 5.2v.01',
  lock: 'M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5',
  pulse: 'M1.5 8.5h3l2-5 3 9 2-4h3',
};

export function Icon({ name }: { name: string }): JSX.Element {
  return (
    <svg class="icn" width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
      <path d={PATHS[name] ?? PATHS['circle']} />
    </svg>
  );
}
