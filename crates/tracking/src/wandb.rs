//! A run at Weights & Biases: sent to its server, or written as the folder that its client sends later.
//!
//! Both have the same rows in the same order, a function of the run's events, under the run's own id.

mod live;
mod offline;

use greentune_core_config::{event::EventKind, layout::RunLayout, manifest::RunManifest};
use serde_json::{Value, json};

pub(crate) use self::{live::LiveSink, offline::FolderSink};
use crate::{
    TrackingError,
    events::{QueuedEvent, stage_of},
    metrics,
};

/// The history row of an event; `None` where it has no figures.
///
/// Errors: the stage's CSV cannot be read.
fn row(
    noted: &QueuedEvent,
    layout: &RunLayout,
    manifest: &RunManifest,
) -> Result<Option<Vec<(String, Value)>>, TrackingError> {
    let figures = metrics::of(noted, layout, true)?;
    let (Some(stage), Some(first)) = (stage_of(&noted.event.kind), figures.first()) else { return Ok(None) };
    let step = first.step;
    let mut row: Vec<_> =
        figures.iter().map(|figure| (figure.key.clone(), metrics::json(figure.value))).collect();
    let at = noted.event.at.as_millisecond() as f64 / 1000.0;
    row.push((step_key(stage), json!(step)));
    row.push((String::from("_step"), json!(noted.event.seq)));
    row.push((String::from("_timestamp"), json!(at)));
    let runtime = at - manifest.created_at.as_millisecond() as f64 / 1000.0;
    row.push((String::from("_runtime"), json!(runtime)));
    Ok(Some(row))
}

/// Over what a stage is plotted.
fn step_key(stage: u8) -> String {
    format!("stage{stage}_step")
}

/// The exit code of a run that `kind` ends.
fn exit_code(kind: &EventKind) -> Option<u64> {
    match kind {
        EventKind::Finished { .. } => Some(0),
        EventKind::Failed { .. } => Some(1),
        // What the client writes for a run that was interrupted from the keyboard.
        EventKind::Cancelled { .. } => Some(255),
        _ => None,
    }
}
