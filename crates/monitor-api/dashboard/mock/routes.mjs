// The answers of the mock's API.

import { aggregateOf, comparisonOf, emissionsCompared, emissionsSummaryOf, leaderboardOf, rowsOf } from './emissions.mjs';
import { lossesOf, planOf, progressOf, shownOf, summaryOf } from './shapes.mjs';

export class Refusal extends Error {
  constructor(status, code, detail, more = {}) {
    super(detail);
    const kinds = { 400: 'invalid_input', 401: 'credentials', 403: 'credentials', 404: 'not_found', 409: 'conflict', 422: 'invalid_input', 501: 'unsupported' };
    this.problem = { status, title: 'Problem', detail, code, kind: kinds[status] ?? 'internal', retryable: false, ...more };
  }
}

const OPERATIONS = ['list_runs', 'show_run', 'show_log', 'monitor_training_progress', 'get_emissions_summary', 'get_aggregate_emissions', 'compare_runs', 'compare_emissions', 'energy_leaderboard', 'cancel_training', 'resume_training', 'start_training', 'configure_training_run', 'configure_image_run', 'plan_training'];
const READS = new Set(['list_runs', 'show_run', 'show_log', 'monitor_training_progress', 'get_emissions_summary', 'get_aggregate_emissions', 'compare_runs', 'compare_emissions', 'energy_leaderboard']);

/** The answer to a request: an object, or text that is CSV. */
export function answer(world, { method, url, body = {} }) {
  const query = Object.fromEntries(url.searchParams);
  const path = url.pathname;
  const run = (id) => world.find(decodeURIComponent(id)) ?? refuse(404, 'run.unknown', `no run ${decodeURIComponent(id)} is known`, { hint: 'list runs with `greentune runs list`' });
  let found;
  if (path === '/api/v1/server') return { version: '0.1.0', project_path: '/home/ada/projects/health-narratives', read_only: world.readOnly, account: null, operations: world.readOnly ? [...READS] : OPERATIONS, projects: [...new Set([...world.runs.values()].map((one) => one.project))] };
  if (path === '/api/v1/runs') return listOf(world, query);
  if ((found = /^\/api\/v1\/runs\/([^/]+)$/.exec(path))) return { run: shownOf(run(found[1])), progress: progressOf(world, run(found[1])), ...(run(found[1]).plan ? { plan: planOf(run(found[1])) } : {}) };
  if ((found = /^\/api\/v1\/runs\/([^/]+)\/series$/.exec(path))) return world.seriesOf(run(found[1]), query);
  if ((found = /^\/api\/v1\/runs\/([^/]+)\/log$/.exec(path))) return { lines: (world.logs.get(run(found[1]).id) ?? ['stage 1: 110 steps, 400 records, 116,736 trained parameters', 'stage 1: done in 8.6 s', '<script>alert("log")</script>', 'run finished']).slice(-Number(query.lines ?? 200)) };
  if (path === '/api/v1/emissions/rows') return rowsOf(world, query);
  if (path === '/emissions/aggregate') return aggregateOf(world, query);
  if ((found = /^\/emissions\/([^/]+)\/summary$/.exec(path))) return emissionsSummaryOf(run(found[1])) ?? refuse(404, 'emissions.none', 'nothing of this run was metered yet');
  if ((found = /^\/api\/v1\/([a-z_]+)$/.exec(path)) && OPERATIONS.includes(found[1])) return perform(world, found[1], method === 'POST' ? body : query);
  return refuse(404, 'http.unknown', `there is nothing at ${path}`);
}

function refuse(status, code, detail, more) {
  throw new Refusal(status, code, detail, more);
}

function listOf(world, query) {
  const statuses = query.status ? query.status.split(',') : null;
  const words = (query.search ?? '').toLowerCase();
  const fits = (run) => (!statuses || statuses.includes(run.status)) && (!words || `${run.id} ${run.name} ${run.project}`.toLowerCase().includes(words)) && (!query.project || run.project === query.project);
  const all = [...world.runs.values()].filter(fits).sort((a, b) => b.created - a.created);
  const from = query.after ? all.findIndex((run) => run.id === query.after) + 1 : 0;
  const limit = Number(query.limit ?? 50);
  const part = all.slice(from, from + limit);
  return {
    runs: part.map(summaryOf), total: all.length, more: Math.max(0, all.length - from - limit), next: from + limit < all.length ? part[part.length - 1].id : null, unreadable: [],
    ...(query.losses ? { losses: Object.fromEntries(part.map((run) => [run.id, lossesOf(run, Number(query.losses))])) } : {}),
  };
}

