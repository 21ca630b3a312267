/** What the API answers, as far as the page uses it. Fields that may be absent are optional; nothing else is assumed. */

import type { Series } from '../data/series.ts';

export type Status = 'not_started' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled' | 'interrupted';
export type Range = [number, number];

export interface Problem {
  status?: number;
  title?: string;
  detail?: string;
  message?: string;
  code?: string;
  kind?: string;
  hint?: string;
  location?: { file?: string; line?: number; key?: string };
  problems?: Problem[];
}

export interface ServerInfo {
  version: string;
  project_path: string | null;
  read_only: boolean;
  account: string | null;
  operations: string[];
  projects?: string[];
}

export interface StageProgress {
  stage: number;
  status: Status;
  steps_done: number;
  total_steps: number;
  final_train_loss?: number;
  token_accuracy?: number;
}

export interface RunSummary {
  run_id: string;
  run_name: string;
  project_path: string;
  status: Status;
  platform: string;
  created_at: string;
  progress_percentage: number;
  carbon_emissions_kg?: number;
  stages: StageProgress[];
}

export interface RunList {
  runs: RunSummary[];
  total?: number;
  more?: number;
  next?: string | null;
  unreadable?: string[];
  losses?: Record<string, [number, number][]>;
}

export interface StageEmissionsSoFar {
  stage: number;
  duration_seconds: number;
  energy_kwh: number;
  emissions_kg_co2: number;
  power_w: number;
  basis: string;
}

export interface Sample {
  prompt: string;
  expected: string;
  generated: string;
}

export interface Figure {
  metric: string;
  value: number;
  interval?: { low: number; high: number; method: string };
  records: number;
}

export interface Evaluation {
  model: 'base' | 'stage';
  stage?: number;
  dataset_role: string;
  dataset: string;
  records: number;
  loss: number;
  perplexity: number;
  token_accuracy: number;
  exact_match?: number | null;
  figures?: Figure[];
  samples?: Sample[];
}

export interface Classification {
  dataset_role: string;
  images: number;
  skipped: number;
  loss: number;
  accuracy: number;
  top5_accuracy?: number;
  classes: string[];
  confusion: number[][];
}

export interface Selection {
  unit?: string;
  candidates: number;
  selected: number;
  scored: number;
  threshold?: number;
}

export interface StageRecord extends StageProgress {
  duration_seconds?: number;
  emissions?: StageEmissionsSoFar;
  peak_memory_bytes?: number;
  evaluations?: Evaluation[];
  epochs?: { epoch: number; accuracy: number; validation_loss: number }[];
  classification?: Classification;
  selection?: Selection;
}

export interface Manifest {
  run_id: string;
  run_name: string;
  greentune_version: string;
  created_at: string;
  updated_at: string;
  status: Status;
  platform: { kind: string; url?: string };
  problem?: Problem;
  settings?: Record<string, Record<string, unknown>>;
  data?: Record<string, string>;
  base_model_path?: string;
  git_revision?: string;
  stages: StageRecord[];
  artifacts?: Record<string, string>;
  exports?: { at: string; stage: number; format: string; merged: boolean; quantization?: string; path: string; files: Record<string, string> }[];
}

export interface PlanAccuracy {
  basis: string;
  planned_afterwards: boolean;
  quantities: { quantity: string; planned: number; actual: number; ratio: number; within_range: boolean }[];
}

export interface RunShown {
  summary: RunSummary;
  run_directory: string;
  log_file: string;
  manifest: Manifest;
  warnings?: string[];
  plan_accuracy?: PlanAccuracy;
}

export interface Progress {
  run_id: string;
  status: Status;
  current_stage: number;
  current_iteration: number;
  total_iterations: number;
  progress_percentage: number;
  metrics: {
    train_loss?: number | null;
    learning_rate?: number | null;
    tokens_per_second?: number | null;
    samples_per_second?: number | null;
    accuracy?: number | null;
    validation_loss?: number | null;
    perplexity?: number | null;
    token_accuracy?: number | null;
  };
  carbon_emissions_kg?: number;
  emissions?: StageEmissionsSoFar[];
  estimated_completion_time?: string;
  remaining_seconds?: number;
  device?: string;
  stages: StageProgress[];
  warnings: string[];
  problem?: Problem;
  hint?: string;
  last_seq?: number;
}

export interface RunAnswer {
  run: RunShown;
  progress: Progress;
  plan?: Plan;
}

export interface SeriesAnswer {
  run_id: string;
  status: Status;
  last_seq: number | null;
  /** Whether the series go on where an earlier answer ended; else they take its place. */
  appended?: boolean;
  stages: { stage: number; first: number; total_steps: number }[];
  series: Record<string, Series>;
}

