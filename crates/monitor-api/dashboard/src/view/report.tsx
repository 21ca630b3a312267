/** A run as a file: the same page from answers that the document holds, without a server. */

import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import { Mark, ThemeSwitch } from '../app.tsx';
import type { EmissionsSummary, Plan, Progress, RunShown, SeriesAnswer } from '../api/types.ts';
import { RunCourse } from '../data/live.ts';
import { Notice } from '../ui/parts.tsx';
import { RunCharts } from './run-charts.tsx';
import { RunEmissions } from './run-emissions.tsx';
import { RunHead } from './run-head.tsx';
import { Files, PlanAgainstActual, Problems } from './run-panels.tsx';
import { Results } from './run-results.tsx';

/** What a report's document holds. */
export interface ReportData {
  run: RunShown;
  progress: Progress;
  series: SeriesAnswer;
  summary?: EmissionsSummary | null;
  plan?: Plan | null;
  written_at?: string;
}

export function Report({ data }: { data: ReportData | null }): JSX.Element {
  const course = useMemo(() => (data?.series ? RunCourse.of(data.series) : null), [data]);
  if (!data?.run?.manifest || !data.progress || !course) {
    return <main class="report"><Notice kind="error">This file holds no report of a run. Write one with <code>greentune report RUN --html</code>.</Notice></main>;
  }
  const { run, progress, summary, plan } = data;
  document.title = `${run.manifest.run_name} · greentune`;
  return (
    <main class="report">
      <div class="report-top"><span class="brand"><Mark />greentune</span><ThemeSwitch /></div>
      <RunHead run={run} progress={progress} summary={summary ?? null} />
      <Problems run={run} progress={progress} />
      <RunCharts course={course} isLoaded progress={progress} runId={run.manifest.run_id} online={false} />
      <RunEmissions summary={summary ?? null} progress={progress} error={null} />
      <PlanAgainstActual run={run} plan={plan ?? null} />
      <Results run={run} />
      <Files run={run} />
      <footer class="faint">Written by greentune {run.manifest.greentune_version}{data.written_at ? ` at ${data.written_at}` : ''}. This file loads nothing from elsewhere.</footer>
    </main>
  );
}
