import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { groupCurve, positionsOf, runsOf, spreadOf, worthOf } = await load('data/groups.ts');
const { groupsAsCsv } = await load('data/compared.ts');

test('a group has mean, least and greatest', () => {
  assert.deepEqual(spreadOf([2, 4, 9]), { values: [2, 4, 9], mean: 5, min: 2, max: 9 });
  assert.equal(spreadOf([]), null);
});

test('a side says the values of its runs, and of one run the mean is the value', () => {
  assert.deepEqual(runsOf({ runs: 3, mean: 2, values: [3, 1, 2] }), { values: [3, 1, 2], mean: 2, min: 1, max: 3 });
  assert.deepEqual(runsOf({ runs: 1, mean: 5 }), { values: [5], mean: 5, min: 5, max: 5 });
  assert.equal(runsOf(undefined), null);
});

test('the file of groups has a line per figure, and nothing where a side lacks it', () => {
  const rows = [
    { metric: 'energy', name: 'energy', unit: 'kWh', ast: { runs: 2, mean: 2, values: [1, 3], standard_deviation: 1.5 }, baseline: { runs: 1, mean: 5 }, difference: -3, interval: [-4, -2], interval_from: 'meter', basis: 'measured' },
    { metric: 'cost', name: 'cost', unit: 'EUR', ast: { runs: 2, mean: 1, values: [1, 1], standard_deviation: 0 }, basis: 'measured' },
  ];
  const [head, ...lines] = groupsAsCsv({ ast_run_ids: ['a', 'b'], baseline_run_ids: ['x'], rows, caveats: [] }).trim().split('\n');
  assert.match(head, /^figure,unit,A runs,A mean,A least,A greatest,A standard deviation,B runs/);
  assert.deepEqual(lines, ['energy,kWh,2,2,1,3,1.5,1,5,5,5,,-3,-4,-2,meter,measured', 'cost,EUR,2,1,1,1,0,,,,,,,,,,measured']);
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
