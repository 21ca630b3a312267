//! Ports: what one crate needs of another without depending on it.

use crate::{event::EventKind, problem::Problem};

/// What a trainer reports and asks while it trains a run. The worker implements it over the run's folder.
pub trait RunReporter: Send {
    /// Appends an event. An error means that it could not be written (disk full): the trainer must stop.
    fn report(&mut self, event: EventKind) -> Result<(), Problem>;
    /// Whether somebody asked for the run to end; checked at every step boundary.
    fn cancel_requested(&self) -> bool;
}

/// The progress of a download.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferProgress {
    /// What is fetched, such as the id of a model.
    pub what: String,
    /// The file that is under way.
    pub file: String,
    /// Bytes downloaded so far, over all files, including those of an earlier attempt.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Receives the progress of downloads; a front end implements it.
pub trait TransferReporter: std::fmt::Debug + Send + Sync {
    /// Called after every piece, so that it must return at once; pieces come thousands of times a second.
    fn report(&self, progress: &TransferProgress);
}

/// Discards all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl TransferReporter for Silent {
    fn report(&self, _: &TransferProgress) {}
}
