//! Ports: what one crate needs of another without depending on it.

use std::path::PathBuf;

use crate::{
    event::EventKind,
    layout::RunLayout,
    manifest::RunManifest,
    platform::{Capabilities, JobState, LastWords, PlatformKind, Quote, Submitted},
    problem::Problem,
};

/// What a trainer reports and asks while it trains a run. The worker implements it over the run's folder.
pub trait RunReporter: Send {
    /// Appends an event. An error means that it could not be written (disk full): the trainer must stop.
    fn report(&mut self, event: EventKind) -> Result<(), Problem>;
    /// Whether somebody asked for the run to end; checked at every step boundary.
    fn cancel_requested(&self) -> bool;
}

/// Which way something goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferDirection {
    /// To this machine.
    #[default]
    Download,
    /// Away from it.
    Upload,
}

impl TransferDirection {
    /// What is being done, in a word.
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Download => "downloading",
            Self::Upload => "uploading",
        }
    }
}

/// The progress of a download or an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferProgress {
    /// Which of the two.
    pub direction: TransferDirection,
    /// What is fetched or sent, such as the id of a model.
    pub what: String,
    /// The file that is under way.
    pub file: String,
    /// Bytes that have gone so far, over all files, including those of an earlier attempt.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Receives the progress of downloads and uploads; a front end implements it.
pub trait TransferReporter: std::fmt::Debug + Send + Sync {
    /// Called after every piece, so that it must return at once; pieces come thousands of times a second.
    fn report(&self, progress: &TransferProgress);
}

/// Discards all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReporter;

impl TransferReporter for NoReporter {
    fn report(&self, _: &TransferProgress) {}
}

/// Where runs are trained.
///
/// A platform trains a run folder with the same worker, wherever that is. What the worker writes there (events, manifest,
/// checkpoints, adapters) is brought back into the run's folder here, and everything else reads the folder.
///
/// Calls block and may take seconds; an implementation keeps its own time limits. Each gets the folder of the run here and
/// the manifest as it was read, whose `platform` names the job. An error of kind `unavailable` or `rate_limited` means that
/// the platform could not be asked: what is known of the run stands, and the call may be repeated.
pub trait Platform: std::fmt::Debug + Send + Sync {
    /// Which platform it is.
    fn kind(&self) -> PlatformKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What training the run would take there. Starts nothing and costs nothing.
    fn quote(&self, run: &RunLayout, manifest: &RunManifest) -> Result<Quote, Problem>;

    /// Hands the run over to be trained, or to go on from its last checkpoint. The manifest says `queued` already, and which
    /// stages are asked for. After an error nothing runs there.
    fn submit(&self, run: &RunLayout, manifest: &RunManifest) -> Result<Submitted, Problem>;

    /// Whether a worker is at work.
    fn status(&self, run: &RunLayout, manifest: &RunManifest) -> Result<JobState, Problem>;

    /// Brings the events that are new into the run's folder. Nothing is brought twice; without contact nothing is lost.
    fn follow(&self, run: &RunLayout, manifest: &RunManifest) -> Result<(), Problem>;

    /// Asks the worker to end at its next step, with a checkpoint. Returns before it has.
    fn cancel(&self, run: &RunLayout, manifest: &RunManifest) -> Result<(), Problem>;

    /// Brings what the worker left (checkpoints, adapters, emissions, evaluations) into the project here; the files that were
    /// brought, relative to the project.
    fn fetch(&self, run: &RunLayout, manifest: &RunManifest) -> Result<Vec<PathBuf>, Problem>;

    /// How the worker ended, for the message of a run that broke off.
    fn last_words(&self, run: &RunLayout, manifest: &RunManifest) -> LastWords;
}
