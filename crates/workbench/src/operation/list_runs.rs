//! The runs of a project, or all that the index knows.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, RunSummary, Workbench,
    job_store::{JobStore, runs_of},
    run::Run,
};

/// List runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRuns {
    /// Path of the project; every run in the index when absent.
    pub project_path: Option<PathBuf>,
}

/// The runs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListRunsResponse {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Run folders that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Workbench {
    /// Lists the runs of a project, or every run in the index.
    pub async fn list_runs(&self, request: ListRuns) -> Result<ListRunsResponse> {
        self.blocking(move |workbench| workbench.list_runs_now(&request)).await
    }

    fn list_runs_now(&self, request: &ListRuns) -> Result<ListRunsResponse> {
        let layouts = match &request.project_path {
            Some(path) => runs_of(&self.open_project(path)?),
            None => JobStore::open(self.config())?.all()?,
        };
        let mut response = ListRunsResponse { runs: Vec::new(), unreadable: Vec::new() };
        for layout in layouts {
            if self.check_roots(layout.folder(), layout.folder()).is_err() {
                continue;
            }
            match Run::read(layout) {
                Ok(run) => response.runs.push(run.summary()),
                Err(error) => response.unreadable.push(error.to_string()),
            }
        }
        response.runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.run_id.cmp(&a.run_id)));
        Ok(response)
    }
}
