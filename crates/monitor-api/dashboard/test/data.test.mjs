import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { byComponent, byRun, cumulative, intensityOf, overTime, read } = await load('data/rows.ts');
const { groups, isOrder, ranked } = await load('data/board.ts');
const { byField, imageRequest, textRequest } = await load('data/form.ts');
const { cell, csv } = await load('chart/cells.ts');

const TABLE = {
  columns: ['run_id', 'stage', 'timestamp', 'emissions', 'energy_consumed', 'cpu_power', 'cpu_energy', 'gpu_power', 'gpu_energy', 'ram_energy', 'basis'],
  rows: [
    ['b', 1, '2026-11-02T00:00:00', '0.4', '1', '30', '0.5', '0', '0', '0.5', 'measured'],
    ['a', 1, '2026-11-01T00:00:00', 0.2, 0.5, 20, 0.25, '', null, 0.25, 'modelled'],
    ['a', 2, '2026-11-02T00:00:00', 0.1, 0, 40, 0, 'x', 0, 0, 'measured'],
    ['c', 1, 'no time', 1, 1, 1, 1, 1, 1, 1, ''],
  ],
};

test('rows are added up by run and by component', () => {
  const rows = read(TABLE);
  assert.deepEqual(byRun(rows).map((run) => [run.runId, Number(run.emissionsKg.toFixed(3)), run.bases.size]), [['c', 1, 1], ['b', 0.4, 1], ['a', 0.3, 2]]);
  assert.deepEqual(byComponent(rows), { cpu: 1.75, gpu: 1, ram: 1.75 });
});

test('over time rows without a time are left out, and rows of one time share it', () => {
  const rows = read(TABLE);
  const { at, columns } = cumulative(rows, ['a']);
  assert.equal(at.length, 2);
  assert.deepEqual(columns.map((column) => column.map((value) => Number(value.toFixed(3)))), [[0.2, 0.3], [0, 0.4]]);
  assert.deepEqual(overTime(rows, [(row) => row.power.cpu]).columns, [[20, 35]]);
  assert.deepEqual(rows.filter((row) => row.at).map(intensityOf), [400, 400, null]);
  assert.deepEqual(read({ columns: [], rows: [] }), []);
});

test('the leaderboard is ranked in groups', () => {
  const row = (run_id, quality, energy_kwh, group = 'text') => ({ run_id, quality, energy_kwh, group });
  const rows = [row('a', 0.9, 9), row('b', 0.5, 1), row('c', 0.9, 8), row('d', 0, 1), row('e', 0.9, 1, 'image')];
  const order = (by) => ranked(rows.filter((one) => one.group === 'text'), by).map((one) => one.run_id).join('');
  assert.deepEqual([order('score'), order('energy'), order('quality')], ['bca', 'bca', 'cab']);
  assert.deepEqual(groups(rows), [['text', 4], ['image', 1]]);
});

test('the leaderboard is sorted by any column, and what lacks a figure stands last', () => {
  const row = (run_id, fields) => ({ run_id, project_path: '/p', run_name: run_id, quality: 0.5, energy_kwh: 1, emissions_kg: 1, duration_seconds: 1, energy_basis: 'measured', group: 'text', validation_loss: 0.2, ...fields });
  const rows = [row('a', { validation_loss: 0.3, train_loss: 0.3, emissions_kg: 3, duration_seconds: 1 }), row('b', { emissions_kg: 2, duration_seconds: 2, energy_basis: 'modelled' }), row('c', { validation_loss: 0.1, train_loss: 0.1, emissions_kg: 1, duration_seconds: 3, energy_kwh: 2 })];
  const order = (by, isTurned) => ranked(rows, by, isTurned).map((one) => one.run_id).join('');
  assert.deepEqual([order('validation_loss'), order('validation_loss', true)], ['cba', 'abc']);
  assert.deepEqual([order('train_loss'), order('train_loss', true)], ['cab', 'acb']);
  assert.deepEqual([order('emissions'), order('time', true), order('name', true), order('basis')], ['cba', 'cba', 'cba', 'acb']);
  assert.deepEqual([order('quality'), order('quality', true)], ['abc', 'abc']);
  const places = (by, isTurned) => ranked(rows, by, isTurned).map((one) => one.place);
  assert.deepEqual([places('validation_loss', true), places('train_loss'), places('train_loss', true), places('name', true)], [[3, 2, 1], [1, 2, null], [2, 1, null], [3, 2, 1]]);
  assert.deepEqual([isOrder('toString'), isOrder('time')], [false, true]);
});

test('the form sends what was typed, and settings by key', () => {
  const request = textRequest({ project: '/p', name: ' first ', train: 'a.jsonl', validation: 'b.jsonl', test: '', steps1: '20', rate1: '5e-4', rank: 'many', batch: '4', stages: '', steps2: '', rate2: '', seed: '' });
  assert.deepEqual(request, {
    project_path: '/p', run_name: 'first', training_data: { train_dataset: 'a.jsonl', validation_dataset: 'b.jsonl' },
    override_params: { 'training.stage1.iterations': 20, 'training.stage1.learning_rate': 0.0005, 'training.stage1.batch_size': 4, 'training.stage2.batch_size': 4, 'lora.rank': 'many' },
  });
  assert.deepEqual(imageRequest({ dataset: '/d', model: 'simplecnn', selection: 'ast', activation: '40', epochs: '3' }), { dataset: '/d', model: 'simplecnn', ast_config: { target_activation_rate: 0.4 }, epochs: 3 });
  assert.deepEqual(imageRequest({ dataset: '/d', model: 'm', selection: 'baseline' }), { dataset: '/d', model: 'm', baseline: true });
});

test('problems find their field', () => {
  const problem = { problems: [
    { message: 'bad name', location: { key: 'run_name' } }, { message: 'no file', location: { key: 'training_data.train_dataset' } },
    { message: 'rate', location: { key: 'override_params.training.stage1.learning_rate' } }, { message: 'else', location: { key: 'carbon.pue' } },
  ] };
  const fields = ['project', 'name', 'train', 'validation', 'rate1', 'batch', 'seed'];
  assert.deepEqual(byField(problem, fields), { name: ['bad name'], train: ['no file'], rate1: ['rate'], '': ['else'] });
  assert.deepEqual(byField({ detail: 'only one', location: { key: 'training.seed' } }, fields), { seed: ['only one'] });
});

test('cells of CSV are quoted, and what would be a formula is not one', () => {
  assert.deepEqual(['a', 'a,b', 'say "x"', '=1+1', '-5', '@x', null, 1.5].map(cell), ['a', '"a,b"', '"say ""x"""', "'=1+1", '-5', "'@x", '', '1.5']);
  assert.equal(csv([['a', 1], ['b\nc', null]]), 'a,1\n"b\nc",\n');
});
