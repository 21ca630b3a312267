/** Asks for the token of an account. */

import { useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { token } from '../api/client.ts';
import { Notice } from '../ui/parts.tsx';

export function TokenForm({ onToken }: { onToken: (value: string) => void }): JSX.Element {
  const [value, setValue] = useState('');
  const wasRefused = token.get() != null;
  const submit = (event: Event): void => {
    event.preventDefault();
    if (value.trim()) onToken(value.trim());
  };
  return (
    <form class="card token" onSubmit={submit}>
      <h1>This server asks for a token</h1>
      <p>It was shown when your account was made with <code>greentune mcp account add NAME</code>. This tab keeps it until it is closed; it is stored nowhere else.</p>
      {wasRefused && <Notice kind="error">The server did not take the token that was given.</Notice>}
      <label class="field">
        <span>Token</span>
        <input type="password" autoComplete="off" spellcheck={false} value={value} onInput={(event) => setValue(event.currentTarget.value)} autoFocus />
      </label>
      <button type="submit" class="primary" disabled={!value.trim()}>Open</button>
    </form>
  );
}
