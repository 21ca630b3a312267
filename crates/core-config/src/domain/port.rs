//! Ports: what one room needs of another without knowing it.

use crate::{event::EventKind, problem::Problem};

/// What a trainer tells, and asks, while a run is trained. The worker implements it over the run's folder.
pub trait RunReporter: Send {
    /// Appends an event. An error means that it could not be written (disk full): the trainer must stop.
    fn report(&mut self, event: EventKind) -> Result<(), Problem>;
    /// Whether somebody asked for the run to end; checked at every step boundary.
    fn cancel_requested(&self) -> bool;
}

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferProgress {
    /// What is fetched, such as the id of a model.
    pub what: String,
    /// The file that is under way.
    pub file: String,
    /// Bytes that are here, over all files; what an earlier attempt left counts.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Who is told how far a download is; a front end implements it.
pub trait TransferReporter: std::fmt::Debug + Send + Sync {
    /// Called after every piece, so that it must return at once; pieces come thousands of times a second.
    fn report(&self, progress: &TransferProgress);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl TransferReporter for Silent {
    fn report(&self, _: &TransferProgress) {}
}
