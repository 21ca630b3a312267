//! Every row of emissions of a project.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use greentune_carbon::{
    aggregate::files_of_project,
    list::{EmissionsTable, table},
};
use greentune_core_config::layout::ProjectLayout;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, reach::Access};

/// Ask for every row that was metered in a project, or in files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListEmissions {
    /// Path of the project; the one of the current folder when absent, or where that is none every known project.
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
            let here = || self.open_project(Path::new("."));
            return match project.map(|project| self.open_project(project)) {
                Some(named) => Ok(files_of_project(&named?)),
                None => here().map(|project| files_of_project(&project)).or_else(|_| self.known_emissions()),
            };
        }
        files.iter().map(|file| self.allowed(project, file, Access::Read)).collect()
    }

    /// Where the emissions of all projects in the index are.
    fn known_emissions(&self) -> Result<Vec<PathBuf>> {
        let may_be_read = self.allowed_roots();
        let runs = self.job_store()?.all()?;
        let projects: BTreeSet<PathBuf> = runs.iter().map(|run| run.project().root().to_owned()).collect();
        let projects = projects.into_iter().filter(|root| may_be_read.contain_folder(root));
        Ok(projects.flat_map(|root| files_of_project(&ProjectLayout::new(root))).collect())
    }
}
