/** The figures of two groups of runs: mean, spread and number of runs of either, and what the difference is worth. */

import type { JSX } from 'preact';
import type { ComparedFigure, Comparison, ComparisonRow } from '../api/types.ts';
import { kindOf, sourceWords } from '../data/compared.ts';
import { runsOf, worthOf, type Spread } from '../data/groups.ts';
import { count, differenceOf, format, range, signedRange } from '../data/units.ts';
import { Basis } from '../ui/parts.tsx';

/** Whether a side is a group of runs. */
export const isGrouped = ({ ast_run_ids: a, baseline_run_ids: b }: Comparison): boolean => a.length > 1 || b.length > 1;

export function GroupTable({ comparison }: { comparison: Comparison }): JSX.Element {
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
          <tbody>{comparison.rows.map((row) => <GroupRow key={row.metric} row={row} />)}</tbody>
        </table>
      </div>
      <p class="faint tip-text">Below each mean: the least and the greatest of its runs, and their standard deviation (n − 1).{hasOne && ' A single run has its own bounds instead.'}</p>
    </>
  );
}

function GroupRow({ row }: { row: ComparisonRow }): JSX.Element {
  const { kind, factor, unit } = kindOf(row);
  const [a, b] = [runsOf(row.ast), runsOf(row.baseline)];
  const worth = a && b && row.difference != null ? worthOf(a, b, row.interval) : null;
  const hasBounds = row.interval && row.interval[0] < row.interval[1];
  return (
    <tr>
      <th scope="row">{row.name[0]!.toUpperCase() + row.name.slice(1)}</th>
      <GroupSide name="A" figure={row.ast} spread={a} row={row} />
      <GroupSide name="B" figure={row.baseline} spread={b} row={row} />
      <td class="each"><Dots a={a} b={b} words={(value) => format(kind, value * factor) + unit} /></td>
      <td class="num" data-label="A − B">
        {row.difference == null ? '–' : <span class={worth?.isClear ? 'apart' : ''}>{differenceOf(kind, row.difference * factor)}{unit}</span>}
        {hasBounds && row.interval && <small class="bounds">{signedRange(kind, [row.interval[0] * factor, row.interval[1] * factor])}</small>}
      </td>
      <td class="worth">{worth && <>{worth.words} </>}<span class="faint">{hasBounds ? `Bounds by ${sourceWords(row.interval_from)}. ` : ''}</span><Basis basis={row.basis} /></td>
    </tr>
  );
}

interface SideProps {
  name: string;
  figure: ComparedFigure | undefined;
  spread: Spread | null;
  row: ComparisonRow;
}

function GroupSide({ name, figure, spread, row }: SideProps): JSX.Element {
  if (!figure || !spread) return <td class="num faint" data-label={name}>–</td>;
  const { kind, factor, unit } = kindOf(row);
  const isSame = spread.min === spread.max;
  return (
    <td class="num" data-label={name}>
      {format(kind, figure.mean * factor)}{unit}
      {figure.runs > 1 && <small class="bounds">{isSame ? 'the same in each' : range(kind, [spread.min * factor, spread.max * factor])}</small>}
      {figure.standard_deviation != null && !isSame && <small class="bounds">SD {format(kind === 'loss' ? 'plain' : kind, figure.standard_deviation * factor).replace(/\u00a0CO2e$/, '')} · n = {figure.runs}</small>}
      {figure.runs === 1 && figure.interval && <small class="bounds">bounds {range(kind, [figure.interval[0] * factor, figure.interval[1] * factor])}</small>}
    </td>
  );
}

const [WIDTH, HEIGHT] = [132, 30];

/** A dot for each run, A above B, on one scale. */
function Dots({ a, b, words }: { a: Spread | null; b: Spread | null; words: (value: number) => string }): JSX.Element | null {
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
