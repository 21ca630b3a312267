use std::path::{Path, PathBuf};

use greentune_core_config::{Diagnostic, Location, Problem, ProblemKind, Suggestion};

/// What can go wrong with metering and its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarbonError {
    /// A setting of the meter is out of range.
    #[error("{key} is {found}; allowed is {allowed}")]
    Setting {
        /// Dotted key of the setting.
        key: &'static str,
        /// The value.
        found: String,
        /// The range.
        allowed: &'static str,
    },
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
    /// A file of emissions is not what it should be.
    #[error("{message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: Option<u64>,
        /// What was found and what is allowed.
        message: String,
    },
    /// A run has no emissions files.
    #[error("no emissions data found for run {run_id} in {folder}", folder = folder.display())]
    NoEmissions {
        /// The run.
        run_id: String,
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// Files that were named hold no run.
    #[error("no emissions in {}{}", names(paths), because(reasons))]
    NoRuns {
        /// What was named.
        paths: Vec<PathBuf>,
        /// Why files were left out.
        reasons: Vec<String>,
    },
    /// A place in the settings is not known.
    #[error("{message}")]
    UnknownPlace {
        /// Dotted key of the setting.
        key: &'static str,
        /// Stable code, such as `carbon.unknown_country`.
        code: &'static str,
        /// What was found and what is allowed.
        message: String,
        /// The nearest names.
        hint: String,
    },
    /// The service for live carbon intensity gave no figure.
    #[error("no live carbon intensity: {message}")]
    Live {
        /// Who has to act.
        kind: ProblemKind,
        /// Why.
        message: String,
    },
    /// A chart cannot be drawn.
    #[cfg(feature = "plots")]
    #[error("cannot draw the chart: {0}")]
    Plot(String),
    /// A row cannot be set against a wall meter.
    #[error("{path} cannot calibrate: {message}", path = path.display())]
    NotCalibrating {
        /// The file of the row.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// A program to be metered cannot be run.
    #[error("cannot run {program}: {source}")]
    Program {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The sampling thread could not be started.
    #[error("cannot start the sampling thread: {0}")]
    Thread(std::io::Error),
}

impl CarbonError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn malformed(path: &Path, line: Option<u64>, message: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), line, message: message.into() }
    }
}

impl Diagnostic for CarbonError {
    fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::Setting { key, .. } => {
                Problem::new(ProblemKind::InvalidInput, "carbon.setting", message).at_key(*key)
            }
            Self::File { path, source, .. } => Problem::of_file(source, message)
                .at(Location { file: Some(path.clone()), ..Location::default() }),
            Self::Malformed { path, line, .. } => {
                Problem::new(ProblemKind::InvalidInput, "carbon.malformed_file", message)
                    .with_hint(remedy(path))
                    .at(Location { file: Some(path.clone()), line: *line, key: None })
            }
            Self::NoEmissions { .. } => Problem::new(ProblemKind::NotFound, "carbon.no_emissions", message)
                .with_hint("Emissions appear once a stage is being trained with carbon.enabled = true."),
            Self::NoRuns { .. } => Problem::new(ProblemKind::NotFound, "carbon.no_emissions", message).with_hint(
                "A file of emissions is CodeCarbon's CSV, with the columns duration, emissions and energy_consumed; of a \
                 folder every *_emissions.csv and emissions.csv is read.",
            ),
            Self::UnknownPlace { key, code, hint, .. } => {
                Problem::new(ProblemKind::InvalidInput, *code, message).with_hint(hint).at_key(*key)
            }
            Self::Live { kind, .. } => Problem::new(*kind, "carbon.live_intensity", message)
                .with_hint("docs/carbon-intensity.md says what each answer means."),
            #[cfg(feature = "plots")]
            Self::Plot(_) => Problem::new(ProblemKind::InvalidInput, "carbon.plot", message),
            Self::NotCalibrating { .. } => {
                Problem::new(ProblemKind::InvalidInput, "carbon.calibration", message)
                    .suggesting(
                        Suggestion::new("meter a span of the whole machine", "track_emissions")
                            .with("tracking_mode", "machine")
                            .with("command", vec!["COMMAND"]),
                    )
                    .with_hint("without carbon.calibration_file, and read the wall meter before and after.")
            }
            Self::Program { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Problem::new(ProblemKind::NotFound, "carbon.program", message)
                    .with_hint("Check its spelling; it is looked for in PATH, without a shell.")
            }
            Self::Program { .. } => Problem::new(ProblemKind::Unavailable, "carbon.program", message),
            Self::Thread(_) => Problem::new(ProblemKind::Unavailable, "carbon.thread", message)
                .with_hint("Raise the limit on threads of this user, or set carbon.enabled = false."),
        }
    }
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn because(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// What to do about a file that is not what it should be: the meter's own are written anew, others are the user's.
fn remedy(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".csv") || name.ends_with("_provenance.json") {
        "Move the file away; it is written anew when the stage is trained."
    } else {
        "Correct the file, or leave out the setting that names it."
    }
}
