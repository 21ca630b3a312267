//! What can go wrong in the service layer.

use std::{io, path::PathBuf};

use greentune_core_config::{
    Diagnostic, FileFault, Location, Problem, ProblemKind, Suggestion, manifest::RunStatus,
    model::ModelConfigError, settings::ModelType,
};
use greentune_reports::ReportError;
use greentune_run_folder::RunFolderError;

/// Result of a workbench operation.
pub type Result<T, E = WorkbenchError> = std::result::Result<T, E>;

/// What can go wrong in the service layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkbenchError {
    /// A problem that another crate or a worker reported.
    #[error("{0}")]
    Reported(Box<Problem>),
    /// Something is wrong with a run's folder.
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    /// A run cannot be reported on.
    #[error(transparent)]
    Report(#[from] ReportError),
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
    /// No project at a path.
    #[error("no project at {}: config/fine_tuning_config.toml is missing there", .0.display())]
    NotAProject(PathBuf),
    /// A path that should lie in the project and does not.
    #[error("{} lies outside the project {}", path.display(), project.display())]
    OutsideProject {
        /// The path as given.
        path: PathBuf,
        /// The project.
        project: PathBuf,
    },
    /// A path outside the folders that requests may touch.
    #[error("{} lies outside the folders that may be used: {}", path.display(), list(roots))]
    OutsideAllowedRoots {
        /// The path as given.
        path: PathBuf,
        /// The folders that may be used.
        roots: Vec<PathBuf>,
    },
    /// A file that is never used because of its name.
    #[error("{} is not used: files of that name hold credentials, or are obeyed by other programs", path.display())]
    RefusedByName {
        /// The path as given.
        path: PathBuf,
    },
    /// A named pipe, a device or a socket where a file should be: reading it may never end.
    #[error("{} is no file: it is a named pipe, a device or a socket", path.display())]
    SpecialFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A file that would be replaced and is not greentune's.
    #[error("{} is there, and greentune did not write it or it was changed since: it is not replaced", path.display())]
    NotWrittenHere {
        /// The file.
        path: PathBuf,
    },
    /// An address that a request brings and that the user has not named.
    #[error("{key} is a server that the user has not allowed")]
    AddressNotAllowed {
        /// The setting.
        key: &'static str,
    },
    /// A file that a request names does not exist or is not a file.
    #[error("no file at {}", path.display())]
    MissingFile {
        /// The request's field.
        key: String,
        /// The path as resolved.
        path: PathBuf,
        /// Whether it was given relative to the project.
        of_project: bool,
    },
    /// A request field with a value that is not allowed.
    #[error("found {found}, allowed: {allowed}")]
    InvalidValue {
        /// The request's field.
        key: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// No base model where the settings say.
    #[error("no base model{}: {reason}", place(path))]
    BaseModelMissing {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A base model that cannot be trained, or whose `config.json` is wrong.
    #[error("{}", error.message)]
    BaseModelConfig {
        /// The model's `config.json`.
        path: PathBuf,
        /// What is wrong.
        error: ModelConfigError,
    },
    /// A base model of another family than the settings say.
    #[error("base_model.type is {family}; {} describes a model of the architecture {found}", path.display())]
    BaseModelFamily {
        /// The model's `config.json`.
        path: PathBuf,
        /// Its architecture.
        found: &'static str,
        /// What the settings say.
        family: ModelType,
    },
    /// A base model that is not the one that a run was trained on.
    #[error("{} is not what the run was trained on: its SHA-256 is not the one that the run recorded", path.display())]
    BaseModelChanged {
        /// The file of the base model.
        path: PathBuf,
    },
    /// A command that was to score generated texts gave no scores.
    #[error("the metric `{command}` failed: {reason}")]
    CustomMetric {
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
    /// Something that this version cannot do.
    #[error("{what} is not available yet")]
    NotAvailableYet {
        /// What was asked for.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// No run with that id.
    #[error("no run {run_id:?}{}", nearest_words(nearest))]
    UnknownRun {
        /// The id as given.
        run_id: String,
        /// Ids that look like it.
        nearest: Vec<String>,
    },
    /// Several projects have a run with that id.
    #[error("the run {run_id:?} exists in several projects: {}", list(projects))]
    AmbiguousRun {
        /// The id as given.
        run_id: String,
        /// The projects.
        projects: Vec<PathBuf>,
    },
    /// A name, or the beginning of one, that several runs have.
    #[error("{named:?} names several runs: {}", some_of(candidates))]
    AmbiguousName {
        /// The name as given.
        named: String,
        /// Ids of the runs, the newest first.
        candidates: Vec<String>,
    },
    /// The run's work is done.
    #[error("the run {0} is completed")]
    AlreadyCompleted(String),
    /// The run must be completed for what was asked.
    #[error("the run {run_id} is {}, not completed", status.to_string().replace('_', " "))]
    NotCompleted {
        /// The run.
        run_id: String,
        /// Where it stands.
        status: RunStatus,
    },
    /// The run was started, and must not have been for what was asked.
    #[error("the run {run_id} was started and is {}", status.to_string().replace('_', " "))]
    AlreadyStarted {
        /// The run.
        run_id: String,
        /// Where it stands.
        status: RunStatus,
    },
    /// The run has not been started.
    #[error("the run {0} has not been started")]
    NotStarted(String),
    /// Runs that cannot be compared.
    #[error("cannot compare: {reason}")]
    CannotCompare {
        /// Why not.
        reason: String,
        /// What can be compared.
        instead: String,
    },
    /// A worker that could not be started.
    #[error("cannot start the worker {command}: {source}")]
    WorkerStart {
        /// The program.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A worker that ended without an answer or a terminal event.
    #[error("the worker ended unexpectedly ({status}); the end of its log:\n{log_tail}")]
    WorkerDied {
        /// The run that it trained; `None` when it did something else.
        run_id: Option<String>,
        /// Exit status.
        status: String,
        /// End of what it wrote.
        log_tail: String,
    },
    /// The index of runs could not be used.
    #[error("cannot use the index of runs {}: {source}", path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Where the index of runs should lie is something else.
    #[error("{} is {what}, not an index of runs; it was left as it is", path.display())]
    NotAnIndex {
        /// The path that was given.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
    },
    /// The run ended on request.
    #[error("the run {0} was cancelled")]
    Cancelled(String),
    /// The run has used what its budget allows.
    #[error("{message}")]
    BudgetSpent {
        /// The run.
        run_id: String,
        /// What it used, and of what budget.
        message: String,
    },
    /// No service is set up that forecasts carbon intensity.
    #[error("no service is asked for forecasts")]
    NoLiveSource,
    /// A forecast that ends before the work would.
    #[error("the forecast does not reach over {hours} hours")]
    ShortForecast {
        /// Hours that were asked for.
        hours: f64,
    },
    /// A defect of greentune.
    #[error("{0}")]
    Internal(String),
}

impl WorkbenchError {
    /// A failed `action` on `path`, for `map_err`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// The problem of another crate's error, for `map_err`.
    #[allow(clippy::needless_pass_by_value)] // the shape that `map_err` wants
    pub(crate) fn reported<E: Diagnostic>(error: E) -> Self {
        Self::from(error.problem())
    }

    /// One error for all of `problems`, of which there is at least one.
    pub(crate) fn all(code: &'static str, message: &str, mut problems: Vec<Problem>) -> Self {
        match problems.len() {
            1 => Self::from(problems.remove(0)),
            count => {
                let kind = problems.first().map_or(ProblemKind::Internal, |problem| problem.kind);
                let mut all = Problem::new(kind, code, format!("{count} {message}"));
                all.problems = problems;
                Self::from(all)
            }
        }
    }
}

impl From<Problem> for WorkbenchError {
    fn from(problem: Problem) -> Self {
        Self::Reported(Box::new(problem))
    }
}

impl Diagnostic for WorkbenchError {
    fn problem(&self) -> Problem {
        match self {
            Self::Reported(problem) => return (**problem).clone(),
            Self::RunFolder(error) => return error.problem(),
            Self::Report(error) => return error.problem(),
            _ => {}
        }
        let (kind, code) = self.class();
        let mut problem = Problem::new(kind, code, self.to_string());
        problem.hint = self.hint();
        problem.suggestions = self.suggestions();
        problem.location = self.location();
        problem
    }
}

impl WorkbenchError {
    fn class(&self) -> (ProblemKind, &'static str) {
        use ProblemKind::{
            Cancelled, Conflict, Credentials, Internal, InvalidInput, NotFound, Unavailable, Unsupported,
        };
        match self {
            Self::File { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
            Self::NotAProject(_) => (NotFound, "project.missing"),
            Self::OutsideProject { .. } => (InvalidInput, "path.outside_project"),
            Self::OutsideAllowedRoots { .. } => (InvalidInput, "path.outside_roots"),
            Self::RefusedByName { .. } => (InvalidInput, "path.refused"),
            Self::SpecialFile { .. } => (InvalidInput, "path.no_file"),
            Self::NotWrittenHere { .. } => (Conflict, "path.not_greentunes"),
            Self::AddressNotAllowed { .. } => (InvalidInput, "address.not_allowed"),
            Self::MissingFile { .. } => (NotFound, "data.missing"),
            Self::InvalidValue { .. } => (InvalidInput, "request.value"),
            Self::BaseModelMissing { .. } => (NotFound, "model.missing"),
            Self::BaseModelConfig { error, .. } if error.is_unsupported() => (Unsupported, error.code),
            Self::BaseModelConfig { error, .. } => (InvalidInput, error.code),
            Self::BaseModelFamily { .. } => (InvalidInput, "model.family"),
            Self::BaseModelChanged { .. } => (Conflict, "model.changed"),
            Self::CustomMetric { .. } => (InvalidInput, "evaluation.metric_failed"),
            Self::NotAvailableYet { .. } => (Unsupported, "feature.unavailable"),
            Self::UnknownRun { .. } => (NotFound, "run.unknown"),
            Self::AmbiguousRun { .. } | Self::AmbiguousName { .. } => (Conflict, "run.ambiguous"),
            Self::AlreadyCompleted(_) => (Conflict, "run.completed"),
            Self::NotCompleted { .. } => (Conflict, "run.not_completed"),
            Self::AlreadyStarted { .. } => (Conflict, "run.started"),
            Self::NotStarted(_) => (Conflict, "run.not_started"),
            Self::CannotCompare { .. } => (InvalidInput, "compare.not_comparable"),
            Self::BudgetSpent { .. } => (Conflict, "carbon.budget_spent"),
            Self::WorkerStart { .. } => (Internal, "worker.start"),
            Self::WorkerDied { .. } => (Internal, "worker.died"),
            Self::Store { source, .. } if is_disk_full(source) => {
                (FileFault::DiskFull.kind(), FileFault::DiskFull.code())
            }
            Self::Store { .. } => (Unavailable, "store.unusable"),
            Self::NotAnIndex { .. } => (InvalidInput, "store.not_an_index"),
            Self::Cancelled(_) => (Cancelled, "run.cancelled"),
            Self::NoLiveSource => (Credentials, "carbon.no_live_source"),
            Self::ShortForecast { .. } => (Unavailable, "carbon.short_forecast"),
            Self::Reported(_) | Self::RunFolder(_) | Self::Report(_) | Self::Internal(_) => {
                (Internal, "internal")
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::File { source, .. } if FileFault::of(source) == FileFault::DiskFull => {
                "free some space and try again; a run continues from its last checkpoint"
            }
            Self::NotAProject(_) => "or name its folder",
            Self::OutsideProject { .. } => {
                "put the file into the project, for example into data/raw, or give its absolute path"
            }
            Self::OutsideAllowedRoots { .. } => {
                "use a path in one of these folders, or have the user start the server with --allow-dir FOLDER"
            }
            Self::RefusedByName { .. } => {
                "name another file; SECURITY.md lists these names, which a person's own command line may use"
            }
            Self::AddressNotAllowed { .. } => {
                "leave it out, or have the user name its host in GREENTUNE_ALLOWED_HOSTS (host or host:port) or the address in their own configuration file"
            }
            Self::SpecialFile { .. } => "remove it, or name a file",
            Self::NotWrittenHere { .. } => {
                "name a path where nothing is, or have the user move the file away"
            }
            Self::MissingFile { of_project: true, .. } => {
                "relative paths are taken from the project's folder"
            }
            Self::BaseModelMissing { .. } => {
                "set base_model.local_path to a folder with config.json, *.safetensors and tokenizer.json, or \
                 base_model.model_id alone to a model of the Hugging Face Hub"
            }
            Self::BaseModelConfig { error, .. } if error.code == "model.quantised" => {
                "use the model from before it was quantised"
            }
            Self::BaseModelConfig { .. } => {
                "choose a base model of a supported architecture, with its unchanged config.json"
            }
            Self::BaseModelFamily { .. } => "set base_model.type to its family, or to custom",
            Self::BaseModelChanged { .. } => {
                "put the base model back as it was, or export the adapters alone; with another base they would be \
                 another model"
            }
            Self::NotAvailableYet { instead, .. } | Self::CannotCompare { instead, .. } => instead,
            Self::CustomMetric { .. } => {
                "it reads lines {\"prompt\", \"reference\", \"output\"} and writes a line {\"score\": NUMBER} for each"
            }
            Self::AmbiguousRun { .. } => "say which project is meant",
            Self::AmbiguousName { .. } => "give the id of the one that is meant; the newest is first",
            Self::AlreadyCompleted(_) => "evaluate or export it, or configure a new run to train again",
            Self::AlreadyStarted { .. } => {
                "its settings are those that it trains with: configure a new run and tune that"
            }
            Self::Store { source, .. } if is_disk_full(source) => FileFault::DiskFull.hint(),
            Self::Store { .. } => "the index can be deleted: it is rebuilt from the run folders",
            Self::NotAnIndex { .. } => {
                "set GREENTUNE_STATE_URL to sqlite:PATH of a file that greentune may make, or leave it unset"
            }
            Self::BudgetSpent { .. } => "nothing is lost",
            Self::NoLiveSource => {
                "set ELECTRICITY_MAPS_TOKEN (docs/carbon-intensity.md), and carbon.offline_mode = false"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Operations that help.
    fn suggestions(&self) -> Vec<Suggestion> {
        let of = |purpose: &str, operation: &str, run_id: &str| {
            vec![Suggestion::new(purpose, operation).with("run_id", run_id)]
        };
        match self {
            Self::NotAProject(_) => {
                vec![Suggestion::new("make one", "generate_fine_tuning_project").with("project_name", "NAME")]
            }
            Self::UnknownRun { .. } => vec![Suggestion::new("see every run that is known", "list_runs")],
            Self::NotCompleted { run_id, status } => match status {
                RunStatus::NotStarted => of("train it first", "start_training", run_id),
                RunStatus::Queued | RunStatus::Running => of("wait for its end", "follow_events", run_id),
                _ => of("train it to its end", "resume_training", run_id),
            },
            Self::NotStarted(run_id) => of("start it", "start_training", run_id),
            Self::WorkerDied { run_id: Some(run_id), .. } => {
                of("go on from the last checkpoint", "resume_training", run_id)
            }
            Self::BudgetSpent { run_id, .. } => [("budget_kg", "KG"), ("budget_kwh", "KWH")]
                .map(|(budget, value)| {
                    let purpose = format!("go on from the last checkpoint by a larger {budget}");
                    Suggestion::new(purpose, "resume_training").with("run_id", &**run_id).with(budget, value)
                })
                .into(),
            Self::Cancelled(run_id) => of("go on", "resume_training", run_id),
            _ => Vec::new(),
        }
    }

    fn location(&self) -> Option<Location> {
        let (file, key) = match self {
            Self::MissingFile { key, .. } => (None, Some(key.clone())),
            Self::InvalidValue { key, .. } => (None, Some((*key).to_owned())),
            Self::BaseModelConfig { path, .. } => (Some(path.clone()), None),
            _ => return None,
        };
        Some(Location { file, line: None, key })
    }
}

/// Whether SQLite found no room, for its file or for the one that it shares between processes.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == rusqlite::ErrorCode::DiskFull
            || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    })
}

fn place(path: &std::path::Path) -> String {
    if path.as_os_str().is_empty() { String::new() } else { format!(" at {}", path.display()) }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The first ten of `ids`.
fn some_of(ids: &[String]) -> String {
    const MOST: usize = 10;
    let first = ids.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = ids.len().saturating_sub(MOST);
    if more > 0 { format!("{first} and {more} more") } else { first }
}

fn nearest_words(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; the nearest are {}", nearest.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_without_room_says_that_the_disk_is_full() {
        use rusqlite::ffi;
        for (code, expected) in [
            (ffi::SQLITE_FULL, "disk.full"),
            (ffi::SQLITE_IOERR_SHMSIZE, "disk.full"),
            (ffi::SQLITE_IOERR_READ, "store.unusable"),
        ] {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let problem = WorkbenchError::Store { path: "state.db".into(), source }.problem();
            assert_eq!((problem.kind, &*problem.code), (ProblemKind::Unavailable, expected));
        }
    }
}
