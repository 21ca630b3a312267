//! The runs of a project, or all that the index knows.

use std::{cmp::Reverse, collections::BTreeMap, path::PathBuf};

use greentune_core_config::{
    layout::{ProjectLayout, RunLayout},
    manifest::RunStatus,
};
use greentune_durable::Stamp;
use greentune_run_folder::{RunView, sampled_losses};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, RunSummary, Workbench,
    job_store::{JobStore, runs_of, unknown_run},
};

/// Runs that are listed when the request does not say.
const LIMIT: u64 = 50;
/// Losses of a run at most.
const MOST_LOSSES: u64 = 500;

/// List runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRuns {
    /// Path of the project; every run in the index when absent.
    pub project_path: Option<PathBuf>,
    /// Runs to list at most; 50 when absent.
    pub limit: Option<u64>,
    /// Only runs with one of these statuses.
    #[serde(default)]
    pub status: Vec<RunStatus>,
    /// Only runs whose id, name or project has this text, whatever its case.
    pub search: Option<String>,
    /// Id of a run: only those that stand behind it in the list.
    pub after: Option<String>,
    /// Training losses to add of each listed run, evenly spread over its steps.
    pub losses: Option<u64>,
}

impl ListRuns {
    /// A request for all runs of a project, or of the index.
    pub fn all(project_path: Option<PathBuf>) -> Self {
        Self { project_path, limit: Some(u64::MAX), ..Self::default() }
    }

    fn is_filtered(&self) -> bool {
        !self.status.is_empty() || self.search.is_some()
    }

    fn asks_for(&self, run: &RunSummary) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let is_named = |part: &String| {
            [&*run.run_id, &*run.run_name, &*run.project_path.to_string_lossy()]
                .into_iter()
                .any(|text| has(text, part))
        };
        (self.status.is_empty() || self.status.contains(&run.status))
            && self.search.as_ref().is_none_or(is_named)
    }
}

/// The runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListRunsResponse {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Older runs that are not listed.
    #[serde(default)]
    pub more: u64,
    /// Step (counted over all stages) and training loss of each run that is listed, where losses were asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub losses: BTreeMap<String, Vec<(u64, f64)>>,
    /// Run folders that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Workbench {
    /// Lists the runs of a project, or every run in the index.
    ///
    /// Errors: there is no project; the run that the list is to go on behind is none of them.
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
        let mut ages = store.as_ref().and_then(|store| store.ages().ok()).unwrap_or_default();
        let mut may_be_read = self.allowed_roots().of_siblings();
        let mut response = ListRunsResponse::default();
        let (mut found, mut new) = (Vec::new(), Vec::new());
        for layout in layouts.into_iter().filter(|layout| may_be_read.contain_folder(layout.folder())) {
            match ages.remove(layout.folder().to_string_lossy().as_ref()) {
                Some(created_at) => found.push(Found::Known(layout, created_at)),
                None => match self.summary_now(&layout, None, &mut new) {
                    Ok(summary) => found.push(Found::Read(summary)),
                    Err(error) => response.unreadable.push(error.to_string()),
                },
            }
        }
        found.sort_by_cached_key(|run| Reverse(run.age()));
        if let Some(after) = &request.after {
            let place = found.iter().position(|run| run.run_id() == *after);
            let place = place.ok_or_else(|| unknown_run(after, &[]))?;
            found.drain(..=place);
        }
        let listed = usize::try_from(request.limit.unwrap_or(LIMIT)).unwrap_or(usize::MAX);
        let mut found = found.into_iter();
        // Files of older runs are not looked at, unless it takes that to tell which are asked for.
        while request.is_filtered() || response.runs.len() < listed {
            let summary = match found.next() {
                None => break,
                Some(Found::Read(summary)) => Ok(summary),
                Some(Found::Known(layout, _)) => self.summary_now(&layout, store.as_ref(), &mut new),
            };
            match summary {
                Ok(summary) if !request.asks_for(&summary) => {}
                Ok(summary) if response.runs.len() < listed => response.runs.push(summary),
                Ok(_) => response.more += 1,
                Err(error) => response.unreadable.push(error.to_string()),
            }
        }
        response.more += found.len() as u64;
        if let Some(store) = store.filter(|_| !new.is_empty()) {
            // They are read again the next time where they cannot be kept.
            let _ = store.keep_summaries(&new);
        }
        if let Some(count) = request.losses {
            let count = usize::try_from(count.min(MOST_LOSSES)).unwrap_or_default();
            response.losses =
                response.runs.iter().map(|run| (run.run_id.clone(), losses_of(run, count))).collect();
        }
        Ok(response)
    }

    /// The run at `layout` in short: as `store` has kept it, when its files are still the same, else as they are, for `new`.
    fn summary_now(
        &self,
        layout: &RunLayout,
        store: Option<&JobStore>,
        new: &mut Vec<(RunLayout, String, RunSummary)>,
    ) -> Result<RunSummary> {
        let stamp = stamp_of(layout);
        let kept = store.and_then(|store| store.summary(layout).ok().flatten());
        let kept = kept.filter(|kept| kept.stamp == stamp);
        let kept = kept.and_then(|kept| serde_json::from_str::<RunSummary>(&kept.summary).ok());
        // What a worker is at changes without its files: its end.
        if let Some(summary) = kept.filter(|summary| !summary.status.is_active()) {
            return Ok(summary);
        }
        let summary = match RunView::summary_of_ended(layout.clone())? {
            Some(summary) => summary,
            None => self.look(layout, RunView::summary)?,
        };
        new.push((layout.clone(), stamp, summary.clone()));
        Ok(summary)
    }
}

/// A run that may be listed.
enum Found {
    /// The index knows when it was configured.
    Known(RunLayout, Timestamp),
    /// It was read now.
    Read(RunSummary),
}

impl Found {
    fn run_id(&self) -> String {
        match self {
            Self::Known(layout, _) => layout.run_id(),
            Self::Read(summary) => summary.run_id.clone(),
        }
    }

    fn age(&self) -> (Timestamp, String) {
        let created_at = match self {
            Self::Known(_, created_at) => *created_at,
            Self::Read(summary) => summary.created_at,
        };
        (created_at, self.run_id())
    }
}

/// Some training losses of `run`; none where its events cannot be read.
fn losses_of(run: &RunSummary, count: usize) -> Vec<(u64, f64)> {
    let events = ProjectLayout::new(&run.project_path).run(&run.run_id).events();
    let first = |stage: u8| -> u64 {
        run.stages.iter().filter(|known| known.stage < stage).map(|known| known.total_steps).sum()
    };
    let sampled = sampled_losses(&events, count).unwrap_or_default();
    sampled.into_iter().map(|(stage, step, loss)| (first(stage) + step, loss)).collect()
}

/// Tells whether the files that a summary rests on have changed; taken before they are read.
fn stamp_of(layout: &RunLayout) -> String {
    let stamp = |path| Stamp::of(path).map(|stamp| stamp.to_string()).unwrap_or_default();
    format!("{} {}", stamp(&layout.manifest()), stamp(&layout.events()))
}
