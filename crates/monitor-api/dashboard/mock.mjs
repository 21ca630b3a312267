// Serves the built page and the contract of docs/http.md with made-up runs, to develop and test the page without the program.
//
//   node mock.mjs [--port 8790] [--token SECRET] [--read-only] [--empty] [--runs 1000] [--pace 8] [--plain]
//   node mock.mjs --proxy http://127.0.0.1:8787      the page as it was just built, before a real `greentune serve`
//
// --plain leaves out the names with markup. POST /mock/silence?seconds=5 closes all connections and answers nobody for a while.

import { createHash } from 'node:crypto';
import { createServer, request as ask } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { World } from './mock/world.mjs';
import { answer, Refusal } from './mock/routes.mjs';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '8790' },
    token: { type: 'string' },
    'read-only': { type: 'boolean', default: false },
    empty: { type: 'boolean', default: false },
    runs: { type: 'string', default: '1000' },
    pace: { type: 'string', default: '8' },
    plain: { type: 'boolean', default: false },
    proxy: { type: 'string' },
  },
});
const assets = join(dirname(fileURLToPath(import.meta.url)), '..', 'assets');
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const world = new World({ runs: options.empty || options.proxy ? 0 : Number(options.runs), pace: Number(options.pace), readOnly: options['read-only'], plain: options.plain });
const sockets = new Set();

function reply(request, response, status, type, body, headers = {}) {
  const tag = `"${createHash('sha1').update(body).digest('hex').slice(0, 16)}"`;
  const common = { 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache', ETag: tag, ...headers };
  if (request.method === 'GET' && status === 200 && request.headers['if-none-match'] === tag) return response.writeHead(304, common).end();
  const packed = /gzip/.test(request.headers['accept-encoding'] ?? '') && body.length > 1000;
  response.writeHead(status, { ...common, 'Content-Type': type, ...(packed ? { 'Content-Encoding': 'gzip' } : {}) });
  response.end(packed ? gzipSync(body, { level: 1 }) : body);
}

async function page(request, response, path) {
  const files = { '/': ['index.html', 'text/html; charset=utf-8'], '/dashboard.js': ['dashboard.js', 'text/javascript; charset=utf-8'], '/dashboard.css': ['dashboard.css', 'text/css; charset=utf-8'] };
  const found = files[path];
  if (!found) return false;
  reply(request, response, 200, found[1], await readFile(join(assets, found[0])));
  return true;
}

/** The report of a run, as `greentune report RUN --html` would write it. */
async function report(request, response, runId) {
  const [template, style, script] = await Promise.all(['report.html', 'dashboard.css', 'dashboard.js'].map((name) => readFile(join(assets, name), 'utf8')));
  const ask = (path) => answer(world, { method: 'GET', url: new URL(path, 'http://mock') });
  const id = encodeURIComponent(runId);
  const data = { ...ask(`/api/v1/runs/${id}`), series: ask(`/api/v1/runs/${id}/series?points=500`), summary: ask(`/emissions/${id}/summary`), written_at: '2026-11-28 21:00' };
  const filled = fill(template, { '/*style*/': style, '/*script*/': script, '<!--data-->': `<script type="application/json" id="greentune-report">${JSON.stringify(data).replace(/</g, '\\u003c')}</script>` });
  reply(request, response, 200, 'text/html; charset=utf-8', filled, { 'Content-Security-Policy': "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:" });
}

function fill(template, parts) {
  const pattern = new RegExp(Object.keys(parts).map((name) => name.replace(/[*/]/g, '\\$&')).join('|'), 'g');
  return template.replace(pattern, (name) => parts[name]);
}

/** Hands a request on to a real server. */
function passOn(request, response) {
  const { host } = new URL(options.proxy);
  const { origin: _, ...headers } = request.headers;
  const onward = ask(`${options.proxy}${request.url}`, { method: request.method, headers: { ...headers, host } }, (answered) => {
    response.writeHead(answered.statusCode, answered.headers);
    answered.pipe(response);
    // A stream that broke is to break here too.
    answered.on('close', () => answered.complete || response.destroy());
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}

async function bodyOf(request) {
  let text = '';
  for await (const piece of request) text += piece;
  return text ? JSON.parse(text) : {};
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock');
  try {
    if (url.pathname === '/mock/silence') return silence(Number(url.searchParams.get('seconds') ?? 5), response);
    if (options.proxy) return (await page(request, response, url.pathname)) || passOn(request, response);
    if (url.pathname === '/healthz') return reply(request, response, 200, 'text/plain', 'ok');
    if (await page(request, response, url.pathname)) return;
    if (url.pathname.startsWith('/report/')) return await report(request, response, decodeURIComponent(url.pathname.slice(8)));
    if (options.token && request.headers.authorization !== `Bearer ${options.token}`) throw new Refusal(401, 'http.unauthorized', 'a token is needed', { hint: 'send it as Authorization: Bearer TOKEN' });
    const events = /^\/api\/v1\/runs\/([^/]+)\/events$/.exec(url.pathname);
    if (events) return world.follow(decodeURIComponent(events[1]), request.headers['last-event-id'] ?? url.searchParams.get('after'), request, response);
    const found = await answer(world, { method: request.method, url, body: request.method === 'POST' ? await bodyOf(request) : {} });
    if (typeof found === 'string') return reply(request, response, 200, 'text/csv; charset=utf-8', found, { 'Content-Disposition': 'attachment; filename="emissions.csv"' });
    reply(request, response, 200, 'application/json', JSON.stringify(found));
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    const problem = error instanceof Refusal ? error.problem : { status: 500, title: 'Internal Server Error', detail: String(error), code: 'mock.defect', kind: 'internal' };
    reply(request, response, problem.status, 'application/problem+json', JSON.stringify(problem));
  }
});

function silence(seconds, response) {
  response.end('silent\n');
  setTimeout(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
    setTimeout(() => server.listen(Number(options.port), '127.0.0.1'), seconds * 1000);
  }, 50);
}

server.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});
server.listen(Number(options.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${options.port}`));
