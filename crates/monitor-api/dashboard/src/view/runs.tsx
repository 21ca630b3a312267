/** All runs: where they stand, how their loss went, what they emitted. */

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';
import type { ViewProps } from '../app.tsx';
import { get } from '../api/client.ts';
import type { RunList, RunSummary } from '../api/types.ts';
import { Spark } from '../chart/spark.tsx';
import { count, fileName, format, massAlone } from '../data/units.ts';
import { useClock, useResource, useSettled } from '../hooks.ts';
import { replaceQuery, runLink } from '../route.ts';
import { Icon } from '../ui/icon.tsx';
import { Ago, Bar, Choice, Empty, isActive, Loading, Notice, StateChip, Trouble } from '../ui/parts.tsx';

const FILTERS: [string, string][] = [['', 'All'], ['running,queued', 'Running'], ['completed', 'Completed'], ['failed', 'Failed'], ['cancelled,interrupted', 'Stopped'], ['not_started', 'Not started']];
const PAGE = 50;
const LOSSES = 40;

export function Runs({ route, can }: ViewProps): JSX.Element {
  const status = route.query.get('status') ?? '';
  const [search, setSearch] = useState(route.query.get('search') ?? '');
  const settled = useSettled(search, 250);
  const key = `${status}|${settled}`;
  const query = { status, search: settled, limit: PAGE, losses: LOSSES };
  const first = useResource<RunList>(key, (signal) => get('api/v1/runs', query, signal), (data) => (data?.runs.some((run) => isActive(run.status)) ? 3000 : 15_000));
  const [older, setOlder] = useState<{ key: string; pages: RunList[] }>({ key, pages: [] });
  const pages = older.key === key ? older.pages : [];
  useClock(30_000);
  useEffect(() => {
    if ((route.query.get('search') ?? '') !== settled) replaceQuery(route, { search: settled });
  }, [settled]);

  const runs = useMemo(() => merged([first.data, ...pages]), [first.data, pages]);
  const losses = Object.assign({}, ...[...pages].reverse().map((page) => page.losses), first.data?.losses) as NonNullable<RunList['losses']>;
  const next = pages.length > 0 ? pages[pages.length - 1]!.next : first.data?.next;
  const more = async (): Promise<void> => {
    const page = await get<RunList>('api/v1/runs', { ...query, after: next });
    setOlder({ key, pages: [...pages, page] });
  };
  const running = runs.filter((run) => isActive(run.status)).length;
  const total = first.data ? first.data.total ?? first.data.runs.length + (first.data.more ?? 0) : undefined;
  return (
    <>
      <header class="page-head">
        <div>
          <h1>Runs</h1>
          <p class="sub" aria-live="polite">{total != null ? `${count(total)} ${total === 1 ? 'run' : 'runs'}${running ? `, ${running} running` : ''}` : '\u00a0'}</p>
        </div>
        <div class="page-tools">
          {can('start_training') && <a class="button primary" href="#/new"><Icon name="plus" />New run</a>}
        </div>
      </header>
      <div class="filters">
        <label class="search">
          <Icon name="search" />
          <span class="unseen">Search by name, id or project</span>
          <input type="search" placeholder="Search name, id or project" value={search} onInput={(event) => setSearch(event.currentTarget.value)} spellcheck={false} />
        </label>
        <Choice label="State" value={status} options={FILTERS} onChange={(value) => replaceQuery(route, { status: value })} />
      </div>
      {first.error && <Trouble error={first.error} retry={first.reload} />}
      {!first.data && first.isLoading && <Loading rows={8} />}
      {first.data && runs.length === 0 && <NoRuns isFiltered={!!(status || settled)} onClear={() => { setSearch(''); replaceQuery(route, { status: null, search: null }); }} />}
      {runs.length > 0 && <Table runs={runs} losses={losses} />}
      {first.data?.unreadable?.map((why) => <Notice key={why} kind="warn" title="A run could not be read.">{' '}{why}</Notice>)}
      {next && <More shown={runs.length} total={total} onMore={more} />}
    </>
  );
}

