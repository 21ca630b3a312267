/** One button for each chart, behind which are its files. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import { Icon } from '../ui/icon.tsx';

interface SaveMenuProps {
  /** What is saved. */
  title: string;
  files: [words: string, ending: string, save: () => void][];
}

export function SaveMenu({ title, files }: SaveMenuProps): JSX.Element {
  const [isOpen, setIsOpen] = useState(false);
  const menu = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    menu.current?.querySelector<HTMLButtonElement>('.save-files button')?.focus();
    const elsewhere = (event: Event): void => {
      if (!menu.current?.contains(event.target as Node)) setIsOpen(false);
    };
    document.addEventListener('pointerdown', elsewhere);
    document.addEventListener('focusin', elsewhere);
    return () => {
      document.removeEventListener('pointerdown', elsewhere);
      document.removeEventListener('focusin', elsewhere);
    };
  }, [isOpen]);
  const close = (): void => {
    setIsOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const buttons = [...(menu.current?.querySelectorAll<HTMLButtonElement>('.save-files button') ?? [])];
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Escape' && isOpen) close();
    else if (by && isOpen) buttons[(buttons.indexOf(document.activeElement as HTMLButtonElement) + by + buttons.length) % buttons.length]?.focus();
    else return;
    event.preventDefault();
  };
  return (
    <span class="save" ref={menu} onKeyDown={onKeyDown}>
      <button type="button" class="icon" ref={button} title="Save" aria-label={`Save ${title}`} aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}><Icon name="download" /></button>
      {isOpen && (
        <span class="save-files" role="group" aria-label={`Save ${title} as`}>
          {files.map(([words, ending, save]) => (
            <button type="button" key={ending} onClick={() => { save(); close(); }}>{words}<small>{ending.toUpperCase()}</small></button>
          ))}
        </span>
      )}
    </span>
  );
}
