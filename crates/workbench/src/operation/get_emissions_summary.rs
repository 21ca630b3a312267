//! Energy and emissions of a run, with equivalents and recommendations.

use std::path::PathBuf;

use greentune_carbon::{
    equivalence::EquivalenceTable,
    summary::{EmissionsSummary, summarize},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Ask for a run's emissions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetEmissionsSummary {
    /// Path of the project; the index of runs is asked when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
}

impl Workbench {
    /// Sums what the stages of the run left in `emissions/`.
    ///
    /// Errors: the run is unknown, or nothing was metered yet.
    pub async fn get_emissions_summary(&self, request: GetEmissionsSummary) -> Result<EmissionsSummary> {
        self.blocking(move |workbench| {
            let run = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            summarize(&run, &EquivalenceTable::default()).map_err(WorkbenchError::reported)
        })
        .await
    }
}
