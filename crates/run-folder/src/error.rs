//! What can go wrong with a run's folder.

use std::{io, path::PathBuf};

use greentune_core_config::{
    Diagnostic, FileFault, Location, Problem, ProblemKind, Suggestion, manifest::RunStatus,
};

/// Result of reading or writing a run's folder.
pub type Result<T, E = RunFolderError> = std::result::Result<T, E>;

/// What can go wrong with a run's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFolderError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of greentune's own that cannot be understood.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A manifest that a newer version of greentune wrote.
    #[error(
        "{} has the format {found}, written by greentune {written_by}; this version reads formats up to {newest}",
        path.display()
    )]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The version that wrote it.
        written_by: String,
        /// The newest format that this version reads.
        newest: u32,
    },
    /// A folder that is no run's.
    #[error("{} is not the folder of a run", .0.display())]
    NotARun(PathBuf),
    /// A worker holds the run.
    #[error("the run {run_id} is already being trained{}", pid_words(*pid))]
    AlreadyRunning {
        /// The run.
        run_id: String,
        /// The worker's process id.
        pid: Option<u32>,
    },
    /// An event with a number that JSON cannot write.
    #[error("the event {event} has a number that is not finite: {fields}")]
    NotFinite {
        /// The event's kind.
        event: String,
        /// Its fields with such numbers.
        fields: String,
    },
    /// A stage that the run does not have.
    #[error("found {found}, allowed: {allowed}")]
    NoSuchStage {
        /// The stage that was named.
        found: u8,
        /// The stages that there are.
        allowed: String,
    },
    /// A stage that must be trained first, or that is to be used, is not trained.
    #[error("stage {stage} of the run {run_id} is {}", not_trained(*status))]
    StageNotTrained {
        /// The run.
        run_id: String,
        /// The stage.
        stage: u8,
        /// Where the stage stands.
        status: RunStatus,
    },
    /// The platform of the run could not be asked, or refused.
    #[error("{0}")]
    Platform(Box<Problem>),
    /// A defect of greentune.
    #[error("{0}")]
    Internal(String),
}

impl RunFolderError {
    /// A failed `action` on `path`, for `map_err`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    fn class(&self) -> (ProblemKind, &'static str) {
        use ProblemKind::{Conflict, Internal, InvalidInput, Unsupported};
        match self {
            Self::File { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
            Self::Damaged { .. } => (InvalidInput, "file.damaged"),
            Self::NewerFormat { .. } => (Unsupported, "run.newer_format"),
            Self::NotARun(_) => (InvalidInput, "run.manifest_invalid"),
            Self::AlreadyRunning { .. } => (Conflict, "run.already_running"),
            Self::NotFinite { .. } => (InvalidInput, "run.not_finite"),
            Self::NoSuchStage { .. } => (InvalidInput, "request.value"),
            Self::StageNotTrained { .. } => (Conflict, "run.stage_not_trained"),
            Self::Platform(_) | Self::Internal(_) => (Internal, "internal"),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File { source, .. } if FileFault::of(source) == FileFault::DiskFull => {
                String::from("free some space and try again; a run goes on from its last checkpoint")
            }
            Self::Damaged { .. } => String::from(
                "put back a copy of the file from before, or move the folder that it is in out of the project",
            ),
            Self::NewerFormat { written_by, .. } => {
                format!("use greentune {written_by} or newer for this run")
            }
            Self::NotFinite { .. } => String::from(
                "training has diverged: lower the learning rate, and check the data of the last steps",
            ),
            _ => return None,
        })
    }

    /// Operations that help.
    fn suggestions(&self) -> Vec<Suggestion> {
        match self {
            Self::AlreadyRunning { run_id, .. } => vec![
                Suggestion::new("follow it", "monitor_training_progress").with("run_id", &**run_id),
                Suggestion::new("end it", "cancel_training").with("run_id", &**run_id),
            ],
            Self::StageNotTrained { run_id, status: RunStatus::Running | RunStatus::Queued, .. } => {
                vec![Suggestion::new("wait for its end", "follow_events").with("run_id", &**run_id)]
            }
            Self::StageNotTrained {
                run_id,
                status: RunStatus::Cancelled | RunStatus::Failed | RunStatus::Interrupted,
                ..
            } => vec![
                Suggestion::new("go on from its last checkpoint", "resume_training")
                    .with("run_id", &**run_id),
            ],
            Self::StageNotTrained { run_id, stage, .. } => vec![
                Suggestion::new("train it", "start_training").with("run_id", &**run_id).with("stage", *stage),
            ],
            _ => Vec::new(),
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Damaged { path, .. } | Self::NewerFormat { path, .. } => {
                Some(Location { file: Some(path.clone()), ..Location::default() })
            }
            Self::NoSuchStage { .. } => {
                Some(Location { key: Some(String::from("stage")), ..Location::default() })
            }
            _ => None,
        }
    }
}

impl Diagnostic for RunFolderError {
    fn problem(&self) -> Problem {
        if let Self::Platform(problem) = self {
            return (**problem).clone();
        }
        let (kind, code) = self.class();
        let mut problem = Problem::new(kind, code, self.to_string());
        problem.hint = self.hint();
        problem.suggestions = self.suggestions();
        problem.location = self.location();
        problem
    }
}

/// Where a stage stands that is not trained.
fn not_trained(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "still being trained",
        RunStatus::Queued => "not trained yet: its run is under way",
        RunStatus::Cancelled => "not trained to its end: its run was cancelled",
        RunStatus::Interrupted => "not trained to its end: its run was interrupted",
        RunStatus::Failed => "not trained to its end: its run failed",
        RunStatus::NotStarted | RunStatus::Completed => "not trained",
    }
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}
