//! A run's `events.jsonl` as the queue of what is to be sent.

use std::{collections::BTreeMap, path::PathBuf};

use greentune_core_config::event::{EpochMetrics, Event, EventKind};

use greentune_run_folder::EventReader;

use crate::TrackingError;

/// An event with its context from earlier events.
#[derive(Clone, Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) event: Event,
    /// Optimizer steps done in the event's stage; 0 where it has none.
    pub(crate) step: u64,
    /// Whether an earlier attempt has been through this step already: a resumed run repeats what was after its last
    /// checkpoint.
    pub(crate) repeated: bool,
}

/// Reads events in order, each once.
#[derive(Debug)]
pub(crate) struct EventFile {
    reader: EventReader,
    stages: BTreeMap<u8, Reached>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    step: u64,
    furthest_step: Option<u64>,
    furthest_evaluation: Option<u64>,
}

impl EventFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { reader: EventReader::new(path), stages: BTreeMap::new() }
    }

    /// Up to `limit` events from number `from` on, none only when there is none. A line that is still being written is left
    /// for the next call.
    pub(crate) fn next(&mut self, from: u64, limit: usize) -> Result<Vec<QueuedEvent>, TrackingError> {
        let mut events = Vec::new();
        loop {
            let new = self.reader.next(limit - events.len())?;
            if new.restarted {
                self.stages.clear();
            }
            if new.events.is_empty() {
                return Ok(events);
            }
            let noted = new.events.into_iter().map(|event| note(&mut self.stages, event));
            events.extend(noted.filter(|noted| noted.event.seq >= from));
            if events.len() == limit {
                return Ok(events);
            }
        }
    }
}

fn note(stages: &mut BTreeMap<u8, Reached>, event: Event) -> QueuedEvent {
    let (mut step, mut repeated) = (0, false);
    if let Some(stage) = stage_of(&event.kind) {
        let reached = stages.entry(stage).or_default();
        match &event.kind {
            EventKind::StageStarted { from_step, .. } => reached.step = *from_step,
            EventKind::Step(metrics) => {
                reached.step = metrics.step;
                repeated = is_behind(&mut reached.furthest_step, metrics.step);
            }
            EventKind::Evaluated { step, .. } | EventKind::EpochFinished(EpochMetrics { step, .. }) => {
                repeated = is_behind(&mut reached.furthest_evaluation, *step);
            }
            _ => {}
        }
        step = reached.step;
    }
    QueuedEvent { event, step, repeated }
}

/// Whether `step` was reached before; it is from now on.
fn is_behind(furthest: &mut Option<u64>, step: u64) -> bool {
    let behind = furthest.is_some_and(|furthest| step <= furthest);
    if !behind {
        *furthest = Some(step);
    }
    behind
}

/// The stage that an event tells of.
pub(crate) fn stage_of(kind: &EventKind) -> Option<u8> {
    match kind {
        EventKind::Step(metrics) => Some(metrics.stage),
        EventKind::Emissions(so_far) => Some(so_far.stage),
        EventKind::EpochFinished(epoch) => Some(epoch.stage),
        EventKind::StageStarted { stage, .. }
        | EventKind::Evaluated { stage, .. }
        | EventKind::CheckpointSaved { stage, .. }
        | EventKind::StageFinished { stage, .. }
        | EventKind::ModelsEvaluated { stage, .. }
        | EventKind::Classified { stage, .. }
        | EventKind::Cancelled { stage, .. } => Some(*stage),
        _ => None,
    }
}
