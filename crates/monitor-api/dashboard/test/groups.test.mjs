import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { groupCurve, groupedFigures, pairsOf, positionsOf, spreadOf, worthOf } = await load('data/groups.ts');

test('a group has mean, least, greatest, and a deviation when there are two', () => {
  const { mean, min, max, deviation } = spreadOf([2, 4, 9]);
  assert.deepEqual([mean, min, max], [5, 2, 9]);
  assert.ok(Math.abs(deviation - Math.sqrt(13)) < 1e-12);
  assert.deepEqual([spreadOf([3]).deviation, spreadOf([3]).min, spreadOf([])], [null, 3, null]);
});

test('pairs have every run, and a shorter group repeats its last', () => {
  assert.deepEqual(pairsOf(['a', 'b', 'c'], ['x']), [['a', 'x'], ['b', 'x'], ['c', 'x']]);
  assert.deepEqual(pairsOf(['a'], ['x', 'y']), [['a', 'x'], ['a', 'y']]);
  assert.deepEqual(pairsOf(['a', 'b'], []), [['a', undefined], ['b', undefined]]);
});

const row = (ast, baseline, runs = [1, 1], metric = 'energy') => ({ metric, name: metric, unit: 'kWh', ...(ast == null ? {} : { ast: { runs: runs[0], mean: ast } }), ...(baseline == null ? {} : { baseline: { runs: runs[1], mean: baseline } }), basis: 'measured' });
const comparison = (rows, a, b) => ({ ast_run_ids: a, baseline_run_ids: b, rows, caveats: [] });

test('figures of runs come from pairs, and only where they give the mean of the group', () => {
  const pairs = [comparison([row(1, 5), row(10, 50, [1, 1], 'time')]), comparison([row(2, 5), row(20, 50, [1, 1], 'time')]), comparison([row(3, 5), row(30, 50, [1, 1], 'time')])];
  const whole = comparison([row(2, 5, [3, 1]), row(25, 50, [3, 1], 'time'), row(1, null, [3, 0], 'cost')], ['a', 'b', 'c'], ['x']);
  const found = groupedFigures(whole, pairs);
  assert.deepEqual(found.get('energy').a.values, [1, 2, 3]);
  assert.deepEqual(found.get('energy').b.values, [5]);
  assert.equal(found.get('time').a, null);
  assert.deepEqual(found.get('cost'), { a: null, b: null });
  // A figure that one run of the group lacks.
  const lacking = groupedFigures(comparison([row(1.5, 5, [2, 1])], ['a', 'b', 'c'], ['x']), [pairs[0], pairs[1], comparison([row(null, 5)])]);
  assert.deepEqual(lacking.get('energy').a.values, [1, 2]);
});

test('what a difference is worth is said plainly', () => {
  const words = (a, b, interval) => worthOf(spreadOf(a), spreadOf(b), interval).words;
  const isClear = (a, b, interval) => worthOf(spreadOf(a), spreadOf(b), interval).isClear;
  assert.match(words([1, 3], [2, 4], [-3, 1]), /^The ranges overlap: the seeds/);
  assert.match(words([1, 3], [3, 4]), /overlap/);
  assert.match(words([1, 3], [2, 4], [-3, -1]), /overlap, though/);
  assert.equal(words([1, 2], [3, 4], [-3, -1]), 'Every run of A is below every run of B.');
  assert.match(words([3, 4], [1, 2], [-1, 5]), /above every run of B, but .* too few/);
  assert.match(words([1], [0, 2]), /one run of A lies within the range of B/);
  assert.match(words([1, 2], [5]), /one run of B lies outside of the range of A/);
  assert.match(words([1], [2]), /nothing about seeds/);
  assert.match(words([2, 2], [2, 2]), /same/);
  assert.deepEqual([isClear([1, 2], [3, 4], [-3, -1]), isClear([1, 2], [3, 4], [-3, 1]), isClear([1, 3], [2, 4]), isClear([1, 2], [5], [-4, -3])], [true, false, false, false]);
});

const series = (x, mean) => ({ x, time: x.map((one) => one / 10), mean, min: mean, max: mean, count: x.map(() => 1) });

test('a curve of a group is the mean and the range of its runs, as far as all of them reach', () => {
  const runs = [series([0, 10, 20], [4, 2, 0]), series([0, 5, 10], [8, 7, 6])];
  const at = positionsOf(runs, 'x');
  assert.deepEqual(at, [0, 5, 10, 20]);
  assert.deepEqual(groupCurve(runs, 'x', at), { mean: [6, 5, 4, null], min: [4, 3, 2, null], max: [8, 7, 6, null] });
  assert.deepEqual(groupCurve(runs, 'time', [0.5]).mean, [5]);
  assert.deepEqual(groupCurve([], 'x', []), { mean: [], min: [], max: [] });
});

test('many positions are thinned out, and the last stays', () => {
  const x = Array.from({ length: 5001 }, (_, index) => index);
  const at = positionsOf([series(x, x)], 'x');
  assert.ok(at.length <= 1001);
  assert.deepEqual([at[0], at[at.length - 1]], [0, 5000]);
});
