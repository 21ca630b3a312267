/** Begins the page: the dashboard of a server, or the report that the document holds. */

import { render } from 'preact';
import type { ReportData } from './view/report.tsx';
import { Report } from './view/report.tsx';
import { App } from './app.tsx';
import { apply } from './theme.ts';

apply();
const root = document.getElementById('app');
const held = document.getElementById('greentune-report')?.textContent;
if (root) render(held ? <Report data={read(held)} /> : <App />, root);

function read(text: string): ReportData | null {
  try {
    return JSON.parse(text) as ReportData;
  } catch {
    return null;
  }
}
