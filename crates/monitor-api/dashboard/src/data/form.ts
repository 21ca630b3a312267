/** What the form of a new run sends, and which field a problem belongs to. Pure functions. */

import type { Problem } from '../api/types.ts';

/** What is typed into the fields, by name. */
export type Values = Record<string, string>;

export const TEXT_DEFAULTS: Values = { project: '', name: '', train: '', validation: '', test: '', stages: '', steps1: '', rate1: '', steps2: '', rate2: '', batch: '', rank: '', seed: '' };
export const IMAGE_DEFAULTS: Values = { project: '', name: '', dataset: '', model: 'simplecnn', selection: 'ast', activation: '', policy: '', epochs: '', batch: '', rate: '', seed: '' };

/** Settings of a text run, by field. */
const SETTINGS: Record<string, string[]> = {
  stages: ['training.num_stages'],
  steps1: ['training.stage1.iterations'],
  rate1: ['training.stage1.learning_rate'],
  steps2: ['training.stage2.iterations'],
  rate2: ['training.stage2.learning_rate'],
  batch: ['training.stage1.batch_size', 'training.stage2.batch_size'],
  rank: ['lora.rank'],
  seed: ['training.seed'],
};

/** The number that was typed, or the text where it is none: the server says what is wrong with it. */
function figure(text: string): number | string {
  const value = Number(text.trim().replace(',', '.'));
  return Number.isFinite(value) ? value : text.trim();
}

const given = (text: string | undefined): string | undefined => text?.trim() || undefined;

/** The request of `configure_training_run`. */
export function textRequest(values: Values): Record<string, unknown> {
  const overrides: Record<string, unknown> = {};
  for (const [field, keys] of Object.entries(SETTINGS)) {
    const text = given(values[field]);
    if (text) for (const key of keys) overrides[key] = figure(text);
  }
  return {
    project_path: given(values['project']) ?? '',
    run_name: given(values['name']) ?? '',
    training_data: { train_dataset: given(values['train']) ?? '', validation_dataset: given(values['validation']) ?? '', ...(given(values['test']) ? { test_dataset: given(values['test']) } : {}) },
    ...(Object.keys(overrides).length > 0 ? { override_params: overrides } : {}),
  };
}

/** The request of `configure_image_run`. */
export function imageRequest(values: Values): Record<string, unknown> {
  const number = (field: string): number | string | undefined => (given(values[field]) ? figure(values[field]!) : undefined);
  const selection = values['selection'];
  const activation = number('activation');
  const ast = selection === 'ast' && {
    ...(activation != null ? { target_activation_rate: typeof activation === 'number' ? activation / 100 : activation } : {}),
    ...(given(values['policy']) ? { policy: given(values['policy']) } : {}),
  };
  return clean({
    project_path: given(values['project']), run_name: given(values['name']), dataset: given(values['dataset']) ?? '', model: given(values['model']) ?? '',
    ast_config: ast || undefined, baseline: selection === 'baseline' ? true : undefined,
    epochs: number('epochs'), batch_size: number('batch'), learning_rate: number('rate'), seed: number('seed'),
  });
}

function clean(request: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
}

/** Keys of problems, by field; the longest that fits wins. */
const KEYS: Record<string, string[]> = {
  project: ['project_path', 'project'],
  name: ['run_name', 'name'],
  train: ['training_data.train_dataset', 'train_dataset', 'data.train'],
  validation: ['training_data.validation_dataset', 'validation_dataset', 'data.validation'],
  test: ['training_data.test_dataset', 'test_dataset'],
  dataset: ['dataset'],
  model: ['model', 'vision.model'],
  selection: ['baseline', 'ast_config'],
  activation: ['ast_config.target_activation_rate', 'ast.target_activation_rate'],
  policy: ['ast_config.policy', 'ast.policy'],
  epochs: ['epochs', 'vision.epochs'],
  batch: ['batch_size', 'vision.batch_size'],
  rate: ['learning_rate', 'vision.learning_rate'],
  ...SETTINGS,
};

/** Problems by field; under the empty name those that belong to none. */
export function byField(problem: Problem, fields: string[]): Record<string, string[]> {
  const all = problem.problems?.length ? problem.problems : [problem];
  const found: Record<string, string[]> = {};
  for (const one of all) {
    const key = (one.location?.key ?? '').replace(/^override_params\./, '');
    const field = fields.find((name) => [...(KEYS[name] ?? []), ...(name === 'batch' ? ['batch_size', 'vision.batch_size'] : []), ...(name === 'seed' ? ['seed'] : [])].includes(key)) ?? '';
    const words = one.message ?? one.detail ?? one.title ?? '';
    (found[field] ??= []).push(one.hint ? `${words}; ${one.hint}` : words);
  }
  return found;
}
