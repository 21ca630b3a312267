/** What came of a run: figures of the base model and the stages side by side, samples, the confusion of classes. */

import { useState } from 'preact/hooks';
import type { JSX } from 'preact';
import type { Classification, Evaluation, RunShown } from '../api/types.ts';
import { count, format, type Kind } from '../data/units.ts';
import { Choice, Section } from '../ui/parts.tsx';

export function Results({ run }: { run: RunShown }): JSX.Element | null {
  const stages = run.manifest.stages;
  const evaluations = stages.flatMap((stage) => stage.evaluations ?? []);
  const classified = [...stages].reverse().find((stage) => stage.classification)?.classification;
  if (evaluations.length === 0 && !classified) return null;
  return (
    <Section title="Results">
      {evaluations.length > 0 && <Evaluations all={evaluations} />}
      {classified && <Classes report={classified} />}
    </Section>
  );
}

const modelOf = (one: Evaluation): string => (one.model === 'base' ? 'Base model' : `Stage ${one.stage}`);

function Evaluations({ all }: { all: Evaluation[] }): JSX.Element {
  const roles = [...new Set(all.map((one) => one.dataset_role))];
  const [role, setRole] = useState(roles[roles.length - 1]!);
  // A later report of the same model on the same records replaces an earlier one.
  const own = [...new Map(all.filter((one) => one.dataset_role === role).map((one) => [modelOf(one), one])).values()];
  const metrics = [...new Set(own.flatMap((one) => one.figures?.map((figure) => figure.metric) ?? []))];
  const samples = own[0]?.samples?.length ? own : [];
  return (
    <>
      {roles.length > 1 && <Choice label="Records" value={role} options={roles.map((one) => [one, one])} onChange={setRole} />}
      <div class="card">
        <div class="scroll" tabIndex={0} role="region" aria-label={`Figures on ${role}`}>
          <table class="plain">
            <caption class="unseen">Figures on {role}</caption>
            <thead><tr><th scope="col">Figure</th>{own.map((one) => <th scope="col" class="num" key={modelOf(one)}>{modelOf(one)}</th>)}</tr></thead>
            <tbody>
              <tr><th scope="row">Loss</th>{own.map((one) => <td class="num" key={modelOf(one)}>{format('loss', one.loss)}</td>)}</tr>
              {metrics.map((metric) => (
                <tr key={metric}>
                  <th scope="row">{metricWords(metric)}</th>
                  {own.map((one) => <Cell key={modelOf(one)} of={one} metric={metric} />)}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <p class="faint">{count(own[0]?.records)} records of {role}; small figures are 95 % intervals.</p>
      </div>
      {samples.length > 0 && <Samples of={samples} />}
    </>
  );
}

function Cell({ of, metric }: { of: Evaluation; metric: string }): JSX.Element {
  const figure = of.figures?.find((one) => one.metric === metric);
  const kind: Kind = ['perplexity', 'bleu', 'chrf', 'rouge_l', 'custom'].includes(metric) ? 'plain' : 'share';
  if (!figure) return <td class="num faint">–</td>;
  const { interval } = figure;
  const factor = kind === 'share' ? 100 : 1;
  return (
    <td class="num">
      {format(kind, figure.value)}
      {interval && <small class="bounds">{format('plain', interval.low * factor)} – {format('plain', interval.high * factor)}</small>}
    </td>
  );
}

function metricWords(metric: string): string {
  const known: Record<string, string> = { bleu: 'BLEU', chrf: 'chrF', rouge_l: 'ROUGE-L', json_parsed: 'Is JSON', json_equal: 'Equal JSON' };
  const words = known[metric] ?? metric.replace(/^field\./, 'Field ').replace(/_/g, ' ');
  return words[0]!.toUpperCase() + words.slice(1);
}

const FIRST_SAMPLES = 3;

function Samples({ of }: { of: Evaluation[] }): JSX.Element {
  const [isAll, setIsAll] = useState(false);
  const all = of[0]!.samples!;
  return (
    <div class="samples">
      <h3>Samples</h3>
      {all.slice(0, isAll ? undefined : FIRST_SAMPLES).map((sample, index) => (
        <article class="card sample" key={index} aria-label={`Sample ${index + 1}`}>
          <div class="said prompt"><h4>Prompt</h4><pre>{sample.prompt.trim()}</pre></div>
          <div class="said"><h4>Expected</h4><pre>{sample.expected.trim()}</pre></div>
          {of.map((one) => {
            const text = one.samples?.[index]?.generated;
            if (text == null) return null;
            const isRight = text.trim() === sample.expected.trim();
            return <div class={`said ${isRight ? 'right' : ''}`} key={modelOf(one)}><h4>{modelOf(one)}{isRight && <span class="good"> equal</span>}</h4><pre>{text.trim()}</pre></div>;
          })}
        </article>
      ))}
      {all.length > FIRST_SAMPLES && <button type="button" class="small" onClick={() => setIsAll(!isAll)}>{isAll ? 'Show fewer' : `Show all ${all.length}`}</button>}
    </div>
  );
}

/** Classes that a confusion table is drawn for; more are too many to read. */
const MOST_CLASSES = 24;

function Classes({ report }: { report: Classification }): JSX.Element {
  const { classes, confusion } = report;
  return (
    <div class="card">
      <h3>Classes on {report.dataset_role} images</h3>
      <p><b>{format('share', report.accuracy)}</b> of {count(report.images)} images are right{report.top5_accuracy != null && <>, <b>{format('share', report.top5_accuracy)}</b> among the first five</>}; loss {format('loss', report.loss)}.</p>
      {classes.length <= MOST_CLASSES && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Confusion of classes">
          <table class="confusion">
            <caption>Rows are what an image is, columns what it was taken for.</caption>
            <thead><tr><td />{classes.map((name, index) => <th scope="col" key={index} title={name}><span>{name}</span></th>)}<th scope="col" class="num">Recall</th></tr></thead>
            <tbody>
              {classes.map((name, actual) => {
                const row = confusion[actual] ?? [];
                const all = row.reduce((sum, images) => sum + images, 0);
                return (
                  <tr key={actual}>
                    <th scope="row" title={name}>{name}</th>
                    {classes.map((_, predicted) => {
                      const images = row[predicted] ?? 0;
                      const share = all > 0 ? images / all : 0;
                      return <td key={predicted} class={actual === predicted ? 'hit' : 'miss'} style={{ '--share': share.toFixed(3) }}>{images || ''}</td>;
                    })}
                    <td class="num">{all > 0 ? format('share', (row[actual] ?? 0) / all) : '–'}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
