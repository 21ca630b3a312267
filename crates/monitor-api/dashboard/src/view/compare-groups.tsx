/** The figures of two groups of runs: mean, spread and number of runs of either, and what the difference is worth. */

import type { JSX } from 'preact';
import { perform } from '../api/client.ts';
import type { ComparedFigure, Comparison, ComparisonRow } from '../api/types.ts';
import { kindOf, sourceWords } from '../data/compared.ts';
import { groupedFigures, pairsOf, worthOf, type GroupedFigure, type Spread } from '../data/groups.ts';
import { count, format, range, signed, signedRange } from '../data/units.ts';
import { useResource, type Resource } from '../hooks.ts';
import { Basis } from '../ui/parts.tsx';

/** Whether a side is a group of runs. */
export const isGrouped = ({ ast_run_ids: a, baseline_run_ids: b }: Comparison): boolean => a.length > 1 || b.length > 1;

/** The figures of each run, from comparisons of one run with one; asked for one after the other. */
export function useGroups(whole: Comparison | null): Resource<Map<string, GroupedFigure>> {
  const [a, b] = [whole?.ast_run_ids ?? [], whole?.baseline_run_ids ?? []];
  const key = whole && isGrouped(whole) ? `pairs ${a.join()} ${b.join()}` : null;
  return useResource(key, async (signal) => {
    const pairs: Comparison[] = [];
    for (const [one, other] of pairsOf(a, b)) pairs.push(await perform<Comparison>('compare_runs', { ast_run_id: [one], ...(other ? { baseline_run_id: [other] } : {}), format: 'json' }, signal));
    return groupedFigures(whole!, pairs);
  });
}

export function GroupTable({ comparison, groups }: { comparison: Comparison; groups: Resource<Map<string, GroupedFigure>> }): JSX.Element {
  const heading = (name: string, runIds: string[], tone: number): JSX.Element => (
    <th scope="col" class="num"><i class={`key tone-${tone}${tone > 1 ? ' dashed' : ''}`} /> <b>{name}</b> <span class="many">{runIds.length === 1 ? 'one run' : `mean of ${count(runIds.length)} runs`}</span></th>
  );
  const hasOne = comparison.ast_run_ids.length === 1 || comparison.baseline_run_ids.length === 1;
  return (
    <>
      <div class="card scroll" tabIndex={0} role="region" aria-label="Comparison, a table that can be scrolled">
        <table class="plain compared grouped">
          <caption class="unseen">Figures of the groups A and B</caption>
          <thead>
            <tr>
              <th scope="col">Figure</th>{heading('A', comparison.ast_run_ids, 1)}{heading('B', comparison.baseline_run_ids, 2)}
              <th scope="col">Each run</th><th scope="col" class="num">A − B</th><th scope="col">What it is worth</th>
            </tr>
          </thead>
          <tbody>{comparison.rows.map((row) => <GroupRow key={row.metric} row={row} figure={groups.data?.get(row.metric)} isWaiting={!groups.data && !groups.error} />)}</tbody>
        </table>
      </div>
      <p class="faint tip-text">Below each mean: the least and the greatest of its runs, and their standard deviation (n − 1).{hasOne && ' A single run has its own bounds instead.'}{groups.error && ' The figures of single runs could not be read, so there is no least and greatest.'}</p>
    </>
  );
}

function GroupRow({ row, figure, isWaiting }: { row: ComparisonRow; figure: GroupedFigure | undefined; isWaiting: boolean }): JSX.Element {
  const { kind, factor, unit } = kindOf(row);
  const worth = figure?.a && figure.b && row.difference != null ? worthOf(figure.a, figure.b, row.interval) : null;
  const hasBounds = row.interval && row.interval[0] < row.interval[1];
  return (
    <tr>
      <th scope="row">{row.name[0]!.toUpperCase() + row.name.slice(1)}</th>
      <GroupSide name="A" told={row.ast} spread={figure?.a} row={row} isWaiting={isWaiting} />
      <GroupSide name="B" told={row.baseline} spread={figure?.b} row={row} isWaiting={isWaiting} />
      <td class="each">{figure && <Dots figure={figure} words={(value) => format(kind, value * factor) + unit} />}</td>
      <td class="num" data-label="A − B">
        {row.difference == null ? '–' : <span class={worth?.isClear ? 'apart' : ''}>{signed(kind, row.difference * factor)}{unit}</span>}
        {hasBounds && row.interval && <small class="bounds">{signedRange(kind, [row.interval[0] * factor, row.interval[1] * factor])}</small>}
      </td>
      <td class="worth">{worth && <>{worth.words} </>}<span class="faint">{hasBounds ? `Bounds by ${sourceWords(row.interval_from)}. ` : ''}</span><Basis basis={row.basis} /></td>
    </tr>
  );
}

interface SideProps {
  name: string;
  told: ComparedFigure | undefined;
  spread: Spread | null | undefined;
  row: ComparisonRow;
  isWaiting: boolean;
}

function GroupSide({ name, told, spread, row, isWaiting }: SideProps): JSX.Element {
  if (!told) return <td class="num faint" data-label={name}>–</td>;
  const { kind, factor, unit } = kindOf(row);
  const deviation = told.standard_deviation ?? spread?.deviation;
  const isSame = spread && spread.min === spread.max;
  return (
    <td class="num" data-label={name}>
      {format(kind, told.mean * factor)}{unit}
      {told.runs > 1 && <small class="bounds">{spread ? (isSame ? 'the same in each' : range(kind, [spread.min * factor, spread.max * factor])) : isWaiting ? '…' : 'range not known'}</small>}
      {told.runs > 1 && deviation != null && !isSame && <small class="bounds">SD {format(kind === 'loss' ? 'plain' : kind, deviation * factor).replace(/\u00a0CO2e$/, '')} · n = {told.runs}</small>}
      {told.runs === 1 && told.interval && <small class="bounds">bounds {range(kind, [told.interval[0] * factor, told.interval[1] * factor])}</small>}
    </td>
  );
}

const [WIDTH, HEIGHT] = [132, 30];

/** A dot for each run, A above B, on one scale. */
function Dots({ figure: { a, b }, words }: { figure: GroupedFigure; words: (value: number) => string }): JSX.Element | null {
  const sides = [{ name: 'A', spread: a, tone: 1, y: 9 }, { name: 'B', spread: b, tone: 2, y: 21 }].filter((side) => side.spread);
  if (sides.length === 0) return null;
  const [min, max] = [Math.min(...sides.map(({ spread }) => spread!.min)), Math.max(...sides.map(({ spread }) => spread!.max))];
  const x = (value: number): number => (max > min ? 6 + ((value - min) / (max - min)) * (WIDTH - 12) : WIDTH / 2);
  const label = sides.map(({ name, spread }) => `${name}: ${spread!.values.map(words).join(', ')}`).join('. ');
  return (
    <svg class="dots" width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      <title>{label}</title>
      {sides.map(({ name, spread, tone, y }) => (
        <g key={name} class={`tone-${tone}`}>
          <line x1={x(spread!.min)} x2={x(spread!.max)} y1={y} y2={y} />
          {spread!.values.map((value, index) => (tone === 1 ? <circle key={index} cx={x(value)} cy={y} r="3.5" /> : <rect key={index} x={x(value) - 3} y={y - 3} width="6" height="6" />))}
        </g>
      ))}
    </svg>
  );
}
