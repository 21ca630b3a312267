//! Reading a run: manifest, lock and events together say where it stands.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport},
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
    selection::SelectionSoFar,
    settings::{AstUnit, Task},
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench, WorkbenchError, events,
    fold::fold_all,
    job_store::{JobStore, runs_of, unknown_run},
    json_file, local, lock, out_of_memory,
    progress::records_per_step,
    project::run_in,
};

/// A queued run whose worker has not taken the lock after this time will not begin any more.
const QUEUED_AT_MOST: SignedDuration = SignedDuration::from_secs(60);

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Id: the folder's name.
    pub run_id: String,
    /// Name that the user gave.
    pub run_name: String,
    /// The project's folder.
    pub project_path: PathBuf,
    /// Status, as derived now.
    pub status: RunStatus,
    /// Where it trains.
    pub platform: String,
    /// When it was configured.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Share of all steps of all stages that is done, in percent.
    pub progress_percentage: f64,
    /// Emissions so far, in kg CO2-equivalent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon_emissions_kg: Option<f64>,
    /// The stages.
    pub stages: Vec<StageProgress>,
}

/// Where a stage stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageProgress {
    /// Stage, from 1.
    pub stage: u8,
    /// Status.
    pub status: RunStatus,
    /// Optimizer steps done.
    pub steps_done: u64,
    /// Optimizer steps in all.
    pub total_steps: u64,
    /// Mean training loss of the last tenth of the steps.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub final_train_loss: Option<f64>,
    /// Token accuracy of the stage on its validation records at its end, in `[0, 1]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token_accuracy: Option<f64>,
}

/// A run as its files describe it now.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Where its files are.
    pub layout: RunLayout,
    /// The manifest with the events folded in; its status is the derived one.
    pub manifest: RunManifest,
    /// Its events.
    pub events: Vec<Event>,
}

impl Workbench {
    /// The run `run_id`, in the project at `project_path` or wherever the index says.
    pub(crate) fn find_run(&self, project_path: Option<&Path>, run_id: &str) -> Result<RunLayout> {
        let Some(path) = project_path else {
            let run = JobStore::open(self.config())?.find(run_id)?;
            self.check_roots(run.folder(), run.folder())?;
            return Ok(run);
        };
        let project = self.open_project(path)?;
        let run = run_in(&project, run_id)?.ok_or_else(|| unknown_run(run_id, &runs_of(&project)))?;
        // A project that was copied or moved here makes itself known; without an index it is still found by its path.
        let _ = JobStore::open(self.config()).and_then(|store| store.note(&run));
        Ok(run)
    }

    /// Finds a run and reads it.
    pub(crate) fn read_run(&self, project_path: Option<&Path>, run_id: &str) -> Result<Run> {
        Run::read(self.find_run(project_path, run_id)?)
    }
}

/// Where the run at `layout` stands.
pub(crate) fn status_of(layout: &RunLayout) -> Result<RunStatus> {
    Ok(read_manifest(layout, || lock::is_taken(layout))?.status)
}

/// Whether a worker is at work in a run of this status, or about to be.
pub(crate) fn is_active(status: RunStatus) -> bool {
    matches!(status, RunStatus::Running | RunStatus::Queued)
}

impl Run {
    /// Reads the run at `layout`.
    pub(crate) fn read(layout: RunLayout) -> Result<Self> {
        let manifest = read_manifest(&layout, || lock::is_taken(&layout))?;
        Self::with_events(layout, manifest)
    }

    /// The samples of a stage: those that were offered and trained on, all of them where nothing is selected. `None` where
    /// they were not counted: in steps that are filled up with records.
    pub(crate) fn samples_of(&self, stage: &StageRecord) -> Option<SelectionSoFar> {
        if let Some(selection) = &stage.selection
            && selection.unit == AstUnit::Sample
        {
            return Some(selection.clone());
        }
        let settings = &self.manifest.settings;
        let samples = match settings.task() {
            Task::ImageClassification => stage.epochs.len() as u64 * self.train_records(stage.stage)?,
            Task::LanguageModel if settings.training.packing => return None,
            Task::LanguageModel => stage.steps_done * records_per_step(&self.manifest, stage.stage),
        };
        Some(SelectionSoFar { candidates: samples, selected: samples, ..SelectionSoFar::default() })
    }

    /// Share of full training's arithmetic that the run has spared, its warm-up included. `None` where nothing is
    /// selected, where samples were not counted, and of tokens ([`SelectionSoFar::compute_savings`]).
    pub(crate) fn compute_savings(&self) -> Option<f64> {
        let begun = || self.manifest.stages.iter().filter(|stage| stage.status != RunStatus::NotStarted);
        begun().find_map(|stage| stage.selection.as_ref())?.compute_savings()?;
        let mut stages = begun().map(|stage| self.samples_of(stage));
        stages.try_fold(SelectionSoFar::default(), |sum, stage| Some(sum.and(&stage?)))?.compute_savings()
    }

    /// Training records of a stage, as its last start counted them.
    pub(crate) fn train_records(&self, of: u8) -> Option<u64> {
        self.events.iter().rev().find_map(|event| match event.kind {
            EventKind::StageStarted { stage, train_records, .. } if stage == of => Some(train_records),
            _ => None,
        })
    }

    /// The run itself, when it trains a language model: `what` is not available yet for image classifiers.
    pub(crate) fn of_language_model(self, what: &str, instead: &str) -> Result<Self> {
        if self.manifest.settings.task() == Task::LanguageModel {
            return Ok(self);
        }
        Err(WorkbenchError::NotAvailableYet {
            what: format!("{what} an image classifier, as {} is,", self.layout.run_id()),
            instead: instead.to_owned(),
        })
    }

