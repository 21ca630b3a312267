//! The runs of a project, or all that the index knows.

use std::path::PathBuf;

use greentune_core_config::layout::RunLayout;
use greentune_run_folder::{RunView, Stamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, RunSummary, Workbench, job_store::runs_of};

/// Runs that are listed when the request does not say.
const LIMIT: u64 = 50;

/// List runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRuns {
    /// Path of the project; every run in the index when absent.
    pub project_path: Option<PathBuf>,
    /// Runs to list at most; 50 when absent.
    pub limit: Option<u64>,
}

impl ListRuns {
    /// A request for all runs of a project, or of the index.
    pub fn all(project_path: Option<PathBuf>) -> Self {
        Self { project_path, limit: Some(u64::MAX) }
    }
}

/// The runs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListRunsResponse {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Older runs that are not listed.
    #[serde(default)]
    pub more: u64,
    /// Run folders that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Workbench {
    /// Lists the runs of a project, or every run in the index.
    pub async fn list_runs(&self, request: ListRuns) -> Result<ListRunsResponse> {
        self.blocking(move |workbench| workbench.list_runs_now(&request)).await
    }

    fn list_runs_now(&self, request: &ListRuns) -> Result<ListRunsResponse> {
        let (layouts, store) = if let Some(path) = &request.project_path {
            // Without an index the runs of a project are still listed.
            (runs_of(&self.open_project(path)?), self.job_store().ok())
        } else {
            let store = self.job_store()?;
            (store.all()?, Some(store))
        };
        let kept = store.as_ref().and_then(|store| store.summaries().ok()).unwrap_or_default();
        let mut may_be_read = self.allowed_roots().of_siblings();
        let mut response = ListRunsResponse { runs: Vec::new(), more: 0, unreadable: Vec::new() };
        let mut new = Vec::new();
        for layout in layouts.into_iter().filter(|layout| may_be_read.contain_folder(layout.folder())) {
            let folder = layout.folder().to_string_lossy().into_owned();
            let stamp = stamp_of(&layout);
            let summary = kept.get(&folder).filter(|(kept, _)| *kept == stamp);
            // What a worker is at changes without its files: its end.
            let summary = summary.and_then(|(_, summary)| serde_json::from_str::<RunSummary>(summary).ok());
            if let Some(summary) = summary.filter(|summary| !summary.status.is_active()) {
                response.runs.push(summary);
                continue;
            }
            match self.look(&layout, RunView::summary) {
                Ok(summary) => {
                    new.push((layout, stamp, summary.clone()));
                    response.runs.push(summary);
                }
                Err(error) => response.unreadable.push(error.to_string()),
            }
        }
        if let Some(store) = store.filter(|_| !new.is_empty()) {
            // They are read again the next time where they cannot be kept.
            let _ = store.keep_summaries(&new);
        }
        response.runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.run_id.cmp(&a.run_id)));
        let listed = usize::try_from(request.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
        response.more = response.runs.len().saturating_sub(listed) as u64;
        response.runs.truncate(listed);
        Ok(response)
    }
}

/// Tells whether the files that a summary rests on have changed; taken before they are read.
fn stamp_of(layout: &RunLayout) -> String {
    let stamp = |path| Stamp::of(path).map(|stamp| stamp.to_string()).unwrap_or_default();
    format!("{} {}", stamp(&layout.manifest()), stamp(&layout.events()))
}
