//! What a run was trained with, and how good it became, from its manifest and events.

use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport},
    event::EventKind,
    manifest::StageRecord,
};
use greentune_run_folder::Run;

/// Seconds of training over the stages; `None` when one does not say.
pub(super) fn training_seconds(stages: &[&StageRecord]) -> Option<f64> {
    stages.iter().try_fold(0.0, |sum, stage| Some(sum + stage.duration_seconds?))
}

/// Share of right answers at a stage's end, and of how many: images of a classifier, tokens of a language model.
pub(super) fn accuracy(stage: &StageRecord) -> Option<(f64, u64)> {
    let of_images = stage.classification.as_ref().map(|report| (report.accuracy, report.images));
    of_images.or_else(|| own_evaluation(stage).map(|report| (report.token_accuracy, report.tokens)))
}

/// The stage's evaluation on its own validation records, else its first.
pub(super) fn own_evaluation(stage: &StageRecord) -> Option<&EvaluationReport> {
    let role = format!("stage{} validation", stage.stage);
    let mut own = own_evaluations(stage);
    own.clone().find(|report| report.dataset_role == role).or_else(|| own.next())
}

/// The stage's evaluations, without those of the base model beside it.
pub(super) fn own_evaluations(stage: &StageRecord) -> impl Iterator<Item = &EvaluationReport> + Clone {
    stage.evaluations.iter().filter(move |report| report.model == EvaluatedModel::Stage(stage.stage))
}

/// Parameters that `stage` trained.
pub(super) fn trained_parameters(run: &Run, stage: u8) -> Option<u64> {
    run.events.iter().rev().find_map(|event| match event.kind {
        EventKind::StageStarted { stage: of, trainable_parameters, .. } if of == stage => {
            Some(trainable_parameters)
        }
        _ => None,
    })
}

/// Devices that the run was trained on, each once, in order.
pub(super) fn devices(run: &Run) -> Vec<&str> {
    let mut devices: Vec<&str> = Vec::new();
    for event in &run.events {
        if let EventKind::Started { device, .. } = &event.kind
            && !devices.contains(&device.as_str())
        {
            devices.push(device);
        }
    }
    devices
}
