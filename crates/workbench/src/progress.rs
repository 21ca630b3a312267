//! How fast a run goes, and how long it still takes.

use greentune_core_config::{
    event::{EventKind, StepMetrics},
    manifest::{RunManifest, RunStatus, StageRecord},
};

use crate::{job_store::runs_of, run::Run};

/// Steps over which the pace is taken.
const RECENT_STEPS: usize = 20;

/// Seconds until every stage that was asked for is trained, at `seconds_per_record`.
pub(crate) fn remaining_seconds(manifest: &RunManifest, seconds_per_record: f64) -> f64 {
    let asked = |stage: &&StageRecord| {
        manifest.requested_stages.is_empty() || manifest.requested_stages.contains(&stage.stage)
    };
    let records = |stage: &StageRecord| {
        let steps = match stage.status {
            RunStatus::Completed => 0,
            _ => stage.total_steps.saturating_sub(stage.steps_done),
        };
        steps * records_per_step(manifest, stage.stage)
    };
    manifest.stages.iter().filter(asked).map(records).sum::<u64>() as f64 * seconds_per_record
}

/// Seconds per record over the last steps of the present attempt; `None` before two steps of a stage are done.
pub(crate) fn pace(run: &Run) -> Option<f64> {
    let mut steps = Vec::new();
    for event in run.events.iter().rev() {
        match &event.kind {
            EventKind::Step(step) if steps.len() <= RECENT_STEPS => steps.push((event.at, step)),
            EventKind::Step(_) | EventKind::StageStarted { .. } | EventKind::Started { .. } => break,
            _ => {}
        }
    }
    let ((end, last), (start, first)) = (steps.first()?, steps.last()?);
    let records = last.step.checked_sub(first.step)? * records_per_step(&run.manifest, last.stage);
    (records > 0).then(|| end.duration_since(*start).as_secs_f64() / records as f64)
}

/// Seconds per record of other runs of the project on the same base model, the newest first.
pub(crate) fn earlier_pace(run: &Run) -> Option<f64> {
    let mut others: Vec<_> =
        runs_of(run.layout.project()).into_iter().filter(|other| *other != run.layout).collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.run_id()));
    others.into_iter().filter_map(|other| Run::read(other).ok()).find_map(|other| {
        let same = other.manifest.base_model_path == run.manifest.base_model_path
            && other.manifest.settings.training.device == run.manifest.settings.training.device
            && other.manifest.settings.vision == run.manifest.settings.vision;
        if same { overall_pace(&other.manifest) } else { None }
    })
}

/// The last step that was done.
pub(crate) fn last_step(run: &Run) -> Option<&StepMetrics> {
    run.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Step(step) => Some(step),
        _ => None,
    })
}

fn overall_pace(manifest: &RunManifest) -> Option<f64> {
    let trained = manifest.stages.iter().filter_map(|stage| {
        Some((stage.duration_seconds?, stage.steps_done * records_per_step(manifest, stage.stage)))
    });
    let (seconds, records) = trained.fold((0.0, 0), |sum, stage| (sum.0 + stage.0, sum.1 + stage.1));
    (records > 0).then(|| seconds / records as f64)
}

/// Records of an optimizer step of a language model.
pub(crate) fn records_per_step(manifest: &RunManifest, stage: u8) -> u64 {
    let settings = manifest.settings.training.stage(stage);
    settings.batch_size * settings.gradient_accumulation
}
