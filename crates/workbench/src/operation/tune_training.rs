//! Chooses a run's learning rates by short trials before it starts.

use std::{fs::File, path::PathBuf};

use greentune_core_config::{
    event::EmissionsSoFar,
    manifest::{RunManifest, RunStatus},
    task::{WorkerAnswer, WorkerTask},
    tuning::{SettingChange, StageTuning, TuneFindings, TuneTask, TuningRecord},
};
use greentune_run_folder::{lock, manifest};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError,
    engine::wrong_answer,
    run::{Run, require_language_model},
};

/// The source of settings that trials chose.
const SOURCE: &str = "tune";
/// A learning rate above this is a mistake in its exponent.
const HIGHEST_RATE: f64 = 1.0;
/// Trials of a batch size or a learning rate, at most.
const MOST_VALUES: usize = 16;

/// Tune a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TuneTraining {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run, which has not been started.
    pub run_id: String,
    /// Optimizer steps of a trial; a fifth of the stage's, 10 to 40, when absent.
    pub steps: Option<u64>,
    /// Learning rates of stage 1 to try; five around the usual one for these adapters when absent.
    pub learning_rates: Option<Vec<f64>>,
    /// Batch sizes to try as well; the run's own alone when absent.
    pub batch_sizes: Option<Vec<u64>>,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TuneTrainingResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// Device that trained.
    pub device: String,
    /// The trials of each stage, and what was chosen.
    pub stages: Vec<StageTuning>,
    /// The settings that were changed in the run's manifest.
    pub changes: Vec<SettingChange>,
    /// Seconds of all trials, with loading.
    pub duration_seconds: f64,
    /// Energy and emissions of the trials of all tunings of this run; absent when they were not metered.
    pub emissions: Option<EmissionsSoFar>,
    /// The file with their row, in CodeCarbon's columns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_file: Option<PathBuf>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A run that nobody can start while it is tuned.
struct Held {
    run: Run,
    _lock: File,
}

impl Workbench {
    /// Trains a few learning rates for a few steps each in a worker, writes the best into the run's settings (source
    /// `tune`), and names in its manifest what was tried.
    ///
    /// Errors: the run was started, or trains an image classifier; a value that is not possible; what training refuses
    /// (data, memory).
    pub async fn tune_training(&self, request: TuneTraining) -> Result<TuneTrainingResponse> {
        check(&request)?;
        let asked = request.clone();
        let held = self.blocking(move |workbench| workbench.hold_unstarted(&asked)).await?;
        let task = TuneTask {
            run_folder: held.run.layout.folder().to_owned(),
            steps: request.steps,
            learning_rates: request.learning_rates.unwrap_or_default(),
            batch_sizes: request.batch_sizes.unwrap_or_default(),
        };
        let findings = match self.ask_worker(&WorkerTask::Tune(task)).await? {
            WorkerAnswer::Tuned(findings) => *findings,
            _ => return Err(wrong_answer("tune")),
        };
        self.blocking(move |_| keep(held, findings)).await
    }

    fn hold_unstarted(&self, request: &TuneTraining) -> Result<Held> {
        let run = self.read_run(request.project_path.as_deref(), &request.run_id)?;
        let instead =
            "set vision.learning_rate for a new run, and look at `greentune monitor` after an epoch";
        let run = require_language_model(run, "tuning", instead)?;
        refuse_started(&run)?;
        self.check_named_files(&run.manifest)?;
        let lock = lock::take(&run.layout)?;
        // Somebody may have started it meanwhile.
        let run = self.read_whole(run.layout)?;
        refuse_started(&run)?;
        Ok(Held { run, _lock: lock })
    }
}

fn check(request: &TuneTraining) -> Result<()> {
    let refused = |key, found: String, allowed: &str| {
        Err(WorkbenchError::InvalidValue { key, found, allowed: allowed.to_owned() })
    };
    if request.steps == Some(0) {
        return refused("steps", String::from("0"), "a whole number from 1");
    }
    let rates = request.learning_rates.as_deref().unwrap_or_default();
    if let Some(rate) = rates.iter().find(|rate| !(**rate > 0.0 && **rate <= HIGHEST_RATE)) {
        return refused("learning_rates", rate.to_string(), "numbers above 0, at most 1");
    }
    let sizes = request.batch_sizes.as_deref().unwrap_or_default();
    if sizes.contains(&0) {
        return refused("batch_sizes", String::from("0"), "whole numbers from 1");
    }
    for (key, count) in [("learning_rates", rates.len()), ("batch_sizes", sizes.len())] {
        if count > MOST_VALUES {
            return refused(key, format!("{count} values"), "16 values at most");
        }
    }
    Ok(())
}

fn refuse_started(run: &Run) -> Result<()> {
    let manifest = &run.manifest;
    if manifest.status == RunStatus::NotStarted && run.events.is_empty() {
        return Ok(());
    }
    Err(WorkbenchError::AlreadyStarted { run_id: manifest.run_id.clone(), status: manifest.status })
}

