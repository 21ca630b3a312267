import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';

export function EmissionsPage(_: ViewProps): JSX.Element {
  return <p />;
}
