//! Energy and emissions of all runs of a project.

use std::path::PathBuf;

use greentune_carbon::aggregate::{AggregateEmissions, aggregate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::get_emissions_summary::factors;
use crate::{Result, Workbench, WorkbenchError};

/// Ask for the emissions of all runs of a project.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetAggregateEmissions {
    /// Path of the project.
    pub project_path: PathBuf,
}

impl Workbench {
    /// Adds up what the runs of the project left in `emissions/`; a file that cannot be read is named and left out.
    ///
    /// Errors: there is no project; its file of equivalents is not one.
    pub async fn get_aggregate_emissions(
        &self,
        request: GetAggregateEmissions,
    ) -> Result<AggregateEmissions> {
        self.blocking(move |workbench| {
            let project = workbench.open_project(&request.project_path)?;
            let settings = workbench.resolve_settings(Some(&project), None)?.settings;
            let factors = factors(settings.carbon.equivalences_file.as_deref())?;
            aggregate(&project.emissions(), &factors).map_err(WorkbenchError::reported)
        })
        .await
    }
}
