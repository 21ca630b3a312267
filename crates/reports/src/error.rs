//! What can go wrong when a run is reported on.

use greentune_carbon::CarbonError;
use greentune_core_config::{Diagnostic, Location, Problem, ProblemKind};
use greentune_run_folder::RunFolderError;
use greentune_scaffold::ScaffoldError;

/// Result of a report.
pub type Result<T, E = ReportError> = std::result::Result<T, E>;

/// What can go wrong when a run is reported on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Something is wrong with a run's folder, or it has no such trained stage.
    #[error(transparent)]
    RunFolder(#[from] RunFolderError),
    /// A file of emissions cannot be read.
    #[error(transparent)]
    Carbon(#[from] CarbonError),
    /// A card's template cannot be rendered: a defect of greentune.
    #[error(transparent)]
    Template(#[from] ScaffoldError),
    /// A run that cannot be the baseline of a card.
    #[error("baseline_run_id: found {found}, allowed: {allowed}")]
    NoBaseline {
        /// What was given.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A defect of greentune.
    #[error("{0}")]
    Internal(String),
}

impl Diagnostic for ReportError {
    fn problem(&self) -> Problem {
        match self {
            Self::RunFolder(error) => error.problem(),
            Self::Carbon(error) => error.problem(),
            Self::Template(error) => error.problem(),
            Self::NoBaseline { .. } => {
                let mut problem = Problem::new(ProblemKind::InvalidInput, "request.value", self.to_string());
                problem.location =
                    Some(Location { key: Some(String::from("baseline_run_id")), ..Location::default() });
                problem
            }
            Self::Internal(message) => Problem::new(ProblemKind::Internal, "internal", message.clone()),
        }
    }
}