/** Pages after one another; a run that moved to another page is there once. */
function merged(pages: (RunList | null)[]): RunSummary[] {
  const seen = new Set<string>();
  return pages.flatMap((page) => page?.runs ?? []).filter((run) => {
    const key = `${run.project_path}\n${run.run_id}`;
    return !seen.has(key) && seen.add(key);
  });
}

function Table({ runs, losses }: { runs: RunSummary[]; losses: NonNullable<RunList['losses']> }): JSX.Element {
  return (
    <div class="table-wrap runs-wrap" tabIndex={0} role="region" aria-label="Runs, a table that can be scrolled">
      <table class="runs">
        <caption class="unseen">Runs, newest first</caption>
        <thead>
          <tr>
            <th scope="col">State</th><th scope="col">Run</th><th scope="col" class="wide">Project</th>
            <th scope="col">Progress</th><th scope="col">Loss</th><th scope="col" class="num">CO2e</th><th scope="col" class="num">Started</th>
          </tr>
        </thead>
        <tbody>{runs.map((run) => <Row key={`${run.project_path}/${run.run_id}`} run={run} loss={losses[run.run_id]} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ run, loss }: { run: RunSummary; loss: [number, number][] | undefined }): JSX.Element {
  const address = runLink(run.run_id);
  const last = loss?.[loss.length - 1]?.[1] ?? [...run.stages].reverse().find((stage) => stage.final_train_loss != null)?.final_train_loss;
  const steps = run.stages.reduce((sum, stage) => sum + stage.total_steps, 0);
  const done = run.stages.reduce((sum, stage) => sum + stage.steps_done, 0);
  const open = (event: MouseEvent): void => {
    if ((event.target as HTMLElement).closest('a') || getSelection()?.toString()) return;
    location.hash = address;
  };
  return (
    <tr onClick={open}>
      <td class="c-state"><StateChip status={run.status} /></td>
      <td class="c-name"><a href={address}>{run.run_name || run.run_id}</a><small>{run.run_id}</small></td>
      <td class="wide c-project" title={run.project_path}>{fileName(run.project_path)}<small>{run.platform}</small></td>
      <td class="c-progress">
        <Bar percent={run.progress_percentage} label={`Progress of ${run.run_name}`} tone={run.status} />
        <small>{Math.floor(run.progress_percentage)}&nbsp;%<span class="wide"> of {count(steps)} steps</span><span class="unseen">, {count(done)} done</span></small>
      </td>
      <td class="c-loss"><Spark points={loss} label="Training loss" /><small>{last != null ? format('loss', last) : ''}</small></td>
      <td class="num c-co2"><span class="narrow-label">CO2e </span>{massAlone(run.carbon_emissions_kg)}</td>
      <td class="num c-age"><Ago at={run.created_at} /></td>
    </tr>
  );
}

function NoRuns({ isFiltered, onClear }: { isFiltered: boolean; onClear: () => void }): JSX.Element {
  if (isFiltered) {
    return <Empty icon="search" title="No run fits"><p>Nothing has this state and these words in its name, id or project.</p><button type="button" onClick={onClear}>Show all runs</button></Empty>;
  }
  return (
    <Empty icon="runs" title="No runs yet">
      <p>Train a small model on this machine; it takes less than a minute:</p>
      <pre><code>greentune demo</code></pre>
      <p>Or begin a project of your own with <code>greentune new my-project</code>, then press “New run”.</p>
    </Empty>
  );
}

/** Reads the next page when it comes near, or when it is asked for. */
function More({ shown, total, onMore }: { shown: number; total: number | undefined; onMore: () => Promise<void> }): JSX.Element {
  const [isBusy, setIsBusy] = useState(false);
  const busy = useRef(false);
  const load = async (): Promise<void> => {
    if (busy.current) return;
    busy.current = true;
    setIsBusy(true);
    try {
      await onMore();
    } finally {
      busy.current = false;
      setIsBusy(false);
    }
  };
  return (
    <p class="more">
      <button type="button" disabled={isBusy} onClick={() => void load().catch(() => {})}>{isBusy ? 'Reading …' : 'Show more'}</button>
      <span class="faint">{count(shown)}{total != null && ` of ${count(total)}`}</span>
    </p>
  );
}
