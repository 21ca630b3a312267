/** The course of one run: read once in buckets, then extended by its events. */

import { get } from '../api/client.ts';
import type { RunEvent, SeriesAnswer } from '../api/types.ts';
import { append, appendPoint, compact, empty, isSeries, type Series } from './series.ts';

/** Buckets that are asked for, and how many may be there before neighbours are merged. */
const POINTS = 500;
const MOST_POINTS = 1200;
/** Milliseconds between two questions for figures that events do not carry. */
const PAUSE = 5000;
/** Milliseconds between two drawings: a run may do hundreds of steps a second. */
const DRAW_EVERY = 250;

/** Figures that follow from events, by kind of event and the field that has them. */
const OF_STEP: Record<string, string> = {
  train_loss: 'train_loss', learning_rate: 'learning_rate', gradient_norm: 'gradient_norm', tokens_per_second: 'tokens_per_second',
};
const OF_EVALUATION: Record<string, string> = { validation_loss: 'validation_loss', perplexity: 'perplexity', token_accuracy: 'token_accuracy' };
const OF_EPOCH: Record<string, string> = { validation_loss: 'validation_loss', accuracy: 'accuracy' };
const FROM_EVENTS = new Set(['samples_per_second', 'power_w', ...[OF_STEP, OF_EVALUATION, OF_EPOCH].flatMap(Object.keys)]);

/** A part of a run in finer buckets. */
export interface Zoom {
  from: number;
  to: number;
}

export class RunCourse {
  series: Map<string, Series> = new Map();
  stages: SeriesAnswer['stages'] = [];
  lastSeq: number | null = null;
  /** The part that is looked at, and its series. */
  zoom: Zoom | null = null;
  private finer: Map<string, Series> | null = null;
  private watchers = new Set<() => void>();
  private startedAt: number | null = null;
  private lastX = 0;
  private askedAt = 0;
  private slowSeq: number | null = null;
  private isAsking = false;
  private isAwaited = false;
  private drawnAt = 0;

  constructor(readonly runId: string) {}

  /** The course from an answer that is there already. */
  static of(answer: SeriesAnswer): RunCourse {
    const course = new RunCourse(answer.run_id);
    course.take(answer);
    return course;
  }

  private get path(): string {
    return `api/v1/runs/${encodeURIComponent(this.runId)}/series`;
  }

  async load(signal?: AbortSignal): Promise<void> {
    this.take(await get<SeriesAnswer>(this.path, { points: POINTS }, signal));
  }

  private take(answer: SeriesAnswer): void {
    this.series = checked(answer);
    this.stages = answer.stages ?? [];
    this.lastSeq = answer.last_seq;
    this.slowSeq = answer.last_seq;
    for (const series of this.series.values()) this.lastX = Math.max(this.lastX, series.x[series.x.length - 1] ?? 0);
    this.changed();
  }

  /** The series that are looked at now. */
  get shown(): Map<string, Series> {
    return this.finer ?? this.series;
  }

  has(name: string): boolean {
    return (this.series.get(name)?.x.length ?? 0) > 0;
  }

  /** Calls `watcher` in the frame after a change. */
  subscribe(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  }

  private changed(isUrgent = false): void {
    if (this.watchers.size === 0 || (this.isAwaited && !isUrgent)) return;
    this.isAwaited = true;
    const draw = (): void => void requestAnimationFrame(() => {
      this.isAwaited = false;
      this.drawnAt = performance.now();
      for (const watcher of [...this.watchers]) watcher();
    });
    const wait = isUrgent ? 0 : this.drawnAt + DRAW_EVERY - performance.now();
    if (wait > 0) setTimeout(draw, wait);
    else draw();
  }

  /** Looks at a part in finer buckets; at all of it again with `null`. */
  async look(zoom: Zoom | null, online = true): Promise<void> {
    this.zoom = zoom;
    if (!zoom) this.finer = null;
    this.changed(true);
    if (!zoom || !online) return;
    const answer = await get<SeriesAnswer>(this.path, { points: POINTS, from: zoom.from, to: zoom.to });
    if (this.zoom !== zoom) return;
    this.finer = checked(answer);
    this.changed(true);
  }

