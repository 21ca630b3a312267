use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_core_config::{Diagnostic, Location, Problem, ProblemKind, Suggestion};

use greentune_run_folder::RunFolderError;

use crate::Tracker;

/// What can go wrong between a run and a tracking server. Nothing of it ends training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackingError {
    /// A setting cannot be used.
    #[error("{key} is {found}; allowed is {allowed}")]
    Setting {
        /// Dotted key of the setting.
        key: &'static str,
        /// The value, without credentials.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Something is wrong with the run's folder.
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    /// The settings name no tracking server.
    #[error("the run is logged nowhere: mlflow.enabled is false and wandb.project is empty")]
    NothingConfigured,
    /// Another process sends this run.
    #[error("run {0} is being sent by another process")]
    Busy(String),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the run does not hold what it should.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No thread could be started.
    #[error("cannot start a thread for {tracker}: {source}")]
    Thread {
        /// The tracker.
        tracker: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The server does not answer.
    #[error("{address} does not answer: {reason}")]
    Unreachable {
        /// The server.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server reports that it cannot handle the request now.
    #[error("{address} answered {status} to {call}: {message}")]
    ServerUnavailable {
        /// The server.
        address: String,
        /// HTTP status: 408, 429 or from 500.
        status: u16,
        /// What was asked.
        call: String,
        /// What it said.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The credentials are missing or refused.
    #[error("{address} refused {call} with {status}: {message}")]
    Refused {
        /// What kind of server.
        tracker: Tracker,
        /// The server.
        address: String,
        /// HTTP status: 401 or 403.
        status: u16,
        /// What was asked.
        call: String,
        /// What it said.
        message: String,
    },
    /// The server refuses to answer without credentials, which it does not get: it is not the user who set its address.
    #[error(
        "{address} refused {call} with {status}; it gets no credentials, because it is not the user who set it"
    )]
    Withheld {
        /// The server.
        address: String,
        /// HTTP status: 401 or 403.
        status: u16,
        /// What was asked.
        call: String,
    },
    /// The server sends elsewhere.
    #[error("{address} redirects {call} to {to}")]
    Redirected {
        /// What kind of server.
        tracker: Tracker,
        /// The server.
        address: String,
        /// What was asked.
        call: String,
        /// Where it sends, without query.
        to: String,
    },
    /// Something else than the tracker answers.
    #[error("{address} is no server of {tracker}: {call} was answered with {found}")]
    NotATracker {
        /// What was looked for.
        tracker: Tracker,
        /// The server.
        address: String,
        /// What was asked.
        call: String,
        /// What came.
        found: String,
    },
    /// The server understood and said no.
    #[error("{address} rejected {call} with {code}: {message}")]
    Rejected {
        /// The server.
        address: String,
        /// What was asked.
        call: String,
        /// Its error code: MLflow's, such as `INVALID_PARAMETER_VALUE`; else HTTP's, or `graphql`.
        code: String,
        /// What it said.
        message: String,
    },
    /// The experiment or the run lies in the server's trash.
    #[error("{what} is deleted on {address}")]
    Deleted {
        /// The server.
        address: String,
        /// Which one.
        what: String,
        /// The command that brings it back.
        restore: String,
    },
    /// Files cannot be sent to where the server keeps them.
    #[error("the server keeps artifacts at {uri}, where greentune cannot write")]
    ArtifactStore {
        /// The run's artifact URI.
        uri: String,
    },
    /// Part of a run was not sent when it ended.
    #[error("{left} events of run {run_id} are not sent to {tracker} yet{reason}")]
    NotSent {
        /// The run.
        run_id: String,
        /// The tracker.
        tracker: &'static str,
        /// How many.
        left: u64,
        /// `: ` and why, where it is known.
        reason: String,
    },
}

impl TrackingError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// How long the server asks to wait before the next call.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ServerUnavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same may succeed a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::ServerUnavailable { .. })
    }
}

