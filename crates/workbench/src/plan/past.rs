//! What earlier runs say of the next: their pace, their power, and how far off the memory formula was for them.

use greentune_carbon::{Host, codecarbon, sidecar};
use greentune_core_config::{
    Basis,
    evaluation::{EvaluatedModel, FOLLOWED_RECORDS},
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
    quantities::sum,
};

use greentune_run_folder::manifest;

use super::kept_plan;
use crate::{Workbench, job_store::runs_of, run::Run};

/// Runs that are looked at, the newest first.
const LOOKED_AT: usize = 50;
/// Runs that a plan rests on, at most.
const RESTS_ON: usize = 3;

/// What earlier runs of the same base model on this device and machine took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// Their ids, the newest first.
    pub runs: Vec<String>,
    /// Their device, as the worker named it.
    pub device: String,
    /// Tokens per second of the steps, by stage of each run.
    pub step_tokens_per_second: Vec<f64>,
    /// Seconds per evaluated record, without writing text.
    pub evaluation_seconds_per_record: Option<f64>,
    /// Seconds per record for which text was written.
    pub generation_seconds_per_record: Option<f64>,
    /// Mean power in W, without PUE; absent when they were not metered.
    pub power_w: Option<f64>,
    /// How it was got: `measured`, `modelled` or `mixed`.
    pub power_basis: String,
    /// Ends of the meter's interval as factors of the power; absent where a run has no provenance.
    pub power_factors: Option<[f64; 2]>,
}

impl Workbench {
    /// Every run but `run` that may be read here, the newest first.
    fn other_runs(&self, run: &Run) -> Vec<RunLayout> {
        let known = self.job_store().and_then(|store| store.all()).unwrap_or_default();
        let mut others = runs_of(run.layout.project());
        others.extend(known);
        let roots = self.allowed_roots();
        others.retain(|other| *other != run.layout && roots.contain_folder(other.folder()));
        // The id ends with the time at which the run was configured.
        let time = |id: String| id.get(id.len().saturating_sub(15)..).unwrap_or_default().to_owned();
        others.sort_by_key(|other| std::cmp::Reverse((time(other.run_id()), other.folder().to_owned())));
        others.dedup();
        others
    }
}

/// Completed runs of the same base model, kept and trained the same way on this machine; the newest first.
pub(crate) fn comparable_runs(workbench: &Workbench, run: &Run) -> Vec<Run> {
    let processor = Host::default().processor();
    let is_here = |other: &Run| {
        let rows = codecarbon::read(&other.layout.emissions_csv(1)).unwrap_or_default();
        rows.last().is_some_and(|row| (row.cpu_model.as_str(), row.cpu_count) == (&processor.0, processor.1))
    };
    let others = workbench.other_runs(run).into_iter().take(LOOKED_AT);
    others
        .filter(|other| {
            let manifest = manifest::read(other);
            manifest.is_ok_and(|other| is_comparable(&run.manifest, &other))
        })
        .filter_map(|other| Run::read(other, workbench.platforms()).ok())
        .filter(is_here)
        .take(RESTS_ON)
        .collect()
}

/// Whether a step of `other` costs what a step of `run` does, token by token.
fn is_comparable(run: &RunManifest, other: &RunManifest) -> bool {
    let (a, b) = (&run.settings, &other.settings);
    other.status == RunStatus::Completed
        && other.stages.iter().all(|stage| stage.status == RunStatus::Completed)
        && base_model_hash(run).is_some_and(|hash| base_model_hash(other) == Some(hash))
        && a.training.device == b.training.device
        && a.training.precision == b.training.precision
        && a.training.gradient_checkpointing == b.training.gradient_checkpointing
        && a.base_model.quantization == b.base_model.quantization
        && a.lora.target_modules == b.lora.target_modules
}

/// Hash of the base model's `config.json`: the same sizes take the same time, wherever the folder lies.
fn base_model_hash(manifest: &RunManifest) -> Option<&String> {
    manifest.input_hashes.get(&*manifest.base_model_path.join("config.json").to_string_lossy())
}

/// What `runs` took, as far as they were trained on the device of the newest; `None` when there is none.
pub(crate) fn past_of(runs: &[Run]) -> Option<Past> {
    let device = device_of(runs.first()?)?;
    let runs: Vec<_> = runs.iter().filter(|run| device_of(run).as_deref() == Some(&device)).collect();
    let mut past = Past {
        runs: runs.iter().map(|run| run.manifest.run_id.clone()).collect(),
        step_tokens_per_second: runs.iter().flat_map(|run| step_paces(run)).collect(),
        device,
        ..Past::default()
    };
    let evaluations: Vec<_> = runs.iter().map(|run| evaluation_times(run)).collect();
    let total = |of: fn(&EvaluationTimes) -> f64| sum(evaluations.iter().map(of));
    past.evaluation_seconds_per_record =
        quotient(total(|times| times.followed.0), total(|times| times.followed.1));
    let per_record = past.evaluation_seconds_per_record.unwrap_or(0.0);
    let writing = total(|times| times.reports) - per_record * total(|times| times.reported_records);
    past.generation_seconds_per_record = quotient(writing.max(0.0), total(|times| times.generated_records));
    set_power(&mut past, &runs);
    (!past.step_tokens_per_second.is_empty()).then_some(past)
}

