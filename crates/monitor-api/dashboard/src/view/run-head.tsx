/** The head of a run's page: what it is, how far it is, and its figures so far. */

import type { ComponentChildren, JSX } from 'preact';
import type { EmissionsSummary, Progress, RunShown } from '../api/types.ts';
import { count, duration, energy, format, massAlone, range } from '../data/units.ts';
import { Ago, Bar, Basis, isActive, StateChip, Tile, Tiles } from '../ui/parts.tsx';

interface HeadProps {
  run: RunShown;
  progress: Progress;
  summary: EmissionsSummary | null;
  buttons?: ComponentChildren;
}

export function RunHead({ run, progress, summary, buttons }: HeadProps): JSX.Element {
  const { manifest } = run;
  const facts = factsOf(run, progress);
  return (
    <header class="run-head">
      <div class="run-title">
        <h1>{manifest.run_name || manifest.run_id}</h1>
        <StateChip status={progress.status} />
        <span class="run-buttons">{buttons}</span>
      </div>
      <p class="facts">
        <code class="id">{manifest.run_id}</code>
        {facts.map((fact) => <span key={fact}>{fact}</span>)}
        <span>started <Ago at={manifest.created_at} /></span>
      </p>
      {progress.status !== 'not_started' && <Stages progress={progress} />}
      <Figures progress={progress} run={run} summary={summary} />
    </header>
  );
}

/** What the run trains, where and on what, in a few words each. */
function factsOf(run: RunShown, progress: Progress): string[] {
  const settings = run.manifest.settings ?? {};
  const text = (section: string, key: string): string | undefined => {
    const value = settings[section]?.[key];
    return typeof value === 'string' && value ? value : undefined;
  };
  const isVision = !!text('vision', 'model');
  const ast = settings['ast'];
  const rank = settings['lora']?.['rank'];
  return [
    isVision ? text('vision', 'model') : text('base_model', 'model_id'),
    !isVision && typeof rank === 'number' ? `LoRA rank ${rank}` : undefined,
    ast?.['enabled'] === true && typeof ast['target_activation_rate'] === 'number' ? `sparse, ${Math.round(100 * ast['target_activation_rate'])}\u00a0% by ${String(ast['policy'])}` : undefined,
    progress.device,
    run.manifest.platform.kind !== 'local' ? run.manifest.platform.kind : undefined,
  ].filter((fact): fact is string => !!fact);
}

function Stages({ progress }: { progress: Progress }): JSX.Element {
  const total = progress.stages.reduce((sum, stage) => sum + stage.total_steps, 0) || 1;
  const active = isActive(progress.status);
  return (
    <div class="stages">
      <div class="stage-bars">
        {progress.stages.map((stage) => (
          <span key={stage.stage} class="stage-bar" style={{ flexGrow: Math.max(0.08, stage.total_steps / total) }}>
            <Bar percent={stage.total_steps ? (100 * stage.steps_done) / stage.total_steps : 0} label={`Stage ${stage.stage}`} tone={progress.status} />
          </span>
        ))}
      </div>
      <p>
        <b>{Math.floor(progress.progress_percentage)}&nbsp;%</b>
        <span>stage {progress.current_stage} of {progress.stages.length}, step {count(progress.current_iteration)} of {count(progress.total_iterations)}</span>
        {active && progress.remaining_seconds != null && progress.remaining_seconds > 0 && <span class="eta">{duration(progress.remaining_seconds)} left</span>}
      </p>
    </div>
  );
}

function Figures({ progress, run, summary }: { progress: Progress; run: RunShown; summary: EmissionsSummary | null }): JSX.Element | null {
  const { metrics, emissions } = progress;
  const seconds = emissions?.reduce((sum, one) => sum + one.duration_seconds, 0);
  const kwh = emissions?.reduce((sum, one) => sum + one.energy_kwh, 0);
  const kg = progress.carbon_emissions_kg;
  const basis = emissions && basisOf(emissions.map((one) => one.basis));
  const accuracy = metrics.accuracy ?? metrics.token_accuracy;
  const trained = run.manifest.stages.reduce<number | undefined>((sum, stage) => (stage.duration_seconds != null ? (sum ?? 0) + stage.duration_seconds : sum), undefined);
  const isShown = metrics.train_loss != null || kg != null || accuracy != null;
  if (!isShown) return null;
  const coming = projection(progress);
  return (
    <Tiles label="Figures so far">
      <Tile label="Training loss" note={metrics.validation_loss != null ? `validation ${format('loss', metrics.validation_loss)}` : 'not validated yet'}>{format('loss', metrics.train_loss)}</Tile>
      {accuracy != null && <Tile label={metrics.accuracy != null ? 'Accuracy' : 'Token accuracy'} note={metrics.perplexity != null ? `perplexity ${format('plain', metrics.perplexity)}` : 'on validation data'}>{format('share', accuracy)}</Tile>}
      <Tile label="Speed" note={metrics.tokens_per_second ? 'tokens per second' : 'samples per second'}>{format('plain', metrics.tokens_per_second || metrics.samples_per_second)}</Tile>
      <Tile label="Time" note={seconds != null && trained != null ? `training ${duration(trained)}` : undefined}>{duration(seconds ?? trained)}</Tile>
      <Tile label={<>Energy <Basis basis={basis} /></>} note={summary?.summary.energy_range_kwh && range('energy', summary.summary.energy_range_kwh)}>{energy(kwh)}</Tile>
      <Tile label={<>CO2e <Basis basis={basis} /></>} note={summary?.summary.emissions_range_kg ? range('mass', summary.summary.emissions_range_kg).replace('\u00a0CO2e', '') : undefined}>{massAlone(kg)}</Tile>
      {coming != null && <Tile label="CO2e at the end" note="if the pace holds">{`≈ ${massAlone(coming)}`}</Tile>}
    </Tiles>
  );
}

/** Emissions at the end, in kg, when the rest goes on as the stage at work does; `null` without time left or figures. */
export function projection(progress: Progress): number | null {
  const { emissions, remaining_seconds: left, carbon_emissions_kg: kg } = progress;
  const current = emissions?.find((one) => one.stage === progress.current_stage) ?? emissions?.[emissions.length - 1];
  if (!isActive(progress.status) || !left || kg == null || !current || current.duration_seconds < 1) return null;
  return kg + (current.emissions_kg_co2 / current.duration_seconds) * left;
}

/** The basis of a sum. */
export function basisOf(parts: string[]): string | null {
  const kinds = new Set(parts.filter((part) => part && part !== 'unknown'));
  return kinds.size === 0 ? null : kinds.size === 1 ? [...kinds][0]! : 'mixed';
}