    /// Reads the run at `layout`, whose lock the caller holds.
    pub(crate) fn read_locked(layout: RunLayout, _lock: &File) -> Result<Self> {
        let manifest = read_manifest(&layout, || Ok(false))?;
        Self::with_events(layout, manifest)
    }

    fn with_events(layout: RunLayout, mut manifest: RunManifest) -> Result<Self> {
        let events = events::read_after(&layout.events(), None, usize::MAX)?;
        let status = manifest.status;
        fold_all(&mut manifest, &events);
        manifest.status = status;
        if status != RunStatus::Failed {
            manifest.problem = None;
        }
        if status == RunStatus::Interrupted {
            let started = events.iter().rev().find(|event| matches!(event.kind, EventKind::Started { .. }));
            let since = started.map_or(manifest.updated_at, |event| event.at);
            manifest.problem = out_of_memory::explain(&layout, &local::last_words(&layout.log(), since));
        }
        for stage in &mut manifest.stages {
            settle(stage, status);
        }
        Ok(Self { layout, manifest, events })
    }

    /// The run in short.
    pub(crate) fn summary(&self) -> RunSummary {
        let manifest = &self.manifest;
        let metered = manifest.stages.iter().filter_map(|stage| stage.emissions.as_ref());
        let emissions: Vec<_> = metered.map(|emissions| emissions.emissions_kg_co2).collect();
        RunSummary {
            run_id: manifest.run_id.clone(),
            run_name: manifest.run_name.clone(),
            project_path: self.layout.project().root().to_owned(),
            status: manifest.status,
            platform: manifest.platform.clone(),
            created_at: manifest.created_at,
            progress_percentage: self.progress_percentage(),
            carbon_emissions_kg: (!emissions.is_empty()).then(|| emissions.iter().sum()),
            stages: manifest.stages.iter().map(progress_of).collect(),
        }
    }

    /// Share of all steps of all stages that is done, in percent.
    pub(crate) fn progress_percentage(&self) -> f64 {
        let done: u64 = self.manifest.stages.iter().map(|stage| stage.steps_done).sum();
        let total: u64 = self.manifest.stages.iter().map(|stage| stage.total_steps).sum();
        if total == 0 { 0.0 } else { 100.0 * done as f64 / total as f64 }
    }

    /// The record of `stage`, which must be one of the run's and trained.
    pub(crate) fn trained_stage(&self, stage: u8) -> Result<&StageRecord> {
        let record = self.stage(stage)?;
        if record.status == RunStatus::Completed {
            return Ok(record);
        }
        Err(WorkbenchError::StageNotTrained { run_id: self.manifest.run_id.clone(), stage })
    }

    /// The record of `stage`, which must be one of the run's.
    pub(crate) fn stage(&self, stage: u8) -> Result<&StageRecord> {
        self.manifest.stages.iter().find(|record| record.stage == stage).ok_or_else(|| {
            WorkbenchError::InvalidValue {
                key: "stage",
                found: stage.to_string(),
                allowed: match self.manifest.stages.len() {
                    1 => String::from("1, the run's only stage"),
                    count => format!("1 to {count}"),
                },
            }
        })
    }
}

/// The manifest, with the status derived: a run whose worker is gone is interrupted.
fn read_manifest(layout: &RunLayout, is_locked: impl Fn() -> Result<bool>) -> Result<RunManifest> {
    let mut manifest: RunManifest = json_file::read(&layout.manifest())?;
    loop {
        if !is_active(manifest.status) || is_locked()? {
            return Ok(manifest);
        }
        // The lock was free; only if the manifest is still the same did nobody begin or end in between.
        let again: RunManifest = json_file::read(&layout.manifest())?;
        if again == manifest {
            manifest.status = without_worker(&manifest, events::last(&layout.events())?.as_ref());
            return Ok(manifest);
        }
        manifest = again;
    }
}

fn without_worker(manifest: &RunManifest, last: Option<&Event>) -> RunStatus {
    // A worker may die between its terminal event and the manifest.
    let ended =
        last.filter(|event| event.at >= manifest.updated_at).and_then(|event| terminal_status(&event.kind));
    if let Some(status) = ended {
        return status;
    }
    let age = Timestamp::now().duration_since(manifest.updated_at);
    let may_begin = age < QUEUED_AT_MOST && manifest.pid.is_none_or(is_alive);
    if manifest.status == RunStatus::Queued && may_begin { RunStatus::Queued } else { RunStatus::Interrupted }
}

/// The status that a terminal event leaves a run in.
pub(crate) fn terminal_status(kind: &EventKind) -> Option<RunStatus> {
    match kind {
        EventKind::Finished { .. } => Some(RunStatus::Completed),
        EventKind::Failed { .. } => Some(RunStatus::Failed),
        EventKind::Cancelled { .. } => Some(RunStatus::Cancelled),
        _ => None,
    }
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    true
}

/// A stage cannot be at work in a run that is not.
fn settle(stage: &mut StageRecord, run: RunStatus) {
    if is_active(stage.status) && !is_active(run) {
        stage.status = run;
    }
}

fn progress_of(stage: &StageRecord) -> StageProgress {
    let own = |report: &&EvaluationReport| {
        report.model == EvaluatedModel::Stage(stage.stage)
            && report.dataset_role == format!("stage{} validation", stage.stage)
    };
    StageProgress {
        stage: stage.stage,
        status: stage.status,
        steps_done: stage.steps_done,
        total_steps: stage.total_steps,
        final_train_loss: stage.final_train_loss,
        token_accuracy: stage.evaluations.iter().find(own).map(|report| report.token_accuracy),
    }
}