impl Diagnostic for TrackingError {
    fn problem(&self) -> Problem {
        use ProblemKind as Kind;
        let (kind, code, hint) = match self {
            Self::RunFolder(error) => return error.problem(),
            Self::Setting { .. } => (Kind::InvalidInput, "tracking.setting", None),
            Self::NothingConfigured => (
                Kind::InvalidInput,
                "tracking.nothing_configured",
                Some("set mlflow.enabled = true or wandb.project"),
            ),
            Self::Busy(_) => {
                (Kind::Conflict, "tracking.busy", Some("a worker that trains the run sends it by itself"))
            }
            Self::File { path, source, .. } => {
                let location = Location { file: Some(path.clone()), ..Location::default() };
                return Problem::of_file(source, self.to_string()).at(location);
            }
            Self::Damaged { .. } => (
                Kind::InvalidInput,
                "tracking.damaged_file",
                Some("a file below tracking/ may be removed: the run is then sent from its first event"),
            ),
            Self::Thread { .. } => (Kind::Unavailable, "tracking.thread", None),
            Self::Unreachable { .. } => (
                Kind::Unavailable,
                "tracking.unreachable",
                Some(
                    "nothing is lost: events.jsonl keeps every figure, and what is missing is sent when the server is back",
                ),
            ),
            Self::ServerUnavailable { status: 429, .. } => (Kind::RateLimited, "tracking.rate_limited", None),
            Self::ServerUnavailable { .. } => {
                (Kind::Unavailable, "tracking.server_error", Some("the server's own log says more"))
            }
            Self::Refused { tracker, .. } => {
                (Kind::Credentials, "tracking.refused", Some(tracker.credentials_hint()))
            }
            Self::Withheld { .. } => (
                Kind::Credentials,
                "tracking.token_withheld",
                Some(
                    "where it is yours, set MLFLOW_TRACKING_URI to it, or name its host in GREENTUNE_ALLOWED_HOSTS",
                ),
            ),
            Self::Redirected { tracker, .. } => {
                let problem = Problem::new(Kind::InvalidInput, "tracking.redirected", self.to_string());
                return problem
                    .with_hint(format!("set {} to where the server really is", tracker.address_key()));
            }
            Self::NotATracker { tracker, .. } => {
                let code = match tracker {
                    Tracker::Mlflow => "tracking.not_mlflow",
                    Tracker::Wandb => "tracking.not_wandb",
                };
                let key = tracker.address_key();
                return Problem::new(Kind::InvalidInput, code, self.to_string())
                    .with_hint(format!("check {key}; a proxy or a page to log in may stand in between"));
            }
            Self::Rejected { .. } => (Kind::InvalidInput, "tracking.rejected", None),
            Self::Deleted { restore, .. } => {
                let problem = Problem::new(Kind::Conflict, "tracking.deleted", self.to_string());
                return problem.with_hint(format!("bring it back: {restore}"));
            }
            Self::ArtifactStore { .. } => (
                Kind::Unsupported,
                "tracking.artifact_store",
                Some(
                    "start the server with --artifacts-destination, so that it takes files itself, or name its folder in GREENTUNE_ALLOWED_DIRS; figures are sent all the same",
                ),
            ),
            Self::NotSent { run_id, .. } => {
                let problem = Problem::new(Kind::Unavailable, "tracking.not_sent", self.to_string());
                return problem.suggesting(
                    Suggestion::new("send the rest later", "sync_tracking").with("run_id", run_id.as_str()),
                );
            }
        };
        let mut problem = Problem::new(kind, code, self.to_string());
        problem.hint = hint.map(String::from);
        match self {
            Self::Setting { key, .. } => problem.at_key(*key),
            Self::Damaged { path, .. } => {
                problem.at(Location { file: Some(path.clone()), ..Location::default() })
            }
            _ => problem,
        }
    }
}
