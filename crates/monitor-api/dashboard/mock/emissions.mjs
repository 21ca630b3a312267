// Emissions of the mock's runs: rows as CodeCarbon's, sums, summaries and comparisons.

import { at, energyAt, timeOf } from './figures.mjs';
import { emissionsOf } from './shapes.mjs';

const COLUMNS = 'run_id,stage,timestamp,project_name,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,on_cloud,pue,basis,file'.split(',');
const TREE = { kg_co2_per_unit: 6, unit: 'urban tree seedling growing for one year (mean of its first ten; estimates for grown trees reach 22 kg)', source: 'US EPA, Greenhouse Gas Equivalencies Calculator, calculations and references', year: 2024 };
const FACTORS = { tree_year: TREE, mile_driven: { ...TREE, kg_co2_per_unit: 0.393, unit: 'mile driven by an average US passenger car' }, smartphone_charge: { ...TREE, kg_co2_per_unit: 0.0124, unit: 'smartphone charged' }, offset_usd_per_tonne: [1, 300], offset_source: 'spread of voluntary-market prices, from avoided deforestation to removals; the wide range is the message' };
const sum = (values) => values.reduce((total, value) => total + value, 0);
const equivalents = (kg) => ({ miles_driven_equivalent: kg / 0.393, smartphones_charged: kg / 0.0124, gasoline_gallons: kg / 8.887, trees_to_offset_1year: kg / 6 });

function metered(world, query) {
  return [...world.runs.values()].filter((run) => run.done > 0 && (!query.project || run.project === query.project));
}

function stageRows(run) {
  return emissionsOf(run).map((one) => {
    const end = run.created + timeOf(run, run.stages[one.stage - 1].first + run.stages[one.stage - 1].total) * 1000;
    const figures = at(run, run.stages[one.stage - 1].first);
    const watts = figures.cpu_power_w + figures.gpu_power_w + figures.ram_power_w;
    const part = (power) => (one.energy_kwh * power) / watts;
    const values = {
      run_id: run.id, stage: one.stage, timestamp: new Date(end).toISOString().slice(0, 19), project_name: `health-stage${one.stage}`, duration: one.duration_seconds, emissions: one.emissions_kg_co2, emissions_rate: one.emissions_kg_co2 / one.duration_seconds,
      cpu_power: figures.cpu_power_w, gpu_power: figures.gpu_power_w, ram_power: figures.ram_power_w, cpu_energy: part(figures.cpu_power_w), gpu_energy: part(figures.gpu_power_w), ram_energy: part(figures.ram_power_w), energy_consumed: one.energy_kwh,
      country_name: run.intensity < 100 ? 'France' : 'United States', country_iso_code: run.intensity < 100 ? 'FRA' : 'USA', os: 'linux', codecarbon_version: 'greentune 0.1.0', cpu_count: 16, cpu_model: 'AMD EPYC', gpu_count: run.gpu ? 1 : 0, gpu_model: run.gpu ? 'NVIDIA H100' : '', ram_total_size: 128, tracking_mode: 'machine', on_cloud: 'N', pue: 1, basis: run.basis, file: `${run.id}_stage${one.stage}_emissions.csv`,
    };
    return COLUMNS.map((name) => values[name] ?? '');
  });
}

export function rowsOf(world, query) {
  const rows = metered(world, query).flatMap(stageRows).sort((a, b) => String(a[2]).localeCompare(String(b[2])));
  if (query.format === 'csv') return [COLUMNS, ...rows].map((row) => row.join(',')).join('\n') + '\n';
  return { columns: COLUMNS, rows, skipped: [] };
}

export function aggregateOf(world, query) {
  const runs = metered(world, query).map((run) => ({ run, all: emissionsOf(run) }));
  const total = (field) => sum(runs.flatMap(({ all }) => all.map((one) => one[field])));
  const [kg, kwh] = [total('emissions_kg_co2'), total('energy_kwh')];
  const top = runs.map(({ run, all }) => ({ run_id: run.id, file: '', stages: all.map((one) => one.stage), emissions_kg: sum(all.map((one) => one.emissions_kg_co2)), energy_kwh: sum(all.map((one) => one.energy_kwh)), duration_hours: sum(all.map((one) => one.duration_seconds)) / 3600, timestamp: '' }));
  return {
    total_emissions_kg_co2: kg, total_duration_hours: total('duration_seconds') / 3600, total_energy_kwh: kwh, energy_with_provenance: runs.length ? { energy_kwh: kwh * 0.98, range_kwh: [kwh * 0.7, kwh * 1.6], files: runs.length * 2 - 3 } : undefined, total_runs: runs.length, total_files: runs.length * 2,
    average_per_run_kg: runs.length ? kg / runs.length : 0, trees_to_offset_1year: kg / 6, equivalencies: equivalents(kg), equivalence_factors: FACTORS, top_emitting_runs: top.sort((a, b) => b.emissions_kg - a.emissions_kg).slice(0, 10),
    total_offset_cost_usd: kg * 0.3, total_offset_cost_range_usd: [kg * 0.001, kg * 0.3], by_country: [], by_machine: [], by_month: [], by_day: [], notes: [], skipped: runs.length ? [{ file: 'broken_emissions.csv', reason: 'line 3 has 12 fields instead of 38' }] : [],
  };
}