function perform(world, operation, body) {
  if (world.readOnly && !READS.has(operation)) refuse(403, 'http.read_only', 'this server only reads');
  const run = () => world.find(body.run_id) ?? refuse(404, 'run.unknown', `no run ${body.run_id} is known`);
  switch (operation) {
    case 'cancel_training': {
      const one = run();
      if (one.status === 'completed') refuse(409, 'run.completed', `the run ${one.id} is completed`);
      world.end(one, 'cancelled', { kind: 'cancelled', stage: 1, step: one.done });
      return { success: true, run_id: one.id, status: 'cancelled', message: `the run ${one.id} stopped with a checkpoint` };
    }
    case 'resume_training':
    case 'start_training': {
      const one = run();
      if (one.status === 'running') refuse(409, 'run.already_running', `the run ${one.id} is already being trained`);
      one.status = 'running';
      one.pace = 1 / world.pace;
      if (one.done >= one.steps) one.done = 0;
      return { success: true, run_id: one.id, job_id: one.id, status: 'running', training_started: true, resumed: operation === 'resume_training' };
    }
    case 'configure_training_run': return configureText(world, body);
    case 'configure_image_run': return configureImages(world, body);
    case 'plan_training': {
      const one = run();
      if (one.task === 'image') refuse(501, 'plan.images', 'planning is not there for image classifiers yet: a plan would say the same', { hint: 'train it with `greentune train`, and see its pace and energy with `greentune monitor`' });
      return { success: true, run_id: one.id, plan: planOf(one), plan_file: `${one.project}/runs/${one.id}/plan.json` };
    }
    case 'compare_runs': return comparisonOf(world, body, refuse);
    case 'energy_leaderboard': return leaderboardOf(world, body);
    case 'compare_emissions': return emissionsCompared(world, body, refuse);
    default: return refuse(501, 'mock.unsupported', `the mock cannot ${operation}`);
  }
}

function configureText(world, body) {
  const problems = [];
  const wrong = (key, message) => problems.push({ kind: 'invalid_input', code: 'request.value', message, location: { key }, retryable: false });
  if (!/^[A-Za-z0-9_][\w.-]{0,63}$/.test(body.run_name ?? '')) wrong('run_name', `the run name ${JSON.stringify(body.run_name)} cannot name a folder; allowed: 1 to 64 of A-Z a-z 0-9 . _ -`);
  for (const key of ['train_dataset', 'validation_dataset']) if (!String(body.training_data?.[key] ?? '').endsWith('.jsonl')) wrong(`training_data.${key}`, `no file at ${body.training_data?.[key]}`);
  const rate = body.override_params?.['training.stage1.learning_rate'];
  if (rate > 1) wrong('training.stage1.learning_rate', `training.stage1.learning_rate: found ${rate}, allowed: above 0, at most 1`);
  if (problems.length > 0) refuse(422, 'request.invalid', `${problems.length} things are wrong with the request`, { problems });
  const steps = [body.override_params?.['training.stage1.iterations'] ?? 100, body.override_params?.['training.stage2.iterations'] ?? 150];
  const run = world.add({ name: body.run_name, created: Date.now(), status: 'not_started', steps, project: body.project_path });
  return {
    success: true, run_id: run.id, run_directory: `${run.project}/runs/${run.id}`, manifest_path: '',
    configuration_summary: { base_model: '/models/base', architecture: 'olmo2', device: 'auto', frozen_weights: 'f32', adapters: `LoRA of rank ${body.override_params?.['lora.rank'] ?? 8}`, lora_rank: 8, target_modules: ['q_proj', 'v_proj'], stages: steps.map((one, index) => ({ stage: index + 1, iterations: one, learning_rate: 0.0005, records_per_step: 4 })), sources: {}, warnings: ['stage 1 trains at a learning rate of 0.0005, which hardly moves adapters in 100 steps: about 0.005 suits them'] },
  };
}

function configureImages(world, body) {
  if (!body.dataset) refuse(422, 'data.missing', 'no data set is named', { location: { key: 'dataset' } });
  const run = world.add({ name: body.run_name ?? `${body.model}-seed42`, created: Date.now(), status: 'not_started', task: 'image', ast: !!body.ast_config, steps: [60, 140], project: body.project_path ?? '/home/ada/.local/share/greentune/projects/pictures-training' });
  return { run_id: run.id, project_path: run.project, run_directory: '', repeated: false, idempotency_key: 'k', dataset: { form: 'image folder', classes: [{ name: 'cat' }, { name: 'dog' }] }, warnings: [], chosen: [{ key: 'vision.learning_rate', value: 0.013, to_suit: 'simplecnn at 16 images a step' }, { key: 'vision.batch_size', value: 16, to_suit: '216 images' }] };
}
