//! The runs of a project, or all that the index knows.

use std::{cmp::Reverse, path::PathBuf};

use greentune_core_config::layout::RunLayout;
use greentune_run_folder::{RunView, Stamp};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, RunSummary, Workbench,
    job_store::{KeptSummary, runs_of},
};

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
        let mut kept = store.as_ref().and_then(|store| store.summaries().ok()).unwrap_or_default();
        let mut may_be_read = self.allowed_roots().of_siblings();
        let mut response = ListRunsResponse { runs: Vec::new(), more: 0, unreadable: Vec::new() };
        let (mut found, mut new) = (Vec::new(), Vec::new());
        for layout in layouts.into_iter().filter(|layout| may_be_read.contain_folder(layout.folder())) {
            match kept.remove(layout.folder().to_string_lossy().as_ref()) {
                Some(kept) => found.push(Found::Kept(layout, kept)),
                None => match self.summary_now(&layout, None, &mut new) {
                    Ok(summary) => found.push(Found::Read(summary)),
                    Err(error) => response.unreadable.push(error.to_string()),
                },
            }
        }
        found.sort_by_cached_key(|run| Reverse(run.age()));
        let listed = usize::try_from(request.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
        response.more = found.len().saturating_sub(listed) as u64;
        // Files of older runs are not looked at.
        for run in found.into_iter().take(listed) {
            let summary = match run {
                Found::Read(summary) => Ok(summary),
                Found::Kept(layout, kept) => self.summary_now(&layout, Some(&kept), &mut new),
            };
            match summary {
                Ok(summary) => response.runs.push(summary),
                Err(error) => response.unreadable.push(error.to_string()),
            }
        }
        if let Some(store) = store.filter(|_| !new.is_empty()) {
            // They are read again the next time where they cannot be kept.
            let _ = store.keep_summaries(&new);
        }
        Ok(response)
    }

    /// The run at `layout` in short: as it was kept, when its files are still the same, else as they are, for `new`.
    fn summary_now(
        &self,
        layout: &RunLayout,
        kept: Option<&KeptSummary>,
        new: &mut Vec<(RunLayout, String, RunSummary)>,
    ) -> Result<RunSummary> {
        let stamp = stamp_of(layout);
        let kept = kept.filter(|kept| kept.stamp == stamp);
        let kept = kept.and_then(|kept| serde_json::from_str::<RunSummary>(&kept.summary).ok());
        // What a worker is at changes without its files: its end.
        if let Some(summary) = kept.filter(|summary| !summary.status.is_active()) {
            return Ok(summary);
        }
        let summary = self.look(layout, RunView::summary)?;
        new.push((layout.clone(), stamp, summary.clone()));
        Ok(summary)
    }
}

/// A run that may be listed.
enum Found {
    /// The index knows when it was configured.
    Kept(RunLayout, KeptSummary),
    /// It was read now.
    Read(RunSummary),
}

impl Found {
    fn age(&self) -> (Timestamp, String) {
        match self {
            Self::Kept(layout, kept) => (kept.created_at, layout.run_id()),
            Self::Read(summary) => (summary.created_at, summary.run_id.clone()),
        }
    }
}

/// Tells whether the files that a summary rests on have changed; taken before they are read.
fn stamp_of(layout: &RunLayout) -> String {
    let stamp = |path| Stamp::of(path).map(|stamp| stamp.to_string()).unwrap_or_default();
    format!("{} {}", stamp(&layout.manifest()), stamp(&layout.events()))
}