export function emissionsSummaryOf(run) {
  const all = emissionsOf(run);
  if (all.length === 0) return null;
  const [kg, kwh, hours] = [sum(all.map((one) => one.emissions_kg_co2)), sum(all.map((one) => one.energy_kwh)), sum(all.map((one) => one.duration_seconds)) / 3600];
  const component = (name, share, basis, method, low, high) => ({ component: name, basis, method, source: 'CodeCarbon 3.3 load model. Interval: against wall meters, figures are 20 to 67 % too low', energy_kwh: share, uncertainty: 1, range_kwh: [share * low, share * high], year: 2025 });
  return {
    run_id: run.id, summary: { total_emissions_kg_co2: kg, total_duration_hours: hours, emissions_per_hour_kg: kg / hours, num_stages: all.length, total_energy_kwh: kwh, energy_range_kwh: [kwh * 0.5, kwh * 2.2], emissions_range_kg: [kg * 0.2, kg * 3.6] },
    equivalencies: equivalents(kg), equivalence_factors: FACTORS,
    stages: all.map((one) => ({
      stage: one.stage, emissions_kg: one.emissions_kg_co2, energy_kwh: one.energy_kwh, duration_hours: one.duration_seconds / 3600,
      provenance: {
        components: [...(run.gpu ? [component('gpu', one.energy_kwh * 0.86, 'measured', 'NVML, total energy counter', 0.95, 1.05)] : []), component('cpu', one.energy_kwh * (run.gpu ? 0.1 : 0.3), run.basis === 'measured' ? 'measured' : 'modelled', 'load model: TDP 8 W (4 W per thread of an unknown CPU, 2 threads) x (0.1 + 0.9 x load^3)', 0.5, 3), component('ram', one.energy_kwh * (run.gpu ? 0.04 : 0.7), 'modelled', 'DIMM model: 4 DIMM(s) guessed from 25.28 GB', 0.5, 2)],
        carbon_intensity_g_per_kwh: run.intensity, carbon_intensity_source: 'United States, 2024, Ember yearly electricity data (CC-BY-4.0), by way of co2.js; life cycle; +-84 %', pue: 1, notes: [],
      },
    })),
    recommendations: run.gpu ? ['train in a region with cleaner electricity: at 56 g/kWh, as in France, the same run would emit 85 % less', 'the last 30 % of the steps no longer lowered the validation loss: stop there and save about as much'] : ['name the state in carbon.region: the figure of the whole country is uncertain by 84 %'],
    sci: { g_per_unit: 0.4147, per: { count: 0.32, unit: 'million tokens trained' }, operational_g: kg * 1000, note: 'embodied emissions (M) are left out; the figure is a lower bound' },
    carbon_offset_cost_usd: kg * 0.3, carbon_offset_cost_range_usd: [kg * 0.001, kg * 0.3], caveats: run.hostile ? ['<b>x</b> was metered for 12 s beside another run on the same machine'] : [],
  };
}

function group(world, ids, refuse) {
  const list = (Array.isArray(ids) ? ids : String(ids ?? '').split(',')).filter(Boolean);
  return list.map((id) => {
    const run = world.find(id) ?? refuse(404, 'run.unknown', `no run ${id} is known`);
    if (run.status !== 'completed') refuse(409, 'run.not_completed', `the run ${id} is ${run.status}; only completed runs can be compared`);
    return run;
  });
}

