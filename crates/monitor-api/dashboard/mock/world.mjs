// The runs of the mock: what there is, and the one that trains while the page is open.

import { at, chance, energyAt, series, timeOf } from './figures.mjs';

const PROJECT = '/home/ada/projects/health-narratives';
const PICTURES = '/home/ada/projects/pictures-training';
const NOW = Date.now();
const HOUR = 3600_000;

function stamp(time) {
  return new Date(time).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
}

export class World {
  constructor({ runs, pace, readOnly, plain }) {
    this.plain = plain;
    this.readOnly = readOnly;
    this.pace = pace;
    this.runs = new Map();
    this.followers = new Map();
    this.logs = new Map();
    if (runs > 0) this.fill(runs);
  }

  add(fields) {
    const { name, created = NOW - HOUR, steps = [110, 360], status = 'completed', ...rest } = fields;
    const id = fields.id ?? `${name}-${stamp(created)}`;
    const total = steps.reduce((sum, one) => sum + one, 0);
    let first = 0;
    const stages = steps.map((one, index) => ({ stage: index + 1, first: (first += one) - one, total: one }));
    const run = {
      id, name, created, status, project: PROJECT, platform: 'local', task: 'text', seed: this.runs.size, steps: total, stages, done: status === 'not_started' ? 0 : total,
      start: 2.6, floor: 0.32, peak: 0.005, speed: 7200, pace: 0.11, gpu: false, ast: false, intensity: 383.55, basis: 'modelled', warnings: [], events: [], ...rest,
    };
    this.runs.set(id, run);
    return run;
  }

  fill(number) {
    this.live = this.add({ name: 'narratives-r16', created: NOW - 14_000, status: 'running', steps: [220, 1800], done: 90, pace: 1 / this.pace, gpu: true, basis: 'mixed' });
    this.add({ name: 'demo', created: NOW - 2 * HOUR, plan: true, samples: true });
    this.add({ name: 'simplecnn-ast-seed42', project: PICTURES, created: NOW - 5 * HOUR, task: 'image', ast: true, steps: [280, 960], start: 2.1, floor: 0.09, speed: 480, pace: 0.05 });
    this.add({ name: 'simplecnn-baseline-seed42', project: PICTURES, created: NOW - 6 * HOUR, task: 'image', steps: [280, 2240], start: 2.1, floor: 0.08, speed: 510, pace: 0.05 });
    for (const [index, seed] of [43, 44].entries()) {
      this.add({ name: `simplecnn-ast-seed${seed}`, project: PICTURES, created: NOW - (8 + index) * HOUR, task: 'image', ast: true, steps: [280, 960], start: 2.2 - 0.2 * index, floor: [0.095, 0.084][index], speed: 480, pace: [0.051, 0.049][index], seed });
      this.add({ name: `simplecnn-baseline-seed${seed}`, project: PICTURES, created: NOW - (10 + index) * HOUR, task: 'image', steps: [280, 2240], start: 2.2 - 0.2 * index, floor: [0.091, 0.083][index], speed: 510, pace: [0.049, 0.052][index], seed });
    }
    this.add({ name: 'olmo-1b-long', created: NOW - 60 * HOUR, steps: [1_000_000], gpu: true, basis: 'measured', pace: 0.12, intensity: 56, start: 3.4, floor: 1.4 });
    if (!this.plain) this.add({ name: '<img src=x onerror=alert(1)>', id: 'x"><script>alert(1)<_script>', project: '/tmp/<b>bold</b>', created: NOW - 7 * HOUR, hostile: true, samples: true, warnings: ['the file <script>alert("w")</script>.jsonl has 3 lines that are no JSON'] });
    this.add({ name: 'narratives-too-large', created: NOW - 26 * HOUR, status: 'failed', done: 4, problem: { kind: 'unavailable', code: 'memory.exhausted', message: 'the machine ran out of memory in step 4', hint: 'set training.stage1.batch_size = 2, or base_model.quantization = "q4"', retryable: false } });
    this.add({ name: 'narratives-r8', created: NOW - 30 * HOUR, status: 'interrupted', done: 260, hint: 'the machine was switched off; `greentune resume` goes on from the checkpoint at step 150 of stage 2' });
    this.add({ name: 'narratives-r4', created: NOW - 50 * HOUR, status: 'cancelled', done: 200 });
    this.add({ name: 'next-idea', created: NOW - 51 * HOUR, status: 'not_started' });
    const words = ['narratives', 'triage', 'summaries', 'letters', 'codes'];
    for (let index = this.runs.size; index < number; index++) {
      const rank = [4, 8, 16, 32][index % 4];
      const word = words[Math.floor(chance(3, index) * words.length)];
      this.add({ name: `${word}-r${rank}-s${index % 7}`, created: NOW - (52 + index * 3.1) * HOUR, floor: 0.2 + 0.5 * chance(1, index), start: 2 + chance(2, index), gpu: index % 3 === 0, pace: 0.05 + 0.2 * chance(8, index), intensity: [383.55, 56, 210, 23][index % 4], basis: ['modelled', 'measured', 'mixed'][index % 3], platform: index % 11 === 0 ? 'huggingface' : 'local' });
    }
    for (let step = 0; step < this.live.done; step++) this.eventsOf(this.live, step);
    for (const run of this.runs.values()) run.seq = run === this.live ? run.events.length - 1 : run.done + 5;
    setInterval(() => this.tick(), 1000 / this.pace).unref?.();
  }

