// Loads a TypeScript module of the page for tests.

import { build } from 'esbuild';

/** The exports of `src/{path}`. */
export async function load(path) {
  const result = await build({
    entryPoints: [new URL(`../src/${path}`, import.meta.url).pathname], bundle: true, write: false, format: 'esm', platform: 'neutral', logLevel: 'error',
  });
  return import(`data:text/javascript;base64,${Buffer.from(result.outputFiles[0].text).toString('base64')}`);
}
