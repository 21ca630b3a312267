import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { escaped, svgOf } = await load('chart/svg.ts');
const { shareOf, ticksAcross, ticksOf } = await load('chart/axis.ts');
const { tick } = await load('chart/ticks.ts');

const line = (label, more = {}) => ({ label, tone: 1, ...more });

/** A chart of two lines over steps; what a test is about is in `more`. */
function chart(more = {}) {
  return svgOf({
    title: 'Loss', of: 'run-1', kind: 'loss', across: 'step', lines: [line('training'), line('validation', { tone: 2, dash: true })],
    drawn: { at: [1, 2, 3], columns: [{ mean: [3, 2, 1] }, { mean: [null, 2.5, null] }] }, x: { min: 1, max: 3 }, y: { min: 0, max: 3 }, colour: (name) => (name === '--surface' ? '#ffffff' : '#123456'), ...more,
  });
}

/** Tags that are opened and closed in order, their attributes in quotes: what a parser of XML asks for. */
function names(svg) {
  const open = [];
  const all = [];
  const rest = svg.replace(/<(\/?)([a-zA-Z]+)((?: [a-zA-Z][\w:-]*="[^"<&]*(?:&(?:amp|lt|gt|quot|#39);[^"<&]*)*")*)(\/?)>/g, (_, close, name, attributes, single) => {
    if (close) assert.equal(open.pop(), name);
    else all.push({ name, attributes });
    if (!close && !single) open.push(name);
    return '';
  });
  assert.deepEqual(open, []);
  assert.doesNotMatch(rest, /[<>]|&(?!(amp|lt|gt|quot|#39);)/);
  return all;
}

const count = (svg, name, part = '') => names(svg).filter((one) => one.name === name && one.attributes.includes(part)).length;
const pathsOf = (svg, kind) => names(svg).filter(({ name, attributes }) => name === 'path' && attributes.includes(`"${kind}"`)).map(({ attributes }) => / d="([^"]*)"/.exec(attributes)[1]);

test('a chart has its series, axes and names, and nothing that cannot be placed', () => {
  const svg = chart();
  assert.equal(count(svg, 'g', 'class="series"'), 2);
  assert.match(svg, /<title>Loss, run-1<\/title>/);
  assert.match(svg, />optimizer step</);
  assert.match(svg, />training <tspan[^>]*>1\.000</);
  assert.match(svg, /fill="#ffffff"/);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined|null/);
});

test('names are text, whatever is in them', () => {
  const svg = chart({ title: '<script>alert(1)</script>', of: 'x"><img src=x onerror=\'a\'>&amp;', lines: [line(']]><b>'), line('\u0000\ud800\u0007')] });
  assert.equal(count(svg, 'script') + count(svg, 'img') + count(svg, 'b'), 0);
  assert.match(svg, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/);
  assert.match(svg, /&amp;amp;/);
  assert.equal(escaped('a\u0000b\ud800c\uffff'), 'a\ufffdb\ufffdc\ufffd');
  assert.equal(escaped('Größe 😀'), 'Größe 😀');
});

test('a long name is cut, and a long legend goes on below', () => {
  const lines = Array.from({ length: 6 }, (_, index) => line(`${'a-run-with-a-long-name-'.repeat(3)}${index}`));
  const drawn = { at: [1], columns: lines.map(() => ({ mean: [1] })) };
  const [few, many] = [chart({ lines: lines.slice(0, 1), drawn }), chart({ lines, drawn, of: 'x'.repeat(400) })];
  const height = (svg) => Number(/ height="(\d+)"/.exec(svg)[1]);
  assert.equal(height(many) - height(few), 100);
  assert.match(many, /x…</);
  assert.doesNotMatch(many.replace(/<title>.*<\/title>/, ''), /x{200}/);
});

test('without values there are axes, and words', () => {
  const svg = chart({ drawn: { at: [], columns: [] } });
  assert.match(svg, />No values yet</);
  assert.deepEqual([count(svg, 'g', 'class="series"'), count(svg, 'path'), count(svg, 'circle')], [2, 0, 0]);
  assert.doesNotMatch(svg, /NaN/);
});

test('one value is a mark', () => {
  const svg = chart({ drawn: { at: [2], columns: [{ mean: [1] }, { mean: [null] }] } });
  assert.deepEqual([count(svg, 'path'), count(svg, 'circle')], [0, 1]);
});

test('a gap is bridged, as on the page', () => {
  const [path] = pathsOf(chart({ drawn: { at: [1, 2, 3, 4], columns: [{ mean: [1, null, null, 2] }, { mean: [] }] }, x: { min: 1, max: 4 } }), 'line');
  assert.equal(path.split('L').length, 2);
});

test('what is outside of the part that is shown is left out, but for where the line leads', () => {
  const at = Array.from({ length: 100 }, (_, index) => index);
  const drawn = { at, columns: [{ mean: at.map(() => 1) }, { mean: [] }] };
  const [path] = pathsOf(chart({ drawn, x: { min: 40.5, max: 50 } }), 'line');
  // From step 40 to 51.
  assert.equal(path.split('L').length, 12);
});

test('a band goes from least to greatest', () => {
  const drawn = { at: [1, 2], columns: [{ mean: [2, 2], min: [1, 1], max: [3, 3] }, { mean: [1, 1] }] };
  const bands = pathsOf(chart({ drawn, banded: true }), 'band');
  assert.equal(bands.length, 1);
  assert.equal(bands[0].split(/[ML]/).length - 1, 4);
  assert.equal(pathsOf(chart({ drawn }), 'band').length, 0);
});

test('stacked areas stand on the ground and on each other', () => {
  const drawn = { at: [1, 2], told: [[1, 1], [1, 1]], columns: [{ mean: [1, 1] }, { mean: [2, 2] }] };
  const svg = chart({ drawn, stacked: true });
  const [first, second] = pathsOf(svg, 'area').map((path) => path.split(/[MLZ]/).filter(Boolean));
  const heights = (points) => points.map((point) => Number(point.split(' ')[1]));
  assert.equal(new Set(heights(first).slice(0, 2)).size, 1);
  assert.deepEqual(heights(second).slice(2), heights(first).slice(0, 2));
  assert.ok(heights(second)[0] < heights(first)[0] && heights(first)[0] < heights(first)[2]);
  // The legend tells the part, not the sum.
  assert.match(svg, />validation <tspan[^>]*>1\.000</);
  const [stepped] = pathsOf(chart({ drawn, stacked: true, lines: [line('a', { steps: true }), line('b', { steps: true })] }), 'area');
  assert.match(stepped, /^M[\d.]+ [\d.]+H[\d.]+V[\d.]+/);
});

test('marks alone, and stages', () => {
  const svg = chart({ lines: [line('runs', { scatter: true }), line('b')], drawn: { at: [1, 2, 3], columns: [{ mean: [1, 2, 3] }, { mean: [] }] }, dividers: [{ at: 2, label: 'stage <2>' }, { at: 9, label: 'gone' }] });
  // Three marks, and the key.
  assert.deepEqual([count(svg, 'circle'), pathsOf(svg, 'line').length], [4, 0]);
  assert.match(svg, />stage &lt;2&gt;</);
  assert.doesNotMatch(svg, /gone/);
});

test('ticks are round and within the axis', () => {
  assert.deepEqual(ticksOf({ min: 0.03, max: 2.6 }, 6), [0.5, 1, 1.5, 2, 2.5]);
  assert.deepEqual(ticksOf({ min: 0, max: 0.0042 }, 6, 0.001), [0, 0.001, 0.002, 0.003, 0.004]);
  assert.deepEqual(ticksAcross('step', { min: 1, max: 3 }, 8), [1, 2, 3]);
  assert.deepEqual(ticksAcross('seconds', { min: 0, max: 130 }, 8), [0, 30, 60, 90, 120]);
  assert.deepEqual(ticksOf({ min: 0.05, max: 30, isLog: true }, 6), [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]);
  assert.deepEqual(ticksOf({ min: 1e-5, max: 10, isLog: true }, 6), [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10].filter((_, index) => index % 2 === 0));
  assert.deepEqual(ticksOf({ min: 1, max: 1 }, 6), [1]);
  const day = ticksAcross('date', { min: 1764000000, max: 1764000000 + 6 * 86_400 }, 7);
  assert.ok(day.length >= 6 && day.every((at) => new Date(at * 1000).getHours() === 0));
  assert.equal(shareOf({ min: 1, max: 100, isLog: true }, 10), 0.5);
  assert.deepEqual([tick(0.00015), tick(0.0001)], ['1.5e−4', '1e−4']);
});
