// Builds the page into ../assets: one script, one style sheet, and the two documents that use them.

import { readFile, writeFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const assets = join(here, '..', 'assets');

/** The licences of what is bundled, as comments that stay in the bundle. */
async function licences() {
  const texts = [];
  for (const name of ['preact', 'uplot']) {
    const folder = join(here, 'node_modules', name);
    const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    const licence = (await readFile(join(folder, 'LICENSE'), 'utf8')).trim();
    texts.push(`${name} ${version}\n\n${licence}`);
  }
  return `/*! This file contains the following packages.\n\n${texts.join('\n\n')}\n*/`;
}

async function bundle(entry, options) {
  const result = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    charset: 'ascii',
    target: ['chrome100', 'firefox100', 'safari15.4'],
    legalComments: 'none',
    logLevel: 'warning',
    ...options,
  });
  return result.outputFiles[0].text;
}

const script = await bundle('src/main.tsx', {
  format: 'iife',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  footer: { js: await licences() },
});
const style = await bundle('src/style/index.css', {});
const pages = {
  'index.html': await readFile(join(here, 'src/index.html'), 'utf8'),
  'report.html': await readFile(join(here, 'src/report.html'), 'utf8'),
};

// A report has script and style in itself; nothing in them may end or open an element early, or be a placeholder.
for (const forbidden of ['</script', '<script', '</style', '<!--', '/*style*/', '/*script*/']) {
  if (script.toLowerCase().includes(forbidden) || style.toLowerCase().includes(forbidden)) {
    throw new Error(`the bundle holds ${forbidden}`);
  }
}

await mkdir(assets, { recursive: true });
let whole = 0;
for (const [name, text] of Object.entries({ ...pages, 'dashboard.js': script, 'dashboard.css': style })) {
  await writeFile(join(assets, name), text);
  const packed = gzipSync(text, { level: 9 }).length;
  whole += name === 'report.html' ? 0 : packed;
  console.log(`${name.padEnd(14)} ${String(text.length).padStart(8)} bytes ${String(packed).padStart(7)} gzip`);
}
console.log(`the page: ${whole} bytes gzip`);
if (whole > 300_000) throw new Error('the page is larger than 300 kB');
