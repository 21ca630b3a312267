/** A question before something that cannot be taken back. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { ComponentChildren, JSX } from 'preact';
import { Trouble } from './parts.tsx';

export interface Question {
  title: string;
  body: ComponentChildren;
  /** What the button says that does it. */
  action: string;
  isDanger?: boolean;
  perform(): Promise<void>;
}

export function Ask({ question, onClose }: { question: Question; onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const go = async (): Promise<void> => {
    setIsBusy(true);
    setError(null);
    try {
      await question.perform();
      onClose();
    } catch (failure) {
      setError(failure as Error);
      setIsBusy(false);
    }
  };
  return (
    <dialog ref={dialog} class="ask" aria-labelledby="ask-title" onClose={onClose}>
      <h2 id="ask-title">{question.title}</h2>
      <div class="ask-body">{question.body}</div>
      {error && <Trouble error={error} />}
      <div class="ask-buttons">
        <button type="button" onClick={() => dialog.current?.close()}>Back</button>
        <button type="button" class={question.isDanger ? 'danger' : 'primary'} disabled={isBusy} onClick={() => void go()}>{isBusy ? 'Working …' : question.action}</button>
      </div>
    </dialog>
  );
}