/// Writes what was chosen into the run's manifest.
fn keep(held: Held, findings: TuneFindings) -> Result<TuneTrainingResponse> {
    let Run { layout, manifest: mut of_run, .. } = held.run;
    let changes: Vec<_> = findings.stages.iter().flat_map(|tuning| apply(&mut of_run, tuning)).collect();
    of_run.tuning = Some(TuningRecord {
        at: Timestamp::now(),
        device: findings.device.clone(),
        stages: findings.stages.clone(),
        changes: changes.clone(),
        duration_seconds: findings.duration_seconds,
        emissions: findings.emissions.clone(),
    });
    manifest::write(&layout, &mut of_run)?;
    let warnings = findings.stages.iter().filter_map(warning);
    let not_metered = findings.not_metered.map(|reason| format!("the trials were not metered: {reason}"));
    Ok(TuneTrainingResponse {
        success: true,
        run_id: of_run.run_id,
        device: findings.device,
        changes,
        duration_seconds: findings.duration_seconds,
        emissions_file: findings.emissions.as_ref().map(|_| layout.tuning_emissions_csv()),
        emissions: findings.emissions,
        warnings: warnings.chain(not_metered).collect(),
        stages: findings.stages,
    })
}

/// Sets what was chosen for a stage; what that changed.
fn apply(run: &mut RunManifest, tuning: &StageTuning) -> Vec<SettingChange> {
    let stage = tuning.stage;
    let own = run.settings.training.stage(stage);
    // As many records as before.
    let factor = tuning.batch_size as f64 / own.batch_size as f64;
    let steps = |steps: u64| (steps as f64 / factor).round() as u64;
    let iterations =
        if tuning.batch_size == own.batch_size { own.iterations } else { steps(own.iterations).max(1) };
    let warmup_steps = if iterations == own.iterations { own.warmup_steps } else { steps(own.warmup_steps) };
    let values = [
        ("learning_rate", own.learning_rate, tuning.learning_rate),
        ("batch_size", own.batch_size as f64, tuning.batch_size as f64),
        ("iterations", own.iterations as f64, iterations as f64),
        ("warmup_steps", own.warmup_steps as f64, warmup_steps as f64),
    ];
    let training = &mut run.settings.training;
    if stage == 2 {
        let to = &mut training.stage2;
        (to.learning_rate, to.batch_size) = (tuning.learning_rate, tuning.batch_size);
        (to.iterations, to.warmup_steps) = (iterations, warmup_steps);
    } else {
        let to = &mut training.stage1;
        (to.learning_rate, to.batch_size) = (tuning.learning_rate, tuning.batch_size);
        (to.iterations, to.warmup_steps) = (iterations, warmup_steps);
    }
    for record in run.stages.iter_mut().filter(|record| record.stage == stage) {
        record.total_steps = iterations;
    }
    let mut changes = Vec::new();
    for (name, before, after) in values {
        let key = format!("training.stage{stage}.{name}");
        // The learning rate is the trials' even where they chose what was set.
        if name == "learning_rate" || before.to_bits() != after.to_bits() {
            let source_before = run.sources.insert(key.clone(), String::from(SOURCE));
            let source_before = source_before.unwrap_or_else(|| String::from("built in"));
            changes.push(SettingChange { key, before, source_before, after });
        }
    }
    changes
}

/// What is doubtful about the choice.
fn warning(tuning: &StageTuning) -> Option<String> {
    let stage = tuning.stage;
    let losses: Vec<_> = tuning.trials.iter().filter_map(|trial| trial.validation_loss).collect();
    if losses.iter().all(|loss| *loss >= tuning.first_loss) {
        return Some(format!(
            "no trial of stage {stage} lowered the validation loss: look at the data with inspect_dataset, or try more steps"
        ));
    }
    let rates = || tuning.trials.iter().map(|trial| trial.learning_rate);
    let highest = rates().fold(f64::NEG_INFINITY, f64::max);
    let is_highest = tuning.learning_rate >= highest && tuning.trials.len() > 1 && stage == 1;
    is_highest.then(|| {
        format!("stage {stage} learnt best at the highest learning rate that was tried: try higher ones too")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused_by_their_field() {
        let with = |change: fn(&mut TuneTraining)| {
            let mut request = TuneTraining::default();
            change(&mut request);
            check(&request).map_err(|error| error.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        let refused = with(|request| request.learning_rates = Some(vec![1e-4, 2.0])).unwrap_err();
        assert_eq!(refused, "found 2, allowed: numbers above 0, at most 1");
        assert!(with(|request| request.learning_rates = Some(vec![f64::NAN])).is_err());
        assert!(with(|request| request.batch_sizes = Some(vec![0])).is_err());
        assert!(with(|request| request.steps = Some(0)).is_err());
        assert!(with(|request| request.batch_sizes = Some(vec![1; 17])).is_err());
    }
}
