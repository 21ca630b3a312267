import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { ago, count, differenceOf, duration, energy, format, mass, massAlone, money, number, range, short, signed, signedRange, fileName } = await load('data/units.ts');
const plain = (text) => text.replace(/[\u00a0\u202f]/g, ' ');

test('numbers have three significant digits', () => {
  assert.deepEqual([0, 1, 12.345, 0.012345, 999.6, 123456, -2.5].map((value) => plain(number(value))), ['0', '1.00', '12.3', '0.0123', '1000', '123 456', '−2.50']);
  assert.equal(number(0.0000123), '1.23e−5');
  assert.deepEqual([null, undefined, NaN, Infinity].map((value) => number(value)), ['–', '–', '–', '–']);
  assert.equal(plain(count(1_000_000)), '1 000 000');
});

test('energy, mass and power take the unit that suits them', () => {
  assert.deepEqual([0, 4.6e-6, 0.00034, 0.9996, 1.5, 2500].map((kwh) => plain(energy(kwh))), ['0 Wh', '4.60 mWh', '340 mWh', '1.00 kWh', '1.50 kWh', '2.50 MWh']);
  assert.deepEqual([1.3e-6, 0.0013, 5, 1200].map((kg) => plain(mass(kg))), ['1.30 mg CO2e', '1.30 g CO2e', '5.00 kg CO2e', '1.20 t CO2e']);
  assert.equal(plain(massAlone(0.0013)), '1.30 g');
  assert.equal(plain(format('power', 25.9)), '25.9 W');
  assert.equal(plain(format('bytes', 155705344)), '156 MB');
  assert.equal(plain(format('share', 0.8336)), '83.4 %');
});

test('a range has one unit, that of its higher end', () => {
  assert.equal(plain(range('energy', [0.00017, 0.00077])), '170 – 770 mWh');
  assert.equal(plain(range('energy', [0.0005, 0.002])), '0.500 – 2.00 Wh');
  assert.equal(range('mass', undefined), '–');
  assert.equal(range('usd', [1e-7, 4e-5]), 'under $0.01');
  assert.equal(range('usd', [0.2, 3]), '$0.20 – $3.00');
});

test('differences have a sign', () => {
  assert.deepEqual([plain(signed('energy', -0.001)), plain(signed('share', 0.05)), plain(signed('loss', 0))], ['−1.00 Wh', '+5.00 %', '0']);
});

test('bounds of a difference are in one unit', () => {
  assert.equal(plain(signedRange('energy', [-0.00182, -0.0000121])), '−1.82 to −0.0121 Wh');
  assert.equal(plain(signedRange('share', [-0.1, 0.2])), '−10.0 to +20.0 points');
  assert.deepEqual([plain(differenceOf('share', -0.00694)), plain(differenceOf('energy', 0.001))], ['−0.694 points', '+1.00 Wh']);
});

test('durations are told in two units', () => {
  assert.deepEqual([0, 0.62, 36.5, 60, 725, 3600, 11520, 183600, 59.96].map((seconds) => plain(duration(seconds))), ['0 s', '620 ms', '36.5 s', '1 min', '12 min 5 s', '1 h', '3 h 12 min', '2 d 3 h', '1 min']);
  assert.equal(plain(duration(-5)), '−5.00 s');
});

test('ages', () => {
  const now = Date.parse('2026-11-28T12:00:00Z');
  assert.deepEqual(['2026-11-28T11:59:40Z', '2026-11-28T11:30:00Z', '2026-11-28T02:00:00Z', '2026-11-20T12:00:00Z', '2026-01-01T00:00:00Z', 'nonsense'].map((at) => plain(ago(at, now))), ['just now', '30 min ago', '10 h ago', '8 d ago', '2026-01-01', '–']);
});

test('money, steps and paths', () => {
  assert.deepEqual([money(0), money(0.001), money(12.3), plain(money(2, 'EUR'))], ['$0.00', 'under $0.01', '$12.30', '2.00 EUR']);
  assert.deepEqual([0, 950, 12_000, 1_500_000].map(short), ['0', '950', '12k', '1.5M']);
  assert.deepEqual([fileName('/a/b/c'), fileName('C:\\a\\b'), fileName('x')], ['c', 'b', 'x']);
});