fn quotient(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor)
}

fn device_of(run: &Run) -> Option<String> {
    run.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Started { device, .. } => Some(device.clone()),
        _ => None,
    })
}

/// Tokens per second of each stage, over all its steps.
fn step_paces(run: &Run) -> Vec<f64> {
    let of_stage = |stage: u8| {
        let steps = run.events.iter().filter_map(|event| match &event.kind {
            EventKind::Step(step) if step.stage == stage => Some(step),
            _ => None,
        });
        let (tokens, seconds) = steps.fold((0.0, 0.0), |(tokens, seconds), step| {
            let now = step.tokens as f64;
            (tokens + now, seconds + now / step.tokens_per_second)
        });
        quotient(tokens, seconds).filter(|pace| pace.is_finite())
    };
    run.manifest.stages.iter().filter_map(|stage| of_stage(stage.stage)).collect()
}

/// Times of a run's evaluations, from the gaps before their events.
#[derive(Default)]
struct EvaluationTimes {
    /// Seconds and records of the evaluations between steps.
    followed: (f64, f64),
    /// Seconds of the reports at the stages' ends.
    reports: f64,
    reported_records: f64,
    generated_records: f64,
}

fn evaluation_times(run: &Run) -> EvaluationTimes {
    let mut times = EvaluationTimes::default();
    for pair in run.events.windows(2) {
        let [before, event] = pair else { continue };
        let seconds = seconds_between(before, event);
        match &event.kind {
            EventKind::Evaluated { stage, .. } => {
                if let Some(records) = validation_records(run, *stage) {
                    times.followed.0 += seconds;
                    times.followed.1 += records.min(FOLLOWED_RECORDS as u64) as f64;
                }
            }
            EventKind::ModelsEvaluated { reports, .. } => {
                times.reports += seconds;
                times.reported_records += sum(reports.iter().map(|report| report.records as f64));
                times.generated_records += sum(reports.iter().map(|report| report.generated_records as f64));
            }
            _ => {}
        }
    }
    times
}

fn seconds_between(before: &Event, event: &Event) -> f64 {
    event.at.duration_since(before.at).as_secs_f64().max(0.0)
}

fn validation_records(run: &Run, stage: u8) -> Option<u64> {
    let record = run.manifest.stages.iter().find(|record| record.stage == stage)?;
    let own = record.evaluations.iter().find(|report| report.model == EvaluatedModel::Stage(stage));
    own.map(|report| report.records)
}

/// Mean power over all metered stages, and how well it is known.
fn set_power(past: &mut Past, runs: &[&Run]) {
    let (mut joules, mut seconds) = (0.0, 0.0);
    // The runs' own figures between their bounds, as far as all have them.
    let mut bounds = Some([0.0, 0.0, 0.0]);
    let mut bases = Vec::new();
    for run in runs {
        let pue = run.manifest.settings.carbon.pue;
        for stage in &run.manifest.stages {
            let Some(used) = &stage.emissions else { continue };
            let used_joules = used.energy_kwh * 3.6e6 / pue;
            joules += used_joules;
            seconds += used.duration_seconds;
            bases.push(Basis::of_energy(&used.basis));
            let known = sidecar::read(&run.layout.provenance(stage.stage)).ok().flatten();
            bounds = bounds.zip(known).map(|([energy, low, high], known)| {
                let own = sum(known.components.iter().map(|part| part.energy_kwh));
                let [less, more] = known.energy_interval_kwh();
                [energy + own, low + less, high + more]
            });
        }
    }
    past.power_basis = Basis::of_sum(bases).map(|basis| basis.to_string()).unwrap_or_default();
    past.power_w = quotient(joules, seconds).filter(|watts| *watts > 0.0);
    past.power_factors = bounds
        .filter(|[energy, ..]| *energy > 0.0)
        .map(|[energy, low, high]| [(low / energy).min(1.0), (high / energy).max(1.0)]);
}

/// Measured peak of memory over the formula's, of the `runs` that were planned.
pub(crate) fn memory_ratios(runs: &[Run]) -> Vec<f64> {
    let ratio = |run: &Run| {
        let plan = kept_plan(&run.layout)?;
        let actual = run.manifest.stages.iter().filter_map(|stage| stage.peak_memory_bytes).max()?;
        quotient(actual as f64, plan.memory.estimate.peak_bytes() as f64)
    };
    runs.iter().filter_map(ratio).collect()
}
