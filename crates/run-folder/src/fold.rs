//! Events folded into the manifest. Folding the same events again changes nothing.

use greentune_core_config::{
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
};

use crate::status::terminal_status;

/// Folds one event into `manifest`: status, problem, and what it says of its stage.
pub(crate) fn fold(manifest: &mut RunManifest, event: &Event) {
    match &event.kind {
        EventKind::Started { .. } => {
            manifest.status = RunStatus::Running;
            manifest.problem = None;
        }
        EventKind::StageStarted { stage, total_steps, from_step, .. } => {
            let record = record(manifest, *stage);
            record.status = RunStatus::Running;
            record.total_steps = *total_steps;
            record.steps_done = *from_step;
        }
        EventKind::Step(step) => {
            let record = record(manifest, step.stage);
            record.steps_done = step.step;
            // Where samples are selected, how many steps there will be shows while training.
            record.total_steps = step.total_steps;
            if let Some(selection) = step.samples.as_ref().and_then(|samples| samples.selection.as_ref()) {
                record.selection = Some(selection.clone());
            }
        }
        EventKind::EpochFinished(epoch) => {
            let epochs = &mut record(manifest, epoch.stage).epochs;
            // A worker that goes on from a checkpoint does some epochs again. They stand in order, so the last ones tell.
            while epochs.pop_if(|known| known.epoch >= epoch.epoch).is_some() {}
            epochs.push(epoch.clone());
        }
        EventKind::Classified { stage, report } => {
            record(manifest, *stage).classification = Some(report.clone());
        }
        EventKind::Emissions(emissions) => {
            record(manifest, emissions.stage).emissions = Some(emissions.clone());
        }
        EventKind::StageFinished {
            stage,
            duration_seconds,
            final_train_loss,
            emissions,
            peak_memory_bytes,
        } => {
            let record = record(manifest, *stage);
            record.status = RunStatus::Completed;
            record.total_steps = record.steps_done;
            record.duration_seconds = Some(*duration_seconds);
            record.final_train_loss = Some(*final_train_loss);
            record.peak_memory_bytes = *peak_memory_bytes;
            if emissions.is_some() {
                record.emissions.clone_from(emissions);
            }
        }
        EventKind::ModelsEvaluated { stage, reports } => {
            record(manifest, *stage).evaluations.clone_from(reports);
        }
        kind => {
            if let Some(status) = terminal_status(kind) {
                end(manifest, status);
            }
            if let EventKind::Failed { problem } = kind {
                manifest.problem = Some(problem.clone());
            }
        }
    }
}

/// Notes the files that `stage` of the run left, by role, relative to the project.
pub(crate) fn note_artifacts(manifest: &mut RunManifest, layout: &RunLayout) {
    let mut files = vec![(String::from("final_model"), layout.final_model())];
    for stage in manifest.stages.iter().map(|stage| stage.stage) {
        files.extend([
            (format!("stage{stage}_adapters"), layout.adapters(stage)),
            (format!("stage{stage}_checkpoints"), layout.checkpoints(stage)),
            (format!("stage{stage}_emissions"), layout.emissions_csv(stage)),
            (format!("stage{stage}_provenance"), layout.provenance(stage)),
        ]);
    }
    for (role, path) in files {
        if let (true, Ok(relative)) = (path.exists(), path.strip_prefix(layout.project().root())) {
            manifest.artifacts.insert(role, relative.to_owned());
        }
    }
}

fn end(manifest: &mut RunManifest, status: RunStatus) {
    manifest.status = status;
    let running = |stage: &&mut StageRecord| stage.status == RunStatus::Running;
    if let Some(stage) = manifest.stages.iter_mut().find(running) {
        stage.status = status;
    }
}

fn record(manifest: &mut RunManifest, stage: u8) -> &mut StageRecord {
    let place = manifest.stages.iter().position(|record| record.stage == stage).unwrap_or_else(|| {
        manifest.stages.push(new_record(stage, 0));
        manifest.stages.len() - 1
    });
    &mut manifest.stages[place]
}

/// The record of a stage that has not been trained.
pub fn new_record(stage: u8, total_steps: u64) -> StageRecord {
    StageRecord {
        stage,
        status: RunStatus::NotStarted,
        total_steps,
        steps_done: 0,
        duration_seconds: None,
        final_train_loss: None,
        emissions: None,
        peak_memory_bytes: None,
        evaluations: Vec::new(),
        epochs: Vec::new(),
        classification: None,
        selection: None,
    }
}