export function comparisonOf(world, body, refuse) {
  const [ast, baseline] = [group(world, body.ast_run_id, refuse), group(world, body.baseline_run_id, refuse)];
  if (new Set([...ast, ...baseline].map((run) => run.task)).size > 1) refuse(422, 'compare.not_comparable', `${ast[0].id} trains a language model, ${baseline[0]?.id} trains an image classifier: another task`, { hint: 'compare runs of one task and model' });
  const mean = (runs, read) => {
    const values = runs.map(read);
    const middle = sum(values) / values.length;
    const deviation = Math.sqrt(sum(values.map((value) => (value - middle) ** 2)) / (values.length - 1));
    return runs.length && { runs: runs.length, mean: middle, ...(values.length > 1 ? { values, standard_deviation: deviation } : {}) };
  };
  const end = (run) => at(run, run.steps - 1);
  const row = (metric, name, unit, read, basis, gap) => {
    const [left, right] = [mean(ast, read), mean(baseline, read)];
    // Bounds of a meter are a factor; those of a share end at 1.
    const ofSeeds = ast.length > 1 && baseline.length > 1;
    const half = (figure, factor) => factor * Math.sqrt(figure.standard_deviation ** 2 / figure.runs);
    const bounds = (figure) => (figure.runs > 1 ? [figure.mean - half(figure, 4.3), figure.mean + half(figure, 4.3)] : gap > 0.2 ? [figure.mean * (1 - gap), figure.mean * (1 + 2 * gap)] : [figure.mean - gap, Math.min(1, figure.mean + gap)]);
    const known = (figure) => (figure && gap ? { ...figure, interval: bounds(figure), interval_from: figure.runs > 1 ? 'seeds' : gap > 0.2 ? 'meter' : 'records' } : figure || undefined);
    const welch = left && right && 2.78 * Math.hypot(half(left, 1), half(right, 1));
    const apart = left && right && ofSeeds ? { interval: [left.mean - right.mean - welch, left.mean - right.mean + welch], interval_from: 'welch_seeds' } : left && right && gap ? { interval: [bounds(left)[0] - bounds(right)[1], bounds(left)[1] - bounds(right)[0]], interval_from: gap > 0.2 ? 'meter' : 'records' } : {};
    return { metric, name, unit, ast: known(left), baseline: known(right), ...(left && right ? { difference: left.mean - right.mean, ...apart } : {}), basis };
  };
  const energy = (run) => energyAt(run, run.steps - 1);
  const rows = [row('accuracy', 'accuracy', '1', (run) => end(run).accuracy, 'validation', 0.02), row('validation_loss', 'validation loss', 'nat', (run) => end(run).validation_loss, 'validation'), row('energy', 'energy', 'kWh', energy, 'modelled', 0.5), row('emissions', 'CO2', 'g', (run) => energy(run) * run.intensity, 'modelled', 0.6), row('time', 'time', 's', (run) => timeOf(run, run.steps), 'clock'), row('samples_trained', 'samples trained', '1', (run) => run.steps * 16, 'counted')];
  const saved = rows[2].baseline ? 1 - rows[2].ast.mean / rows[2].baseline.mean : undefined;
  return {
    ast_run_ids: ast.map((run) => run.id), baseline_run_ids: baseline.map((run) => run.id), energy_savings: saved, energy_savings_basis: 'modelled',
    quantities: { energy_savings: saved != null ? { value: saved, unit: '1', interval: [saved - 0.6, Math.min(0.95, saved + 0.3)], interval_from: 'meter', basis: 'modelled' } : undefined }, rows,
    caveats: [...(ast.length + baseline.length > 2 ? [] : [{ code: 'seeds.single', message: 'one run on each side says nothing about the effect of seeds' }]), { code: 'energy.intervals_overlap', message: 'the bounds of the energies overlap: the meters cannot tell these runs apart for certain' }], markdown: '', latex: '', csv: 'metric,ast,baseline\n',
  };
}

export function emissionsCompared(world, body, refuse) {
  const runs = (body.run_ids ?? []).map((id) => world.find(id) ?? refuse(404, 'run.unknown', `no run ${id} is known`));
  return { runs: runs.map((run, index) => {
    const kwh = energyAt(run, Math.max(0, run.done - 1));
    const first = energyAt(runs[0], Math.max(0, runs[0].done - 1));
    return { run_id: run.id, energy_kwh: kwh, energy_range_kwh: [kwh * 0.5, kwh * 2.2], emissions_kg: kwh * run.intensity / 1000, emissions_range_kg: [kwh * run.intensity * 0.2 / 1000, kwh * run.intensity * 3 / 1000], duration_hours: timeOf(run, run.done) / 3600, basis: run.basis, ...(index ? { difference: { energy_kwh: kwh - first, emissions_kg: 0, duration_hours: 0, energy_percent: (100 * (kwh - first)) / first, distinguishable: false, verdict: 'the bounds overlap: the meters alone do not tell these runs apart', caveats: [] } } : {}) };
  }) };
}

export function leaderboardOf(world, body) {
  const runs = [...world.runs.values()].filter((run) => run.status === 'completed' && (!body.project_path || run.project === body.project_path));
  const rows = runs.map((run) => {
    const kwh = energyAt(run, run.steps - 1);
    const end = at(run, run.steps - 1);
    const [task, metric] = run.task === 'image' ? ['image', 'accuracy'] : ['text', 'token_accuracy'];
    return { run_id: run.id, run_name: run.name, project_path: run.project, task, group: `${task} on ${run.task === 'image' ? '/data/pictures' : ['3b1c9f0a77', '88aa90cc01'][run.seed % 5 === 0 ? 1 : 0].padEnd(64, '0')}`, base_model: run.task === 'image' ? 'simplecnn' : 'allenai/OLMo-2-0425-1B', ...(run.ast ? { activation_rate: 0.4 } : {}), quality_metric: metric, quality: end.accuracy, validation_loss: end.validation_loss, train_loss: end.train_loss, energy_kwh: kwh, energy_basis: run.basis, emissions_kg: kwh * run.intensity / 1000, duration_seconds: timeOf(run, run.steps), is_unbeaten: false };
  });
  for (const row of rows) row.is_unbeaten = !rows.some((other) => other.group === row.group && other.quality >= row.quality && (other.energy_kwh < row.energy_kwh || (other.energy_kwh <= row.energy_kwh && other.quality > row.quality)));
  return { rows: rows.sort((a, b) => Number(b.is_unbeaten) - Number(a.is_unbeaten) || a.energy_kwh - b.energy_kwh), left_out: rows.length ? [{ run_id: 'old-run-20260101-000000', reason: 'it was not evaluated at its end' }] : [] };
}
