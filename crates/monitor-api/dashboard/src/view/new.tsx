import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';

export function NewRun(_: ViewProps): JSX.Element {
  return <p />;
}
