/** Runs ranked by what their result took in energy. */

import { useMemo } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { get } from '../api/client.ts';
import type { RunAnswer, RunList, RunSummary } from '../api/types.ts';
import { Chart, type Source } from '../chart/chart.tsx';
import { board, type Ranked, type Rule, type Standing } from '../data/board.ts';
import { count, energy, format, mass, number } from '../data/units.ts';
import { basisOf } from './run-head.tsx';
import { useResource } from '../hooks.ts';
import { replaceQuery, runLink } from '../route.ts';
import { Basis, Choice, Empty, Loading, Notice, Section, Trouble } from '../ui/parts.tsx';
import { ProjectChoice, useProjects } from '../ui/project.tsx';

/** Runs that are ranked at most, and of those the ones that are asked for one by one where the list does not tell. */
const RUNS = 500;
const ASKED = 40;

const RULES: Record<Rule, { words: string; means: string }> = {
  accuracy: { words: 'Energy per accuracy', means: 'Energy divided by accuracy in per cent: what one point of accuracy took. Less is better.' },
  loss: { words: 'Energy × loss', means: 'Energy times validation loss: it is small where little energy came to a small loss. Less is better.' },
};

export function Leaderboard({ route, server }: ViewProps): JSX.Element {
  const projects = useProjects(server, route);
  const project = projects.chosen;
  const rule: Rule = route.query.get('by') === 'loss' ? 'loss' : 'accuracy';
  const task = route.query.get('task') ?? '';
  const standings = useResource<Standing[]>(projects.isKnown ? `board ${project}` : null, (signal) => read(project, signal));
  const all = standings.data ?? [];
  const tasks = [...new Set(all.map((one) => one.task).filter((one): one is string => !!one))];
  const ranked = useMemo(() => board(all.filter((one) => !task || one.task === task), rule), [standings.data, task, rule]);
  return (
    <>
      <header class="page-head">
        <div><h1>Leaderboard</h1><p class="sub">Completed runs by what their result took. {RULES[rule].means}</p></div>
        <div class="page-tools"><ProjectChoice projects={projects} route={route} /></div>
      </header>
      <div class="board-tools">
        <Choice<Rule> label="Ranked by" value={rule} options={[['accuracy', RULES.accuracy.words], ['loss', RULES.loss.words]]} onChange={(by) => replaceQuery(route, { by })} />
        {tasks.length > 1 && <Choice label="Task" value={task} options={[['', 'All tasks'], ...tasks.map((one): [string, string] => [one, one === 'image' ? 'Images' : 'Text'])]} onChange={(value) => replaceQuery(route, { task: value })} />}
      </div>
      {standings.error && <Trouble error={standings.error} retry={standings.reload} />}
      {!standings.data && standings.isLoading && <Loading rows={8} />}
      {standings.data && ranked.length === 0 && (
        <Empty icon="leader" title="Nothing to rank yet">
          <p>A run is ranked when it is completed, was metered and was evaluated. <code>greentune demo</code> makes one in less than a minute.</p>
        </Empty>
      )}
      {ranked.length > 0 && (
        <>
          <Notice>Results on different data, and of text and images, cannot be ranked against each other. Runs on the front are those that no other run beats in both energy and result.</Notice>
          <Front ranked={ranked} rule={rule} />
          <Section title="Ranking"><Table ranked={ranked} rule={rule} /></Section>
        </>
      )}
    </>
  );
}

/** The completed runs with energy and result, from the list where it tells and from each run where it does not. */
async function read(project: string | null, signal: AbortSignal): Promise<Standing[]> {
  const { runs } = await get<RunList>('api/v1/runs', { project, status: 'completed', limit: RUNS }, signal);
  const told = runs.filter((run) => run.energy_kwh != null);
  const untold = runs.filter((run) => run.energy_kwh == null && run.carbon_emissions_kg != null).slice(0, ASKED);
  const asked: Standing[] = [];
  for (let from = 0; from < untold.length; from += 4) {
    const part = untold.slice(from, from + 4);
    const answers = await Promise.allSettled(part.map((run) => get<RunAnswer>(`api/v1/runs/${encodeURIComponent(run.run_id)}`, { project }, signal)));
    asked.push(...answers.flatMap((answer, index) => (answer.status === 'fulfilled' ? [ofAnswer(part[index]!, answer.value)] : [])));
  }
  return [...told.map(ofSummary), ...asked];
}

