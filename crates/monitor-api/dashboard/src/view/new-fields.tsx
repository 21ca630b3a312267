/** The fields of a new run. */

import { useId } from 'preact/hooks';
import type { ComponentChildren, JSX } from 'preact';
import type { Values } from '../data/form.ts';
import { sentence } from '../ui/parts.tsx';

export interface FieldsProps {
  values: Values;
  /** What is wrong, by field. */
  wrong: Record<string, string[]>;
  onChange(field: string, value: string): void;
  projects: string[];
}

interface FieldProps extends FieldsProps {
  name: string;
  label: string;
  hint?: string;
  placeholder?: string;
  list?: string[];
  numeric?: boolean;
  required?: boolean;
}

function Field({ name, label, hint, placeholder, list, numeric, required, values, wrong, onChange }: FieldProps): JSX.Element {
  const id = useId();
  const problems = wrong[name] ?? [];
  return (
    <div class="field">
      <label for={id}>{label}{!required && !numeric && <span class="faint"> optional</span>}</label>
      <input
        id={id} value={values[name] ?? ''} placeholder={placeholder ?? ''} spellcheck={false} autoComplete="off" inputMode={numeric ? 'decimal' : 'text'} list={list?.length ? `${id}-list` : undefined}
        aria-invalid={problems.length > 0 ? 'true' : undefined} aria-describedby={`${id}-hint`} required={!!required} onInput={(event) => onChange(name, event.currentTarget.value)}
      />
      {list && list.length > 0 && <datalist id={`${id}-list`}>{list.map((one) => <option key={one} value={one} />)}</datalist>}
      <span id={`${id}-hint`}>
        {problems.map((text) => <span class="wrong" role="alert" key={text}>{sentence(text)}</span>)}
        {hint && problems.length === 0 && <small>{hint}</small>}
      </span>
    </div>
  );
}

function Row({ children, wide }: { children: ComponentChildren; wide?: boolean }): JSX.Element {
  return <div class={wide ? 'field-row paths' : 'field-row'}>{children}</div>;
}

export function TextFields(props: FieldsProps): JSX.Element {
  return (
    <>
      <Field {...props} name="project" label="Project" required placeholder="/path/to/project" list={props.projects} hint="A folder that greentune new made." />
      <Field {...props} name="name" label="Name of the run" required placeholder="first" hint="Letters, digits, dots, dashes and underscores." />
      <h3>Data</h3>
      <Field {...props} name="train" label="Training records" required placeholder="data/processed/train.jsonl" hint="JSONL, CSV or Parquet; from the project’s folder, or absolute." />
      <Row wide>
        <Field {...props} name="validation" label="Validation records" required placeholder="data/processed/validation.jsonl" />
        <Field {...props} name="test" label="Test records" placeholder="data/processed/test.jsonl" />
      </Row>
      <h3>Settings</h3>
      <p class="faint">What is left empty stays as the project has it.</p>
      <Row>
        <Field {...props} name="steps1" label="Steps of stage 1" numeric placeholder="100" />
        <Field {...props} name="rate1" label="Learning rate of stage 1" numeric placeholder="0.0005" />
      </Row>
      <Row>
        <Field {...props} name="steps2" label="Steps of stage 2" numeric placeholder="150" />
        <Field {...props} name="rate2" label="Learning rate of stage 2" numeric placeholder="0.0003" />
      </Row>
      <Row>
        <Field {...props} name="rank" label="LoRA rank" numeric placeholder="8" />
        <Field {...props} name="batch" label="Records per step" numeric placeholder="4" />
        <Field {...props} name="stages" label="Stages" numeric placeholder="2" hint="1 or 2" />
        <Field {...props} name="seed" label="Seed" numeric placeholder="42" />
      </Row>
    </>
  );
}

const MODELS = ['simplecnn', 'resnet18', 'resnet34', 'resnet50', 'resnet101', 'efficientnet_b0', 'efficientnet_b1', 'efficientnet_b2', 'efficientnet_b3', 'vit_tiny', 'vit_small'];
const POLICIES = ['ast', 'infobatch', 'quantile', 'random'];
const SELECTIONS: [string, string, string][] = [
  ['ast', 'On the samples that matter', 'Adaptive sparse training: the samples are selected while it trains.'],
  ['baseline', 'On all samples, as a baseline', 'The twin of a sparse run, to compare with.'],
  ['project', 'As the project has it', ''],
];

export function ImageFields(props: FieldsProps): JSX.Element {
  const { values, onChange, wrong } = props;
  const group = useId();
  const isSparse = values['selection'] === 'ast';
  return (
    <>
      <Field {...props} name="dataset" label="Data set" required placeholder="/path/to/pictures" hint="A folder with a folder per class, CIFAR, IDX or Parquet; absolute, or from the server’s folder." />
      <Row>
        <Field {...props} name="model" label="Model" required list={MODELS} placeholder="simplecnn" />
        <Field {...props} name="name" label="Name of the run" placeholder="made of model, policy and seed" />
      </Row>
      <fieldset class="radios">
        <legend>Train</legend>
        {SELECTIONS.map(([value, words, means]) => (
          <label key={value}>
            <input type="radio" name={group} checked={values['selection'] === value} onChange={() => onChange('selection', value)} />
            <span>{words}{means && <small>{means}</small>}</span>
          </label>
        ))}
        {wrong['selection']?.map((text) => <span class="wrong" role="alert" key={text}>{sentence(text)}</span>)}
      </fieldset>
      {isSparse && (
        <Row>
          <Field {...props} name="activation" label="Share to train on, in %" numeric placeholder="40" />
          <Field {...props} name="policy" label="Policy" placeholder="ast" list={POLICIES} />
        </Row>
      )}
      <p class="faint">What is left empty is chosen to suit model and data set.</p>
      <Row>
        <Field {...props} name="epochs" label="Epochs" numeric placeholder="10" />
        <Field {...props} name="batch" label="Images per step" numeric placeholder="64" />
        <Field {...props} name="rate" label="Learning rate" numeric placeholder="0.05" />
        <Field {...props} name="seed" label="Seed" numeric placeholder="42" />
      </Row>
      <Field {...props} name="project" label="Project" list={props.projects} placeholder="one is made for the data set" />
    </>
  );
}
