// Answers about runs of the mock, in the shapes of the workbench's operations.

import { at, energyAt, series, timeOf } from './figures.mjs';

export function stagesOf(run) {
  return run.stages.map((stage) => {
    const done = Math.max(0, Math.min(stage.total, run.done - stage.first));
    const status = done >= stage.total ? 'completed' : done === 0 && run.status !== 'running' ? 'not_started' : done === 0 ? 'not_started' : run.status;
    const isDone = status === 'completed';
    return {
      stage: stage.stage, status, steps_done: done, total_steps: stage.total,
      ...(isDone ? { final_train_loss: at(run, stage.first + stage.total - 1).train_loss } : {}),
      ...(isDone && run.task === 'text' ? { token_accuracy: at(run, stage.first + stage.total - 1).accuracy } : {}),
    };
  });
}

export function emissionsOf(run) {
  return run.stages.filter((stage) => run.done > stage.first).map((stage) => {
    const last = Math.min(run.done, stage.first + stage.total) - 1;
    const energy = energyAt(run, last) - (stage.first ? energyAt(run, stage.first) : 0);
    const figures = at(run, last);
    return { stage: stage.stage, duration_seconds: timeOf(run, last) - (stage.first ? timeOf(run, stage.first) : 0), energy_kwh: energy, emissions_kg_co2: energy * run.intensity / 1000, power_w: figures.cpu_power_w + figures.gpu_power_w + figures.ram_power_w, basis: run.basis };
  });
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

export function summaryOf(run) {
  const emissions = emissionsOf(run);
  return {
    run_id: run.id, run_name: run.name, project_path: run.project, status: run.status, platform: run.platform, created_at: new Date(run.created).toISOString(),
    progress_percentage: (100 * run.done) / run.steps,
    ...(emissions.length ? { carbon_emissions_kg: sum(emissions.map((one) => one.emissions_kg_co2)) } : {}),
    stages: stagesOf(run),
  };
}

export function lossesOf(run, number) {
  if (run.done === 0) return [];
  const { x, mean } = series(run, run.done, { points: number, names: ['train_loss'] }).train_loss;
  return x.map((step, index) => [step, mean[index]]);
}

const SAMPLES = [
  ['Write a short narrative.\n\nheart rate: 71, steps: 8200, sleep: 7.4 h', 'You slept well and moved a good deal; your heart was calm.', 'Who grew tomatoes on the balcony? Lily.', 'You slept well and moved a good deal; your heart was calm.'],
  ['Write a short narrative.\n\nheart rate: 93, steps: 1100, sleep: 4.9 h', 'A short night and little movement; your heart beat faster than usual.', 'Does Lily grow to', 'A short night and little movement; your heart beat fast.'],
  ['Name the animal in the text.\n\nEdith gave the goat some water.', 'The animal is the goat.', 'Who came from Thornby?\nEdith', 'The animal is the goat.'],
  ['Rewrite the sentence in the future tense.\n\nLily eats salad.', 'Lily will eat salad.', 'The person is', 'Lily will eat salad.'],
];

function evaluation(run, model, stage) {
  const isBase = model === 'base';
  const hostile = '</pre><script>alert("sample")</script>';
  const figure = (metric, value, gap) => ({ metric, value, interval: { low: Math.max(0, value - gap), high: value + gap, method: 'bootstrap' }, records: 80 });
  return {
    model, ...(stage ? { stage } : {}), dataset_role: 'stage2 validation', dataset: `${run.project}/data/processed/narratives_validation.jsonl`, records: 80, tokens: 3041,
    loss: isBase ? 4.1153 : stage === 1 ? 1.62 : 0.0394, perplexity: isBase ? 61.27 : stage === 1 ? 5.05 : 1.04, token_accuracy: isBase ? 0.309 : stage === 1 ? 0.62 : 0.982,
    figures: [figure('perplexity', isBase ? 61.27 : stage === 1 ? 5.05 : 1.04, isBase ? 3 : 0.2), figure('token_accuracy', isBase ? 0.309 : stage === 1 ? 0.62 : 0.982, 0.012), figure('exact_match', isBase ? 0 : stage === 1 ? 0.0625 : 0.81, 0.09), figure('bleu', isBase ? 0.0087 : stage === 1 ? 0.31 : 0.92, 0.03)],
    samples: SAMPLES.map(([prompt, expected, base, trained]) => ({ prompt: run.hostile ? hostile + prompt : prompt, expected, generated: isBase ? base : stage === 1 ? 'The person is Lily.' : trained })),
  };
}

const CLASSES = ['aeroplane', 'bird', 'car', 'cat', '<b>deer</b>', 'dog', 'frog', 'horse'];

function classification() {
  const confusion = CLASSES.map((_, actual) => CLASSES.map((_, predicted) => (actual === predicted ? 118 - 6 * (actual % 4) : Math.max(0, ((actual * 7 + predicted * 3) % 9) - 4))));
  const images = sum(confusion.flat());
  return { dataset_role: 'validation', dataset: '/data/pictures', images, skipped: 0, loss: 0.214, accuracy: sum(confusion.map((row, index) => row[index])) / images, top5_accuracy: 0.997, classes: CLASSES, confusion };
}

const PLAN_BASIS = 'measured_steps';

export function planOf(run) {
  const seconds = timeOf(run, run.steps) * 1.04;
  const energy = energyAt(run, run.steps) * 1.07;
  return {
    format_version: 1, run_id: run.id, planned_at: new Date(run.created).toISOString(), greentune_version: '0.1.0', device: 'cpu (flex, 2 threads)', basis: PLAN_BASIS, base_parameters: 2165952, trainable_parameters: 116736,
    memory: { peak_bytes: 155e6, peak_range_bytes: [118e6, 196e6], estimate: { parts: [] }, available: { bytes: 24420085760, limited_by: 'the machine' }, fits: true, reductions: [] },
    time: { duration_seconds: seconds, range_seconds: [seconds * 0.75, seconds * 1.25], stages: [] },
    energy: { energy_kwh: energy, range_kwh: [energy * 0.47, energy * 2.3], power_w: 27.5, basis: 'modelled', uncertainty: 1.27, power_range_w: [13.7, 62.4] },
    carbon: { emissions_kg_co2: energy * run.intensity / 1000, range_kg_co2: [energy * run.intensity * 0.08 / 1000, energy * run.intensity * 4.3 / 1000], carbon_intensity_g_per_kwh: run.intensity, carbon_intensity_source: 'United States, 2024, Ember yearly electricity data (CC-BY-4.0); +-84 %' },
    cost: { amount: energy * 0.31, range: [energy * 0.14, energy * 0.7], price_per_kwh: 0.31, currency: 'EUR' },
    assumptions: ['the tokens of every step are counted, because draws follow from the seed', 'the time may be off by 25 %', 'power stays at its mean of 27.5 W; by its meter (modelled) it is between 13.7 and 62.4 W'],
  };
}

export function shownOf(run) {
  const stages = stagesOf(run);
  const emissions = emissionsOf(run);
  const folder = `${run.project}/runs/${run.id}`;
  const plan = planOf(run);
  const records = stages.map((stage, index) => ({
    ...stage, ...(emissions[index] ? { emissions: emissions[index], duration_seconds: emissions[index].duration_seconds * 0.93 } : {}),
    evaluations: run.samples && stage.stage === run.stages.length ? [evaluation(run, 'base'), evaluation(run, 'stage', 1), evaluation(run, 'stage', 2)] : [],
    ...(run.task === 'image' && stage.status === 'completed' ? { classification: classification() } : {}),
  }));
  const artifacts = run.done === 0 ? {} : Object.fromEntries(stages.filter((stage) => stage.steps_done).flatMap(({ stage }) => [[`stage${stage}_adapters`, `runs/${run.id}/stage${stage}/adapters`], [`stage${stage}_checkpoints`, `runs/${run.id}/stage${stage}/checkpoints`], [`stage${stage}_emissions`, `emissions/${run.id}_stage${stage}_emissions.csv`]]));
  const actual = { peak_memory_bytes: 158298112, duration_seconds: timeOf(run, run.steps), energy_kwh: sum(emissions.map((one) => one.energy_kwh)), emissions_kg_co2: sum(emissions.map((one) => one.emissions_kg_co2)) };
  const planned = { peak_memory_bytes: plan.memory.peak_bytes, duration_seconds: plan.time.duration_seconds, energy_kwh: plan.energy.energy_kwh, emissions_kg_co2: plan.carbon.emissions_kg_co2 };
  return {
    summary: summaryOf(run), run_directory: folder, log_file: `${run.project}/logs/${run.id}.log`,
    manifest: {
      format_version: 2, greentune_version: '0.1.0', run_id: run.id, run_name: run.name, created_at: new Date(run.created).toISOString(), updated_at: new Date().toISOString(), status: run.status, platform: { kind: run.platform },
      settings: { base_model: { model_id: run.task === 'image' ? '' : 'allenai/OLMo-2-0425-1B' }, lora: { rank: 8 }, vision: { model: run.task === 'image' ? 'simplecnn' : null }, ast: { enabled: !!run.ast, target_activation_rate: 0.4, policy: 'ast' } },
      data: run.task === 'image' ? { train: '/data/pictures', validation: '/data/pictures' } : { train: `${run.project}/data/processed/general_train.jsonl`, validation: `${run.project}/data/processed/general_validation.jsonl` },
      base_model_path: '', stages: records, artifacts: { ...artifacts, ...(run.status === 'completed' ? { final_model: `runs/${run.id}/final-model` } : {}) },
      exports: run.plan ? [{ at: new Date(run.created + 600_000).toISOString(), stage: 2, format: 'gguf', merged: true, quantization: 'q8_0', path: `${run.project}/exports/demo-gguf`, files: { 'model.gguf': 'ab12' } }] : [],
    },
    ...(run.plan ? { plan_accuracy: { run_id: run.id, basis: PLAN_BASIS, planned_afterwards: false, quantities: Object.keys(planned).map((quantity) => ({ quantity, planned: planned[quantity], actual: actual[quantity], ratio: actual[quantity] / planned[quantity], within_range: true })) } } : {}),
  };
}

export function progressOf(world, run) {
  const stages = stagesOf(run);
  const current = stages.find((stage) => stage.status === 'running') ?? [...stages].reverse().find((stage) => stage.steps_done > 0) ?? stages[0];
  const figures = run.done > 0 ? at(run, run.done - 1) : null;
  const emissions = emissionsOf(run);
  const left = world.remaining(run);
  return {
    run_id: run.id, status: run.status, current_stage: current.stage, current_iteration: current.steps_done, total_iterations: current.total_steps, progress_percentage: (100 * run.done) / run.steps,
    metrics: figures ? { train_loss: figures.train_loss, learning_rate: figures.learning_rate, validation_loss: figures.validation_loss, ...(run.task === 'image' ? { samples_per_second: figures.speed, accuracy: figures.accuracy } : { tokens_per_second: figures.speed, perplexity: Math.exp(figures.validation_loss), token_accuracy: figures.accuracy }) } : {},
    ...(emissions.length ? { carbon_emissions_kg: sum(emissions.map((one) => one.emissions_kg_co2)), emissions } : {}),
    ...(left != null ? { remaining_seconds: left } : {}),
    device: run.gpu ? 'cuda (NVIDIA H100)' : 'cpu (flex, 2 threads)', stages, warnings: run.warnings, ...(run.problem ? { problem: run.problem } : {}), ...(run.hint ? { hint: run.hint } : {}), last_seq: run.seq,
  };
}
