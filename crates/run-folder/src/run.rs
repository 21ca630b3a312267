//! A run with all of its events, for what looks back over the whole training: comparisons, cards, plans.

use greentune_core_config::{
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
    selection::SelectionSoFar,
};

use crate::{
    Liveness, Result, RunFolderError, RunView,
    progress::RecentSteps,
    read_after, samples,
    summary::{self, RunSummary},
};

/// A run as its files describe it now, with every event.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where its files are.
    pub layout: RunLayout,
    /// The manifest with the events folded in; its status is the derived one.
    pub manifest: RunManifest,
    /// Its events.
    pub events: Vec<Event>,
    /// What is said of the events where the file is damaged.
    pub damage: Vec<String>,
}

impl Run {
    /// Reads the run at `layout`; `liveness` answers for its platform.
    ///
    /// Errors: its files cannot be read or understood.
    pub fn read(layout: RunLayout, liveness: &dyn Liveness) -> Result<Self> {
        let view = RunView::open(layout, liveness)?;
        let events = read_after(&view.layout().events(), None, usize::MAX)?;
        Ok(Self {
            layout: view.layout().clone(),
            manifest: view.manifest().clone(),
            damage: view.damage(),
            events,
        })
    }

    /// The samples of a stage: those that were offered and trained on, all of them where nothing is selected. `None` where
    /// they were not counted: in steps that are filled up with records.
    pub fn samples_of(&self, stage: &StageRecord) -> Option<SelectionSoFar> {
        samples::samples_of(&self.manifest, stage, self.train_records(stage.stage))
    }

    /// Share of full training's arithmetic that the run has spared, its warm-up included. `None` where nothing is
    /// selected, where samples were not counted, and of tokens ([`SelectionSoFar::compute_savings`]).
    pub fn compute_savings(&self) -> Option<f64> {
        samples::compute_savings(&self.manifest, |stage| self.train_records(stage))
    }

    /// Training records of a stage, as its last start counted them.
    pub fn train_records(&self, of: u8) -> Option<u64> {
        self.events.iter().rev().find_map(|event| match event.kind {
            EventKind::StageStarted { stage, train_records, .. } if stage == of => Some(train_records),
            _ => None,
        })
    }

    /// Seconds per record over the last steps of the last attempt; `None` before two steps of a stage are done.
    pub fn seconds_per_record(&self) -> Option<f64> {
        let is_start =
            |event: &&Event| matches!(event.kind, EventKind::StageStarted { .. } | EventKind::Started { .. });
        let attempt = self.events.iter().rev().take_while(|event| !is_start(event));
        let steps = attempt.filter_map(|event| match &event.kind {
            EventKind::Step(step) => Some((event.at, step.clone())),
            _ => None,
        });
        RecentSteps::ending_with(steps).seconds_per_record(&self.manifest)
    }

    /// The run in short.
    pub fn summary(&self) -> RunSummary {
        summary::of(&self.layout, &self.manifest)
    }

    /// The record of `stage`, which must be one of the run's and trained.
    ///
    /// Errors: it is not ([`RunFolderError::NoSuchStage`], [`RunFolderError::StageNotTrained`]).
    pub fn trained_stage(&self, stage: u8) -> Result<&StageRecord> {
        trained_stage(&self.manifest, stage)
    }

    /// The record of `stage`, which must be one of the run's.
    ///
    /// Errors: it is not ([`RunFolderError::NoSuchStage`]).
    pub fn stage(&self, stage: u8) -> Result<&StageRecord> {
        record_of(&self.manifest, stage)
    }
}

/// The record of `stage` in `manifest`, trained.
///
/// Errors: there is none, or it is not trained.
pub fn trained_stage(manifest: &RunManifest, stage: u8) -> Result<&StageRecord> {
    let record = record_of(manifest, stage)?;
    if record.status == RunStatus::Completed {
        return Ok(record);
    }
    // A stage that has not begun waits for the run, where that is under way.
    let status = match record.status {
        RunStatus::NotStarted if manifest.status.is_active() => RunStatus::Queued,
        status => status,
    };
    Err(RunFolderError::StageNotTrained { run_id: manifest.run_id.clone(), stage, status })
}

/// The record of `stage` in `manifest`.
///
/// Errors: there is none.
pub fn record_of(manifest: &RunManifest, stage: u8) -> Result<&StageRecord> {
    manifest.stages.iter().find(|record| record.stage == stage).ok_or_else(|| RunFolderError::NoSuchStage {
        found: stage,
        allowed: match manifest.stages.as_slice() {
            [only] => format!("{}, the run's only stage", only.stage),
            stages => format!("1 to {}", stages.len()),
        },
    })
}