  find(id) {
    return this.runs.get(id) ?? null;
  }

  /** One step of every run that is trained. */
  tick() {
    for (const run of this.runs.values()) {
      if (run.status !== 'running') continue;
      this.eventsOf(run, run.done);
      run.done += 1;
      if (run.done >= run.steps) this.end(run, 'completed', { kind: 'finished', duration_seconds: timeOf(run, run.done) });
    }
  }

  say(run, event) {
    const seq = run.events.length;
    const told = { seq, at: event.at ?? new Date().toISOString(), ...event };
    run.events.push(told);
    run.seq = seq;
    for (const response of this.followers.get(run.id) ?? []) response.write(`id: ${seq}\nevent: ${told.kind}\ndata: ${JSON.stringify(told)}\n\n`);
  }

  eventsOf(run, index) {
    const figures = at(run, index);
    const stage = [...run.stages].reverse().find((one) => index >= one.first);
    const when = new Date(run.created + timeOf(run, index) * 1000).toISOString();
    const step = index - stage.first + 1;
    if (index === 0) this.say(run, { kind: 'started', pid: 4711, device: 'cuda (NVIDIA H100)', resumed: false, at: when });
    if (step === 1) this.say(run, { kind: 'stage_started', stage: stage.stage, total_steps: stage.total, from_step: 0, train_records: 600, trainable_parameters: 116736, at: when });
    this.say(run, { kind: 'step', stage: stage.stage, step, total_steps: stage.total, train_loss: figures.train_loss, learning_rate: figures.learning_rate, gradient_norm: figures.gradient_norm, tokens: 700, tokens_per_second: figures.speed, at: when });
    if (step % 5 === 0) {
      const before = stage.stage > 1 ? energyAt(run, stage.first) : 0;
      const energy = energyAt(run, index) - before;
      run.metered = { ...run.metered, [stage.stage]: { stage: stage.stage, duration_seconds: timeOf(run, index) - timeOf(run, stage.first), energy_kwh: energy, emissions_kg_co2: energy * run.intensity / 1000, power_w: figures.cpu_power_w + figures.gpu_power_w + figures.ram_power_w, basis: run.basis } };
      this.say(run, { kind: 'emissions', ...run.metered[stage.stage], at: when });
    }
    if (step % 60 === 0) this.say(run, { kind: 'evaluated', stage: stage.stage, step, validation_loss: figures.validation_loss, perplexity: Math.exp(figures.validation_loss), token_accuracy: figures.accuracy, at: when });
    const log = this.logs.get(run.id) ?? [];
    log.push(`${when} stage ${stage.stage}: step ${step}/${stage.total}, loss ${figures.train_loss.toFixed(3)}, ${Math.round(figures.speed)} tokens/s`);
    this.logs.set(run.id, log.slice(-400));
  }

  end(run, status, event) {
    run.status = status;
    this.say(run, event);
    for (const response of this.followers.get(run.id) ?? []) response.end('event: end\ndata: {}\n\n');
    this.followers.delete(run.id);
  }

  remaining(run) {
    return run.status === 'running' ? (run.steps - run.done) * run.pace : undefined;
  }

  follow(id, after, request, response) {
    const run = this.find(id);
    if (!run) return response.writeHead(404).end();
    const last = after == null || after === '' ? -1 : Number(after);
    if (run.status !== 'running' && (last >= run.seq || run.events.length === 0)) return response.writeHead(204).end();
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write(`event: status\ndata: ${JSON.stringify({ status: run.status, remaining_seconds: this.remaining(run) })}\n\n`);
    for (const event of run.events.slice(last + 1)) response.write(`id: ${event.seq}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
    if (run.status !== 'running') return response.end('event: end\ndata: {}\n\n');
    const all = this.followers.get(id) ?? new Set();
    this.followers.set(id, all.add(response));
    const calm = setInterval(() => response.write(': still here\n\n'), 15_000);
    request.on('close', () => {
      clearInterval(calm);
      all.delete(response);
    });
    return undefined;
  }

  seriesOf(run, query) {
    const after = query.after == null ? null : Number(query.after);
    let from = query.from == null ? 0 : Number(query.from);
    if (after != null) {
      const event = run.events.slice(0, after + 1).reverse().find((one) => one.kind === 'step');
      from = (event ? run.stages[event.stage - 1].first + event.step : run.done) + 1;
    }
    return {
      run_id: run.id, status: run.status, last_seq: run.seq, appended: after != null,
      stages: run.stages.map(({ stage, first, total }) => ({ stage, first, total_steps: total })),
      series: series(run, run.done, { points: Math.min(2000, Number(query.points ?? 500)), from, to: query.to == null ? Infinity : Number(query.to), names: query.names?.split(',') }),
    };
  }
}
