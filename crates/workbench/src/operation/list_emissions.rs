//! Every row of emissions of a project.

use std::path::{Path, PathBuf};

use greentune_carbon::{
    aggregate::files_of_project,
    list::{EmissionsTable, table},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, reach::Access};

/// Ask for every row that was metered in a project, or in files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListEmissions {
    /// Path of the project.
    pub project_path: Option<PathBuf>,
    /// CodeCarbon files or folders to read instead.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

impl Workbench {
    /// Reads the rows of `emissions/` of the project and of its `emissions.csv`, or of `files`.
    ///
    /// Errors: there is no project; a file is missing.
    pub async fn list_emissions(&self, request: ListEmissions) -> Result<EmissionsTable> {
        self.blocking(move |workbench| {
            let project = request.project_path.as_deref();
            let files = workbench.emissions_files(project, &request.files)?;
            table(&files).map_err(WorkbenchError::reported)
        })
        .await
    }

    /// Where rows of emissions are: in `files`, or wherever the project has them.
    pub(crate) fn emissions_files(&self, project: Option<&Path>, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
        if files.is_empty() {
            let project = self.open_project(project.unwrap_or_else(|| Path::new(".")))?;
            return Ok(files_of_project(&project));
        }
        files.iter().map(|file| self.allowed(project, file, Access::Read)).collect()
    }
}
