//! What can go wrong when a project or a card is made.

use std::{io, path::PathBuf};

use greentune_core_config::{Diagnostic, FileFault, Problem, ProblemKind};

/// What can go wrong when a project or a card is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaffoldError {
    /// Something is where the project should go.
    #[error("{} exists and is not an empty folder; nothing was written", .0.display())]
    Exists(PathBuf),
    /// A file or folder could not be written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A template could not be rendered: a defect of greentune.
    #[error("cannot render a template: {0}")]
    Template(#[from] tera::Error),
    /// Settings that cannot be written as TOML: a defect of greentune.
    #[error("cannot write settings as TOML: {0}")]
    Toml(toml_edit::ser::Error),
    /// A settings file that cannot be changed.
    #[error("the project's settings cannot be changed: {0}")]
    Settings(String),
}

impl ScaffoldError {
    /// A failed `action` on `path`, for `map_err`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl Diagnostic for ScaffoldError {
    fn problem(&self) -> Problem {
        let (kind, code) = match self {
            Self::Exists(_) => (ProblemKind::Conflict, "project.exists"),
            Self::File { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
            Self::Template(_) | Self::Toml(_) => (ProblemKind::Internal, "scaffold.template"),
            Self::Settings(_) => (ProblemKind::InvalidInput, "config.syntax"),
        };
        let problem = Problem::new(kind, code, self.to_string());
        match self {
            Self::Exists(_) => problem.with_hint("choose another name or folder, or remove what is there"),
            Self::File { .. } => problem.with_hint("check that the folder can be written and has space"),
            Self::Settings(_) => problem.with_hint("correct config/fine_tuning_config.toml"),
            Self::Template(_) | Self::Toml(_) => problem,
        }
    }
}
