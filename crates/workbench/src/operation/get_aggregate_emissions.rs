//! Energy and emissions of all runs of a project.

use std::path::{Path, PathBuf};

use greentune_carbon::aggregate::{AggregateEmissions, aggregate_paths};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, reach::Access};

/// Ask for the emissions of all runs of a project, or in files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetAggregateEmissions {
    /// Path of the project; the one of the current folder when absent, or where that is none every known project.
    pub project_path: Option<PathBuf>,
    /// CodeCarbon files or folders to read instead.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

impl Workbench {
    /// Adds up what runs and metered programs left in `emissions/` of the project and in its `emissions.csv`, or in `files`;
    /// a file that cannot be read is named and left out.
    ///
    /// Errors: there is no project; a file is missing; the project's file of equivalents is not one.
    pub async fn get_aggregate_emissions(
        &self,
        request: GetAggregateEmissions,
    ) -> Result<AggregateEmissions> {
        self.blocking(move |workbench| {
            let project = request.project_path.as_deref();
            let files = workbench.emissions_files(project, &request.files)?;
            let factors = workbench.factors_of(project)?;
            aggregate_paths(&files, &factors).map_err(WorkbenchError::reported)
        })
        .await
    }

    /// `path` of a request, relative to the project if there is one.
    pub(crate) fn allowed(&self, project: Option<&Path>, path: &Path, access: Access) -> Result<PathBuf> {
        match project {
            Some(project) => self.path_in(&self.open_project(project)?, path, access),
            None => self.reach(path, path, access),
        }
    }
}