export interface Plan {
  run_id: string;
  device: string;
  basis: string;
  base_parameters: number;
  trainable_parameters: number;
  memory: {
    peak_bytes: number;
    peak_range_bytes: Range;
    available: { bytes?: number; limited_by: string };
    fits?: boolean;
    reductions: unknown[];
  };
  time?: { duration_seconds: number; range_seconds: Range };
  energy?: { energy_kwh: number; range_kwh: Range; power_w: number; basis: string };
  carbon?: { emissions_kg_co2: number; range_kg_co2: Range; carbon_intensity_g_per_kwh: number; carbon_intensity_source: string };
  cost?: { amount: number; range: Range; price_per_kwh: number; currency?: string };
  assumptions: string[];
}

export interface Factor {
  kg_co2_per_unit: number;
  unit: string;
  source: string;
  year: number;
}

export interface Factors {
  tree_year?: Factor;
  mile_driven?: Factor;
  smartphone_charge?: Factor;
  offset_usd_per_tonne?: Range;
  offset_source?: string;
}

export interface Equivalencies {
  miles_driven_equivalent: number;
  smartphones_charged: number;
  gasoline_gallons: number;
  trees_to_offset_1year: number;
}

export interface Component {
  component: string;
  basis: string;
  method: string;
  source: string;
  energy_kwh: number;
  range_kwh?: Range;
  year?: number;
}

export interface EmissionsSummary {
  run_id: string;
  summary: {
    total_emissions_kg_co2: number;
    total_duration_hours: number;
    emissions_per_hour_kg: number;
    num_stages: number;
    total_energy_kwh?: number;
    energy_range_kwh?: Range;
    emissions_range_kg?: Range;
  };
  equivalencies: Equivalencies;
  equivalence_factors?: Factors;
  stages: {
    stage: number;
    emissions_kg: number;
    energy_kwh: number;
    duration_hours: number;
    provenance?: {
      components: Component[];
      carbon_intensity_g_per_kwh?: number;
      carbon_intensity_source?: string;
      pue?: number;
      notes?: string[];
    };
  }[];
  recommendations: string[];
  sci?: { g_per_unit: number; per: { count: number; unit: string }; note?: string };
  carbon_offset_cost_usd: number;
  carbon_offset_cost_range_usd?: Range;
  caveats?: string[];
}

export interface Aggregate {
  total_emissions_kg_co2: number;
  total_duration_hours: number;
  total_energy_kwh?: number;
  energy_with_provenance?: { energy_kwh: number; range_kwh: Range; files: number };
  total_runs: number;
  total_files?: number;
  average_per_run_kg: number;
  trees_to_offset_1year: number;
  equivalencies?: Equivalencies;
  equivalence_factors?: Factors;
  top_emitting_runs: { run_id: string; emissions_kg: number; energy_kwh: number; duration_hours: number }[];
  total_offset_cost_usd: number;
  total_offset_cost_range_usd?: Range;
  shared_machines?: { message: string }[];
  notes?: string[];
  skipped?: { file: string; reason: string }[];
}

export interface EmissionRows {
  columns: string[];
  rows: (string | number | null)[][];
  skipped?: { file: string; reason: string }[];
}

export interface LeaderboardRow {
  run_id: string;
  run_name: string;
  project_path: string;
  task: string;
  group: string;
  base_model: string;
  activation_rate?: number;
  quality_metric: string;
  quality: number;
  /** Mean on the validation data after the last stage, nats per token or image. */
  validation_loss: number;
  /** Mean training loss of the last tenth of the last stage's steps. */
  train_loss?: number;
  energy_kwh: number;
  energy_basis: string;
  emissions_kg: number;
  duration_seconds: number;
  is_unbeaten: boolean;
}

export interface EnergyLeaderboard {
  rows: LeaderboardRow[];
  left_out: { run_id: string; reason: string }[];
}

export interface ComparedFigure {
  runs: number;
  mean: number;
  /** That of each run, where there are several. */
  values?: number[];
  /** n − 1; absent for one run. */
  standard_deviation?: number;
  interval?: Range;
  interval_from?: string;
}

export interface ComparisonRow {
  metric: string;
  name: string;
  unit: string;
  ast?: ComparedFigure;
  baseline?: ComparedFigure;
  difference?: number;
  interval?: Range;
  interval_from?: string;
  basis: string;
}

export interface Comparison {
  ast_run_ids: string[];
  baseline_run_ids: string[];
  energy_savings?: number;
  energy_savings_basis?: string;
  quantities?: Record<string, { value: number; unit: string; interval?: Range; interval_from?: string; basis: string } | undefined>;
  rows: ComparisonRow[];
  caveats: { code: string; message: string }[];
  csv?: string;
  markdown?: string;
}

/** One line of `events.jsonl`. */
export interface RunEvent {
  seq: number;
  at: string;
  kind: string;
  stage?: number;
  step?: number;
  total_steps?: number;
  [field: string]: unknown;
}