function ofSummary(run: RunSummary): Standing {
  return {
    runId: run.run_id, name: run.run_name, energyKwh: run.energy_kwh, emissionsKg: run.carbon_emissions_kg, basis: run.energy_basis, task: run.task,
    accuracy: run.accuracy ?? [...run.stages].reverse().find((stage) => stage.token_accuracy != null)?.token_accuracy, loss: run.validation_loss,
  };
}

function ofAnswer(run: RunSummary, { progress, run: shown }: RunAnswer): Standing {
  const emissions = progress.emissions ?? [];
  const { metrics } = progress;
  return {
    ...ofSummary(run),
    energyKwh: emissions.length > 0 ? emissions.reduce((sum, one) => sum + one.energy_kwh, 0) : undefined,
    basis: basisOf(emissions.map((one) => one.basis)) ?? undefined,
    accuracy: metrics.accuracy ?? metrics.token_accuracy ?? undefined,
    loss: metrics.validation_loss ?? undefined,
    task: shown.manifest.settings?.['vision']?.['model'] ? 'image' : 'text',
  };
}

function Front({ ranked, rule }: { ranked: Ranked[]; rule: Rule }): JSX.Element {
  const sorted = useMemo(() => [...ranked].sort((a, b) => a.energyKwh - b.energyKwh), [ranked]);
  const source = useMemo<Source>(() => {
    const at: number[] = [];
    const columns: { mean: (number | null)[] }[] = [{ mean: [] }, { mean: [] }];
    for (const one of sorted) {
      // Two runs of the same energy still need a place each.
      const last = at[at.length - 1];
      at.push(last != null && one.energyKwh <= last ? last * (1 + 1e-9) : one.energyKwh);
      columns[0]!.mean.push(one.isFront ? null : one.result);
      columns[1]!.mean.push(one.isFront ? one.result : null);
    }
    return { read: () => ({ at, columns }) };
  }, [sorted]);
  return (
    <Chart
      title={rule === 'accuracy' ? 'Accuracy by energy' : 'Validation loss by energy'} kind={rule === 'accuracy' ? 'share' : 'loss'} across="energy" source={source} file="leaderboard" height={260} logAcross
      lines={[{ label: 'runs', tone: 1, scatter: true }, { label: 'on the front', tone: 2, marks: true, dash: true }]} note={(row) => sorted[row]?.name ?? null}
    />
  );
}

const SHOWN = 100;

function Table({ ranked, rule }: { ranked: Ranked[]; rule: Rule }): JSX.Element {
  return (
    <>
      <div class="table-wrap plain-wrap" tabIndex={0} role="region" aria-label="Ranking, a table that can be scrolled">
        <table class="plain board">
          <caption class="unseen">Runs, those that took least first</caption>
          <thead><tr><th scope="col">Place</th><th scope="col">Run</th><th scope="col" class="num">{rule === 'accuracy' ? 'Accuracy' : 'Validation loss'}</th><th scope="col" class="num">Energy</th><th scope="col" class="num">Emissions</th><th scope="col" class="num">{RULES[rule].words}</th><th scope="col">Energy is</th></tr></thead>
          <tbody>
            {ranked.slice(0, SHOWN).map((one, index) => (
              <tr key={one.runId} class={one.isFront ? 'front' : ''}>
                <td class="place">{index + 1}</td>
                <td class="c-name"><a href={runLink(one.runId)}>{one.name}</a><small>{one.runId}{one.isFront && ' · on the front'}</small></td>
                <td class="num">{format(rule === 'accuracy' ? 'share' : 'loss', one.result)}</td>
                <td class="num">{energy(one.energyKwh)}</td>
                <td class="num">{mass(one.emissionsKg)}</td>
                <td class="num">{rule === 'accuracy' ? `${energy(one.score)} per point` : `${number(one.score * 1000)} Wh·nat`}</td>
                <td>{one.basis ? <Basis basis={one.basis} /> : <span class="faint">not known</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {ranked.length > SHOWN && <p class="faint tip">The first {SHOWN} of {count(ranked.length)}.</p>}
    </>
  );
}
