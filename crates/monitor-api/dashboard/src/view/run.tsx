/** The page of one run. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { ApiError, get, perform } from '../api/client.ts';
import type { EmissionsSummary, Progress, RunShown, StageEmissionsSoFar } from '../api/types.ts';
import { useRun, type Link } from '../data/run.ts';
import { duration, format } from '../data/units.ts';
import { useResource } from '../hooks.ts';
import { link as linkTo } from '../route.ts';
import { Ask, type Question } from '../ui/dialog.tsx';
import { Icon } from '../ui/icon.tsx';
import { Empty, isActive, Loading, Notice, stateWords, Trouble } from '../ui/parts.tsx';
import { RunCharts } from './run-charts.tsx';
import { RunEmissions } from './run-emissions.tsx';
import { RunHead } from './run-head.tsx';
import { Files, Log, PlanAgainstActual, Problems } from './run-panels.tsx';
import { Results } from './run-results.tsx';

const RESUMABLE = ['cancelled', 'interrupted', 'failed'];

export function RunPage({ route, server, can }: ViewProps): JSX.Element {
  const runId = route.rest;
  const live = useRun(runId);
  const [question, setQuestion] = useState<Question | null>(null);
  const [said, setSaid] = useState<string | null>(null);
  const { answer, progress, course } = live;
  const isRunning = isActive(progress?.status);
  const summary = useSummary(runId, progress, isRunning);
  if (answer.error && !answer.data) {
    if (answer.error instanceof ApiError && answer.error.status === 404) {
      return <Empty icon="search" title="There is no such run"><p>{answer.error.message}</p><p><a href="#/runs">All runs</a></p></Empty>;
    }
    return <Trouble error={answer.error} retry={answer.reload} />;
  }
  if (!answer.data || !progress) return <Loading rows={10} />;
  const { run, plan } = answer.data;
  const buttons = (
    <>
      <Freshness link={live.link} isRunning={isRunning} />
      {progress.status === 'completed' && <a class="button" href={linkTo('compare', '', { a: runId })}><Icon name="compare" />Compare</a>}
      {isRunning && can('cancel_training') && <button type="button" class="danger" onClick={() => setQuestion(cancelOf(run, answer.reload, setSaid))}><Icon name="stop" />Cancel</button>}
      {RESUMABLE.includes(progress.status) && can('resume_training') && <button type="button" class="primary" onClick={() => setQuestion(resumeOf(run, answer.reload, setSaid))}><Icon name="play" />Resume</button>}
      {progress.status === 'not_started' && can('start_training') && <button type="button" class="primary" onClick={() => setQuestion(startOf(run, answer.reload, setSaid))}><Icon name="play" />Start</button>}
    </>
  );
  return (
    <>
      <a class="crumb" href="#/runs"><Icon name="back" />Runs</a>
      <RunHead run={run} progress={progress} summary={summary.data} buttons={buttons} />
      {said && <Notice kind="good">{said}</Notice>}
      <Announce progress={progress} />
      <Problems run={run} progress={progress} />
      <RunCharts course={course} isLoaded={live.isCourseLoaded} progress={progress} runId={runId} online />
      <RunEmissions summary={summary.data} progress={progress} error={summary.error} />
      <PlanAgainstActual run={run} plan={plan ?? null} />
      <Results run={run} />
      <Files run={run} />
      {server?.operations.includes('show_log') !== false && <Log runId={runId} isRunning={isRunning} />}
      {question && <Ask question={question} onClose={() => setQuestion(null)} />}
    </>
  );
}

/** The summary of what was metered; asked again while it grows. */
function useSummary(runId: string, progress: Progress | null, isRunning: boolean): { data: EmissionsSummary | null; error: Error | null } {
  const isMetered = !!progress?.emissions?.length;
  const path = `emissions/${encodeURIComponent(runId)}/summary`;
  const key = progress && isMetered ? `${path} ${isRunning ? 'running' : progress.status}` : null;
  return useResource<EmissionsSummary>(key, (signal) => get(path, {}, signal), isRunning ? 20_000 : null);
}

function Freshness({ link, isRunning }: { link: Link; isRunning: boolean }): JSX.Element | null {
  if (!isRunning) return null;
  const words = { live: 'Live', lost: 'Offline, trying again', waiting: 'Connecting', ended: 'Ended' }[link];
  return <span class={`fresh fresh-${link}`} role="status"><i />{words}</span>;
}

function cancelOf(run: RunShown, reload: () => void, say: (text: string) => void): Question {
  return {
    title: 'Cancel this run?',
    body: <p><b>{run.manifest.run_name}</b> stops at its next step and keeps a checkpoint. It can be resumed from there.</p>,
    action: 'Cancel the run',
    isDanger: true,
    async perform() {
      const answer = await perform<{ message?: string }>('cancel_training', { run_id: run.manifest.run_id, project_path: run.summary.project_path, wait_seconds: 10 });
      say(answer.message ?? 'The run was asked to stop.');
      reload();
    },
  };
}

function resumeOf(run: RunShown, reload: () => void, say: (text: string) => void): Question {
  return {
    title: 'Resume this run?',
    body: <p><b>{run.manifest.run_name}</b> goes on from its last checkpoint on this machine, with the settings that it has.</p>,
    action: 'Resume the run',
    async perform() {
      await perform('resume_training', { run_id: run.manifest.run_id, project_path: run.summary.project_path });
      say('The run goes on.');
      reload();
    },
  };
}

function startOf(run: RunShown, reload: () => void, say: (text: string) => void): Question {
  return {
    title: 'Start this run?',
    body: <p><b>{run.manifest.run_name}</b> is trained on this machine, in the background. Closing this page does not end it.</p>,
    action: 'Start training',
    async perform() {
      await perform('start_training', { run_id: run.manifest.run_id, project_path: run.summary.project_path });
      say('Training has begun.');
      reload();
    },
  };
}

/** Tells a screen reader how the run goes on, at most four times a minute. */
function Announce({ progress }: { progress: Progress }): JSX.Element {
  const [text, setText] = useState('');
  const at = useRef(0);
  useEffect(() => {
    const active = isActive(progress.status);
    if (active && Date.now() - at.current < 15_000) return;
    at.current = Date.now();
    const left = progress.remaining_seconds != null ? `, ${duration(progress.remaining_seconds)} left` : '';
    setText(active
      ? `Step ${progress.current_iteration} of ${progress.total_iterations} in stage ${progress.current_stage}, loss ${format('loss', progress.metrics.train_loss)}${left}.`
      : `${stateWords(progress.status)}.`);
  });
  return <p class="unseen" role="status" aria-live="polite">{text}</p>;
}

export type { StageEmissionsSoFar };
