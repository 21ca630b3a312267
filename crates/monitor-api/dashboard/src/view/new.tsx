/** A new run: its settings, then its plan, then the start. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { ApiError, perform } from '../api/client.ts';
import type { Plan } from '../api/types.ts';
import { byField, IMAGE_DEFAULTS, imageRequest, TEXT_DEFAULTS, textRequest, type Values } from '../data/form.ts';
import { runLink } from '../route.ts';
import { Choice, Empty, Notice, sentence, Trouble } from '../ui/parts.tsx';
import { useProjects } from '../ui/project.tsx';
import { ImageFields, TextFields } from './new-fields.tsx';
import { Planned, type Configured } from './new-plan.tsx';

type Kind = 'text' | 'images';

/** How far the form is. */
type Stage = 'filling' | 'configuring' | 'planning' | 'planned' | 'starting';

export function NewRun({ route, server, can }: ViewProps): JSX.Element {
  const [kind, setKind] = useState<Kind>(route.query.get('kind') === 'images' ? 'images' : 'text');
  const [values, setValues] = useState<Record<Kind, Values>>({ text: { ...TEXT_DEFAULTS }, images: { ...IMAGE_DEFAULTS } });
  const [stage, setStage] = useState<Stage>('filling');
  const [wrong, setWrong] = useState<Record<string, string[]>>({});
  const [trouble, setTrouble] = useState<Error | null>(null);
  const [configured, setConfigured] = useState<Configured | null>(null);
  const projects = useProjects(server, route);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    const project = projects.chosen;
    if (project && !values.text['project']) setValues((old) => ({ ...old, text: { ...old.text, project } }));
  }, [projects.chosen]);

  if (server && !can('start_training')) {
    return <Empty icon="lock" title="Nothing can be started here"><p>This server only reads. On the machine itself: <code>greentune runs new</code>, then <code>greentune train</code>.</p></Empty>;
  }
  const own = values[kind];
  const change = (field: string, value: string): void => {
    setValues({ ...values, [kind]: { ...own, [field]: value } });
    if (wrong[field]) setWrong({ ...wrong, [field]: [] });
    // What was planned is not what the form says any more.
    if (configured) setConfigured(null);
    if (stage === 'planned') setStage('filling');
  };
  const refuse = (error: Error): void => {
    setStage('filling');
    const fields = error instanceof ApiError && [400, 404, 422].includes(error.status) ? byField(error.problem, Object.keys(own)) : null;
    const named = fields && Object.keys(fields).filter((field) => field !== '');
    if (!fields || !named || named.length === 0) return setTrouble(error);
    setWrong(fields);
    focusWrong();
  };
  const focusWrong = (): void => void requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setTrouble(null);
    setConfigured(null);
    const missing = (kind === 'text' ? ['project', 'name', 'train', 'validation'] : ['dataset', 'model']).filter((field) => !own[field]?.trim());
    setWrong(Object.fromEntries(missing.map((field) => [field, ['This is needed.']])));
    if (missing.length > 0) return focusWrong();
    setStage('configuring');
    let made: Configured;
    try {
      made = { kind, answer: await perform(kind === 'text' ? 'configure_training_run' : 'configure_image_run', kind === 'text' ? textRequest(own) : imageRequest(own)) };
    } catch (error) {
      return refuse(error as Error);
    }
    made.project = made.answer.project_path ?? (own['project'] || undefined);
    setConfigured(made);
    setStage('planning');
    try {
      const { plan } = await perform<{ plan: Plan }>('plan_training', clean({ run_id: made.answer.run_id, project_path: made.project }));
      setConfigured({ ...made, plan });
    } catch (error) {
      // A run can be started without a plan.
      setConfigured({ ...made, unplanned: error as Error });
    }
    setStage('planned');
  };
  const start = async (): Promise<void> => {
    if (!configured) return;
    setStage('starting');
    setTrouble(null);
    try {
      await perform('start_training', clean({ run_id: configured.answer.run_id, project_path: configured.project }));
      location.hash = runLink(configured.answer.run_id);
    } catch (error) {
      setTrouble(error as Error);
      setStage('planned');
    }
  };
  const isBusy = stage === 'configuring' || stage === 'planning' || stage === 'starting';
  const Fields = kind === 'text' ? TextFields : ImageFields;
  return (
    <>
      <header class="page-head"><div><h1>New run</h1><p class="sub">Settings first, then a plan of what it will take. Nothing is trained before you press Start.</p></div></header>
      <div class="new">
        <form ref={form} class="card new-form" noValidate onSubmit={(event) => void submit(event)}>
          <Choice<Kind> label="What is trained" value={kind} options={[['text', 'Language model'], ['images', 'Image classifier']]} onChange={(next) => { setKind(next); setConfigured(null); setStage('filling'); setWrong({}); setTrouble(null); }} />
          {wrong['']?.map((text) => <Notice key={text} kind="error">{sentence(text)}</Notice>)}
          <fieldset disabled={isBusy}><Fields values={own} wrong={wrong} onChange={change} projects={projects.all} /></fieldset>
          <div class="new-buttons"><button type="submit" class={configured ? '' : 'primary'} disabled={isBusy}>{stage === 'configuring' ? 'Checking …' : stage === 'planning' ? 'Planning …' : configured ? 'Plan again' : 'Check and plan'}</button></div>
        </form>
        <div class="new-plan" aria-live="polite">
          {trouble && <Trouble error={trouble} />}
          <Planned stage={stage} configured={configured} onStart={() => void start()} />
        </div>
      </div>
    </>
  );
}

function clean(request: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value != null && value !== ''));
}

export type { Kind, Stage };
