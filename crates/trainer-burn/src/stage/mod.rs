//! What surrounds the steps of a stage, whether it trains a language model or an image classifier.
//!
//! A training loop implements [`Stage`]: it draws, takes steps, evaluates and writes what a checkpoint holds. The
//! [`StageHost`] runs it: it tells the run's reporter, meters, saves checkpoints, asks for evaluations, asks before
//! every step whether somebody wants to stop, and closes the stage.

pub(crate) mod checkpoint;
mod host;
pub(crate) mod learning;
mod metering;
mod pace;
pub(crate) mod selection;

use greentune_core_config::{event::EventKind, layout::RunLayout, port::RunReporter};

pub(crate) use self::{
    host::{Cadence, Stage, StageEnd, StageHost},
    pace::Pace,
};
use crate::error::TrainError;

/// How training ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every stage that was asked for is trained.
    Finished,
    /// Ended on request, with a checkpoint.
    Cancelled {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done in it.
        step: u64,
    },
}

/// Trains `stages` in turn. `train` trains one and returns the step at which it was cancelled, if it was.
pub(crate) fn in_turn(
    stages: &[u8],
    mut train: impl FnMut(u8) -> Result<Option<u64>, TrainError>,
) -> Result<Outcome, TrainError> {
    for stage in stages {
        if let Some(step) = train(*stage)? {
            return Ok(Outcome::Cancelled { stage: *stage, step });
        }
    }
    Ok(Outcome::Finished)
}

/// Reports that a worker begins, or goes on from a checkpoint.
pub(crate) fn report_start(
    layout: &RunLayout,
    stages: &[u8],
    reporter: &mut dyn RunReporter,
    device_name: &str,
) -> Result<(), TrainError> {
    let resumed = stages.iter().any(|stage| layout.checkpoints(*stage).exists());
    let started = EventKind::Started { pid: std::process::id(), device: device_name.to_owned(), resumed };
    reporter.report(started).map_err(TrainError::Reporter)
}
