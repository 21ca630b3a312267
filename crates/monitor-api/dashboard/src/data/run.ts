/** A run as its page needs it: where it stands, its course, and its events while it is trained. */

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { address, get } from '../api/client.ts';
import { follow } from '../api/follow.ts';
import type { Progress, RunAnswer, RunEvent } from '../api/types.ts';
import { useResource, type Resource } from '../hooks.ts';
import { isActive } from '../ui/parts.tsx';
import { RunCourse } from './live.ts';

/** How fresh the page is. */
export type Link = 'live' | 'lost' | 'ended' | 'waiting';

export interface LiveRun {
  answer: Resource<RunAnswer>;
  /** Where the run stands, with what its events said since. */
  progress: Progress | null;
  course: RunCourse;
  isCourseLoaded: boolean;
  link: Link;
}

/** Milliseconds between two readings of the whole answer while a run is active, and between two drawings of the head. */
const EVERY = 5000;
const DRAW_EVERY = 200;

export function useRun(runId: string): LiveRun {
  const path = `api/v1/runs/${encodeURIComponent(runId)}`;
  const answer = useResource<RunAnswer>(path, (signal) => get(path, {}, signal), (data) => (isActive(data?.progress.status) ? EVERY : null));
  const course = useMemo(() => new RunCourse(runId), [runId]);
  const loaded = useResource(`${path}/series`, (signal) => course.load(signal).then(() => true));
  const [link, setLink] = useState<Link>('waiting');
  const [patch, setPatch] = useState<Partial<Progress>>({});
  const isRunning = isActive(answer.data?.progress.status);
  const reload = useRef(answer.reload);
  reload.current = answer.reload;

  // What the answer says is newer than what events said before it.
  useEffect(() => setPatch({}), [answer.data]);

  useEffect(() => {
    if (!isRunning || !loaded.data) return undefined;
    const stop = new AbortController();
    let pending: Partial<Progress> = {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    const show = (more: Partial<Progress>): void => {
      pending = { ...pending, ...more };
      timer ??= setTimeout(() => {
        timer = undefined;
        const taken = pending;
        pending = {};
        setPatch((old) => merge(old, taken));
      }, DRAW_EVERY);
    };
    void follow(address(`${path}/events`), course.lastSeq, {
      onState(state) {
        setLink(state);
        if (state === 'ended') reload.current();
      },
      onMessage(message) {
        const data = parsed(message.data);
        if (!data) return;
        if (message.event === 'status') {
          show({ status: data['status'] as Progress['status'], ...(typeof data['remaining_seconds'] === 'number' ? { remaining_seconds: data['remaining_seconds'] } : {}) });
          return;
        }
        const event = data as RunEvent;
        course.event(event);
        show(said(event));
        if (event.kind === 'emissions' || event.kind === 'step') void course.refreshOthers(stop.signal);
        if (['stage_finished', 'stage_started', 'finished', 'failed', 'cancelled', 'warning'].includes(event.kind)) reload.current();
      },
    }, stop.signal);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [isRunning, loaded.data, course]);

  const progress = answer.data ? patched(answer.data.progress, patch) : null;
  return { answer, progress, course, isCourseLoaded: !!loaded.data, link: isRunning ? link : 'ended' };
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function merge(old: Partial<Progress>, more: Partial<Progress>): Partial<Progress> {
  return { ...old, ...more, ...(more.metrics || old.metrics ? { metrics: { ...old.metrics, ...more.metrics } } : {}), ...(more.emissions ? { emissions: more.emissions } : {}) };
}

/** What an event says of where the run stands. */
function said(event: RunEvent): Partial<Progress> {
  const number = (field: string): number | undefined => (typeof event[field] === 'number' ? (event[field] as number) : undefined);
  if (event.kind === 'step') {
    const samples = event['samples'] as { per_second?: number } | undefined;
    const tokens = number('tokens_per_second');
    return {
      current_stage: event.stage ?? 1,
      current_iteration: event.step ?? 0,
      total_iterations: event.total_steps ?? 0,
      metrics: {
        train_loss: number('train_loss'), learning_rate: number('learning_rate'),
        ...(tokens ? { tokens_per_second: tokens } : {}), ...(samples?.per_second ? { samples_per_second: samples.per_second } : {}),
      },
    };
  }
  if (event.kind === 'evaluated') return { metrics: { validation_loss: number('validation_loss'), token_accuracy: number('token_accuracy') } };
  if (event.kind === 'epoch_finished') return { metrics: { validation_loss: number('validation_loss'), accuracy: number('accuracy') } };
  if (event.kind === 'emissions') return { emissions: [event as unknown as NonNullable<Progress['emissions']>[number]] };
  return {};
}

/** `progress` with what events said since; figures that a sum needs are added up anew. */
export function patched(progress: Progress, patch: Partial<Progress>): Progress {
  const { emissions, metrics, ...rest } = patch;
  const next: Progress = { ...progress, ...rest, metrics: { ...progress.metrics, ...metrics } };
  if (emissions) {
    const [newest] = emissions;
    const others = (progress.emissions ?? []).filter((one) => one.stage !== newest?.stage);
    next.emissions = newest ? [...others, newest].sort((a, b) => a.stage - b.stage) : others;
    next.carbon_emissions_kg = next.emissions.reduce((sum, one) => sum + one.emissions_kg_co2, 0);
  }
  if (rest.current_iteration != null) {
    const total = progress.stages.reduce((sum, stage) => sum + stage.total_steps, 0);
    const before = progress.stages.filter((stage) => stage.stage < next.current_stage).reduce((sum, stage) => sum + stage.total_steps, 0);
    if (total > 0) next.progress_percentage = Math.max(progress.progress_percentage, (100 * (before + next.current_iteration)) / total);
    next.stages = progress.stages.map((stage) => (stage.stage === next.current_stage ? { ...stage, steps_done: Math.max(stage.steps_done, next.current_iteration) } : stage));
  }
  return next;
}
