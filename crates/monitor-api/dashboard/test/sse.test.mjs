import assert from 'node:assert/strict';
import test from 'node:test';
import { load } from './load.mjs';

const { SseParser } = await load('api/sse.ts');

const STREAM = '\ufeffevent: status\ndata: {"status":"running"}\n\n: still here\n\nid: 17\r\nevent: step\r\ndata: {"a":1,\r\ndata: "b":2}\r\n\r\nid: 18\rdata:x\r\rretry: 5\n\nevent: end\ndata\n\nid: 19\ndata: half';
const EVENTS = [
  { id: '', event: 'status', data: '{"status":"running"}' },
  { id: '17', event: 'step', data: '{"a":1,\n"b":2}' },
  { id: '18', event: 'message', data: 'x' },
  { id: '18', event: 'end', data: '' },
];

test('a stream in one piece', () => assert.deepEqual(new SseParser().push(STREAM), EVENTS));

test('a stream in pieces of every size is the same', () => {
  for (let size = 1; size <= 40; size++) {
    const parser = new SseParser();
    const found = [];
    for (let from = 0; from < STREAM.length; from += size) found.push(...parser.push(STREAM.slice(from, from + size)));
    assert.deepEqual(found, EVENTS, `pieces of ${size}`);
  }
});

test('an event that is not ended is kept back, and one without data is none', () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push('data: a\n'), []);
  assert.deepEqual(parser.push('\n'), [{ id: '', event: 'message', data: 'a' }]);
  assert.deepEqual(parser.push('event: nothing\n\n'), []);
  assert.deepEqual(parser.push('data: b\n\n'), [{ id: '', event: 'message', data: 'b' }]);
});
