//! Energy and emissions of runs beside each other.

use std::path::PathBuf;

use greentune_carbon::compare::{EmissionsComparison, compare, compare_paths};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Compare the emissions of runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CompareEmissions {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Ids of two or more runs; differences are to the first. Or CodeCarbon files and folders of such files, as paths with
    /// a separator or an ending `.csv`: each is a side, and of a single one the runs in it are.
    pub run_ids: Vec<String>,
}

impl Workbench {
    /// Energy, emissions and time of each run with bounds, and the difference to the first with its caveats.
    ///
    /// Errors: fewer than two runs; a run is unknown, or nothing was metered of it.
    pub async fn compare_emissions(&self, request: CompareEmissions) -> Result<EmissionsComparison> {
        self.blocking(move |workbench| {
            let project = request.project_path.as_deref();
            let named = request.run_ids.iter().map(|name| workbench.emissions_path(project, name));
            let files: Vec<_> = named.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
            if !files.is_empty() {
                if files.len() < request.run_ids.len() {
                    return Err(WorkbenchError::InvalidValue {
                        key: "run_ids",
                        found: String::from("runs and files"),
                        allowed: String::from("ids of runs alone, or files alone"),
                    });
                }
                return compare_paths(&files).map_err(WorkbenchError::reported);
            }
            if request.run_ids.len() < 2 {
                return Err(WorkbenchError::InvalidValue {
                    key: "run_ids",
                    found: format!("{} run(s)", request.run_ids.len()),
                    allowed: String::from("two or more ids of runs"),
                });
            }
            let find = |run_id: &String| workbench.find_run(project, run_id);
            let runs = request.run_ids.iter().map(find).collect::<Result<Vec<_>>>()?;
            compare(&runs).map_err(WorkbenchError::reported)
        })
        .await
    }
}
