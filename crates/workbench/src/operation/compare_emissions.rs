//! Energy and emissions of runs beside each other.

use std::path::PathBuf;

use greentune_carbon::compare::{EmissionsComparison, compare};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Compare the emissions of runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CompareEmissions {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Ids of two or more runs; differences are to the first.
    pub run_ids: Vec<String>,
}

impl Workbench {
    /// Energy, emissions and time of each run with bounds, and the difference to the first with its caveats.
    ///
    /// Errors: fewer than two runs; a run is unknown, or nothing was metered of it.
    pub async fn compare_emissions(&self, request: CompareEmissions) -> Result<EmissionsComparison> {
        self.blocking(move |workbench| {
            if request.run_ids.len() < 2 {
                return Err(WorkbenchError::InvalidValue {
                    key: "run_ids",
                    found: format!("{} run(s)", request.run_ids.len()),
                    allowed: String::from("two or more ids of runs"),
                });
            }
            let find = |run_id: &String| workbench.find_run(request.project_path.as_deref(), run_id);
            let runs = request.run_ids.iter().map(find).collect::<Result<Vec<_>>>()?;
            compare(&runs).map_err(WorkbenchError::reported)
        })
        .await
    }
}
