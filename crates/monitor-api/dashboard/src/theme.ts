/** Light or dark: as the system has it, or as the reader chose. */

import { Store } from './data/store.ts';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'greentune-theme';
const system = window.matchMedia('(prefers-color-scheme: dark)');

export const theme = new Store<Theme>(kept());
/** Rises whenever colours change; charts draw themselves again then. */
export const colours = new Store(0);

function kept(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

export function isDark(): boolean {
  return theme.get() === 'system' ? system.matches : theme.get() === 'dark';
}

export function choose(value: Theme): void {
  try {
    if (value === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, value);
  } catch {
    // It holds until the page is left.
  }
  theme.set(value);
  apply();
}

export function apply(): void {
  document.documentElement.dataset['theme'] = isDark() ? 'dark' : 'light';
  colours.set(colours.get() + 1);
}

system.addEventListener('change', apply);

/** A colour of the style sheet, such as `--line-1`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || '#888';
}

/** The same on paper: as the light theme has it, whichever is on. */
export function paperColour(name: string): string {
  const paper = document.createElement('i');
  paper.className = 'paper';
  paper.hidden = true;
  document.body.append(paper);
  const found = getComputedStyle(paper).getPropertyValue(name).trim();
  paper.remove();
  return found || '#888';
}
