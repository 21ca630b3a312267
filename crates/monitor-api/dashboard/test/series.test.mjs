import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { align, append, appendPoint, compact, empty, extent, isSeries, overEnergy, smooth, stack, valueAt } = await load('data/series.ts');

/** A series of single values. */
function of(values, step = 1) {
  const series = empty();
  values.forEach((value, index) => appendPoint(series, index * step, index, value));
  return series;
}

test('steps that come again after a checkpoint replace what was there', () => {
  const series = of([5, 4, 3, 2]);
  append(series, of([9]));
  assert.deepEqual([series.x, series.mean], [[0], [9]]);
  const later = of([5, 4, 3, 2]);
  appendPoint(later, 2, 7, 8);
  assert.deepEqual([later.x, later.mean, later.time], [[0, 1, 2], [5, 4, 8], [0, 1, 7]]);
  append(later, empty());
  assert.equal(later.x.length, 3);
});

test('merging keeps sum, count, least and greatest', () => {
  const values = Array.from({ length: 5000 }, (_, index) => Math.sin(index / 70) + (index % 13) / 50);
  const series = of(values);
  const merged = compact(series, 500);
  assert.ok(merged.x.length <= 500 && merged.x.length > 400, `${merged.x.length}`);
  const sum = (one) => one.mean.reduce((all, mean, index) => all + mean * one.count[index], 0);
  assert.ok(Math.abs(sum(merged) - sum(series)) < 1e-6);
  assert.equal(merged.count.reduce((a, b) => a + b), 5000);
  assert.deepEqual([extent(merged).min, extent(merged).max], [Math.min(...values), Math.max(...values)]);
  // Coarse buckets that were there before stay as they are.
  const mixed = compact(append2(merged, 5000, 700), 500);
  assert.ok(mixed.x.length <= 500);
  assert.equal(mixed.count.reduce((a, b) => a + b), 5700);
  assert.equal(compact(mixed, 500), mixed);
});

function append2(series, from, number) {
  for (let index = 0; index < number; index++) appendPoint(series, from + index, from + index, 1);
  return series;
}

test('series are put beside each other on the union of their positions', () => {
  const { at, columns } = align([of([1, 2, 3, 4]), of([10, 20], 2)], 'x');
  assert.deepEqual(at, [0, 1, 2, 3]);
  assert.deepEqual(columns.map((column) => column.mean), [[1, 2, 3, 4], [10, null, 20, null]]);
  const same = align([of([1, 2]), of([3, 4])], 'x');
  assert.deepEqual([same.at, same.columns[1].mean], [[0, 1], [3, 4]]);
  assert.deepEqual(align([empty()], 'x').at, []);
});

test('areas stand on each other, and a gap keeps what was there', () => {
  assert.deepEqual(stack([[1, 2, null], [10, null, 30]]), [[1, 2, 2], [11, 12, 32]]);
  assert.deepEqual(stack([]), []);
});

test('values between buckets are in proportion', () => {
  assert.deepEqual([valueAt([0, 10], [0, 100], 5), valueAt([0, 10], [0, 100], 10), valueAt([0, 10], [0, 100], 11), valueAt([], [], 0)], [50, 100, null, null]);
});

test('a curve over energy leaves out what has no energy, and never goes back', () => {
  const energy = of([0, 1, 1, 3], 10);
  assert.deepEqual(overEnergy(of([5, 4, 3, 2, 1], 10), energy), { at: [0, 1, 3], mean: [5, 4, 2] });
});

test('a running mean begins without bias', () => {
  assert.deepEqual(smooth([2, 2, null, 2], 0.9), [2, 2, null, 2]);
  assert.deepEqual(smooth([1, 2], 0), [1, 2]);
});

test('what is no series is refused', () => {
  assert.ok(isSeries(of([1])));
  assert.ok(!isSeries({ ...of([1]), mean: [] }) && !isSeries(null) && !isSeries({ x: [1] }));
});
