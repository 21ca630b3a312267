//! Samples that a run was offered and trained on, and the arithmetic that it spared.

use greentune_core_config::{
    manifest::{RunManifest, RunStatus, StageRecord},
    selection::SelectionSoFar,
    settings::{AstUnit, Task},
};

use crate::progress::records_per_step;

/// The samples of a stage: those that were offered and trained on, all of them where nothing is selected. `None` where they
/// were not counted: in steps that are filled up with records. `train_records` is how many records or images the stage has.
pub(crate) fn samples_of(
    manifest: &RunManifest,
    stage: &StageRecord,
    train_records: Option<u64>,
) -> Option<SelectionSoFar> {
    if let Some(selection) = &stage.selection
        && selection.unit == AstUnit::Sample
    {
        return Some(selection.clone());
    }
    let settings = &manifest.settings;
    let samples = match settings.task() {
        Task::ImageClassification => (stage.epochs.len() as u64).saturating_mul(train_records?),
        Task::LanguageModel if settings.training.packing => return None,
        Task::LanguageModel => stage.steps_done.saturating_mul(records_per_step(manifest, stage.stage)),
    };
    Some(SelectionSoFar { candidates: samples, selected: samples, ..SelectionSoFar::default() })
}

/// Share of full training's arithmetic that a run has spared, its warm-up included. `None` where nothing is selected, where
/// samples were not counted, and of tokens ([`SelectionSoFar::compute_savings`]).
pub(crate) fn compute_savings(
    manifest: &RunManifest,
    train_records: impl Fn(u8) -> Option<u64>,
) -> Option<f64> {
    let begun = || manifest.stages.iter().filter(|stage| stage.status != RunStatus::NotStarted);
    begun().find_map(|stage| stage.selection.as_ref())?.compute_savings()?;
    let mut stages = begun().map(|stage| samples_of(manifest, stage, train_records(stage.stage)));
    stages.try_fold(SelectionSoFar::default(), |sum, stage| Some(sum.and(&stage?)))?.compute_savings()
}