  /** Where step `step` of `stage` lies across. */
  private position(stage: number, step: number): number {
    const first = this.stages.find((one) => one.stage === stage)?.first ?? 0;
    return first + step;
  }

  /** Takes an event of the stream; true when it changed a series. */
  event(event: RunEvent): boolean {
    if (this.lastSeq != null && event.seq <= this.lastSeq) return false;
    this.lastSeq = event.seq;
    const at = Date.parse(event.at);
    if (event.kind === 'started' && this.startedAt == null && event.seq === 0) this.startedAt = at;
    if (event.kind === 'stage_started') this.stageStarted(event);
    const time = this.timeOf(at);
    if (event.stage != null && event.step != null) this.lastX = this.position(event.stage, event.step);
    const add = (name: string, value: unknown): void => {
      if (typeof value !== 'number' || !Number.isFinite(value)) return;
      const series = this.series.get(name) ?? empty();
      appendPoint(series, this.lastX, time, value);
      this.series.set(name, series.x.length > MOST_POINTS ? compact(series, POINTS) : series);
    };
    const addAll = (names: Record<string, string>): void => Object.entries(names).forEach(([name, field]) => add(name, event[field]));
    if (event.kind === 'step') {
      addAll(event['tokens'] === 0 ? { ...OF_STEP, tokens_per_second: 'none' } : OF_STEP);
      add('samples_per_second', (event['samples'] as { per_second?: number } | undefined)?.per_second);
    } else if (event.kind === 'evaluated') addAll(OF_EVALUATION);
    else if (event.kind === 'epoch_finished') addAll(OF_EPOCH);
    else if (event.kind === 'emissions') add('power_w', event['power_w']);
    else return false;
    this.changed();
    return true;
  }

  private stageStarted(event: RunEvent): void {
    const stage = event.stage ?? 1;
    if (this.stages.some((one) => one.stage === stage)) return;
    const before = this.stages[this.stages.length - 1];
    const first = before ? before.first + before.total_steps : 0;
    this.stages = [...this.stages, { stage, first, total_steps: event.total_steps ?? 0 }];
  }

  /** Seconds since the run began, by the clock of the machine that trains. */
  private timeOf(at: number): number {
    if (this.startedAt == null) {
      // Joined later: the last known time, at the moment of the first event that came.
      let known = 0;
      for (const series of this.series.values()) known = Math.max(known, series.time[series.time.length - 1] ?? 0);
      this.startedAt = at - known * 1000;
    }
    return Math.max(0, (at - this.startedAt) / 1000);
  }

  /** Asks for what events do not carry, at most every few seconds. */
  async refreshOthers(signal?: AbortSignal): Promise<void> {
    if (this.isAsking || Date.now() - this.askedAt < PAUSE) return;
    this.isAsking = true;
    this.askedAt = Date.now();
    try {
      const answer = await get<SeriesAnswer>(this.path, { points: POINTS, after: this.slowSeq ?? undefined }, signal);
      if (answer.appended === false) this.take(answer);
      else for (const [name, more] of checked(answer)) {
        if (FROM_EVENTS.has(name)) continue;
        const series = this.series.get(name) ?? empty();
        append(series, more);
        this.series.set(name, series.x.length > MOST_POINTS ? compact(series, POINTS) : series);
      }
      if (answer.last_seq != null) this.slowSeq = answer.last_seq;
      this.changed();
    } catch {
      // The next question asks for the same.
    } finally {
      this.isAsking = false;
    }
  }
}

function checked(answer: SeriesAnswer): Map<string, Series> {
  const named = Object.entries(answer.series ?? {}).filter(([, series]) => isSeries(series) && series.x.length > 0);
  return new Map(named);
}
