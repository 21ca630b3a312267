//! What a client can read without a tool: the files of a run in short, its charts, a project's settings.
//!
//! `run://{run_id}/manifest`, `/events`, `/emissions`, `/card`, `/charts/{chart}`, `project://{path}/config`, `/runs`.
//! Everything goes through operations of the workbench, with what they allow and refuse.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use greentune_core_config::{Diagnostic as _, ProblemKind, manifest::RunStatus};
use greentune_workbench::{
    Workbench, WorkbenchError, given_path,
    operation::{
        CreateModelCard, FollowEvents, GetEmissionsSummary, ListRuns, MonitorTrainingProgress, RUN_CHARTS,
        ShowConfig, ShowRun,
    },
};
use rmcp::{
    ErrorData,
    model::{
        ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceResult,
        Resource, ResourceContents, ResourceTemplate,
    },
};
use serde::Serialize;

use crate::answer;

/// Runs on a page of the list.
const PAGE: usize = 25;
/// The newest events that `events` has.
const EVENTS: u64 = 1000;

const JSON: &str = "application/json";
const LINES: &str = "application/jsonl";
const MARKDOWN: &str = "text/markdown";
const PNG: &str = "image/png";

/// What there is of each run: the end of its URI, its title, its type.
const OF_RUN: &[(&str, &str, &str)] = &[
    ("manifest", "Manifest", JSON),
    ("events", "Newest events", LINES),
    ("emissions", "Energy and emissions", JSON),
    ("card", "Model card", MARKDOWN),
];

/// A page of the resources: those of the runs, the newest first. The cursor is the id of the last run on the page before.
pub(crate) async fn list(
    workbench: &Workbench,
    page: Option<PaginatedRequestParams>,
) -> Result<ListResourcesResult, ErrorData> {
    let runs = workbench.list_runs(ListRuns::all(None)).await.map_err(refusal)?.runs;
    let first = match page.and_then(|page| page.cursor) {
        None => 0,
        Some(cursor) => {
            let last = runs.iter().position(|run| run.run_id == cursor);
            1 + last
                .ok_or_else(|| ErrorData::invalid_params(format!("no page begins after {cursor:?}"), None))?
        }
    };
    let shown = runs.get(first..).unwrap_or_default().iter().take(PAGE);
    let mut listed = ListResourcesResult::with_all_items(Vec::new());
    listed.next_cursor =
        shown.clone().next_back().filter(|_| first + PAGE < runs.len()).map(|run| run.run_id.clone());
    for run in shown {
        let id = &run.run_id;
        let is_started = run.status != RunStatus::NotStarted;
        for (end, title, kind) in OF_RUN {
            let is_there = match *end {
                "manifest" => true,
                "card" => run.status == RunStatus::Completed,
                _ => is_started,
            };
            if is_there {
                let resource = Resource::new(format!("run://{id}/{end}"), format!("{id} {end}"));
                listed.resources.push(resource.with_title(format!("{title} of {id}")).with_mime_type(*kind));
            }
        }
        if run.status == RunStatus::Completed {
            let uri = format!("run://{id}/charts/energy");
            let chart = Resource::new(uri, format!("{id} energy chart"));
            listed.resources.push(chart.with_title(format!("Energy chart of {id}")).with_mime_type(PNG));
        }
    }
    Ok(listed)
}

/// The templates of resources.
pub(crate) fn templates() -> ListResourceTemplatesResult {
    let of_run = OF_RUN.iter().map(|(end, title, kind)| {
        let template = ResourceTemplate::new(format!("run://{{run_id}}/{end}"), format!("run-{end}"));
        template.with_title(format!("{title} of a run")).with_mime_type(*kind)
    });
    let chart = ResourceTemplate::new("run://{run_id}/charts/{chart}", "run-chart")
        .with_title("Chart of a run")
        .with_description(format!("Charts: {}", RUN_CHARTS.join(", ")))
        .with_mime_type(PNG);
    let config = ResourceTemplate::new("project://{path}/config", "project-config")
        .with_title("Settings of a project")
        .with_description(
            "Path of the project, its slashes as %2F or as they are; every setting with its source",
        )
        .with_mime_type(JSON);
    let runs = ResourceTemplate::new("project://{path}/runs", "project-runs")
        .with_title("Runs of a project")
        .with_mime_type(JSON);
    ListResourceTemplatesResult::with_all_items(of_run.chain([chart, config, runs]).collect())
}

/// What the resource at `uri` holds.
pub(crate) async fn read(workbench: &Workbench, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let content = match address(uri).ok_or_else(|| no_resource(uri))? {
        Address::Run(run_id, part) => of_run(workbench, uri, run_id, part).await?,
        Address::Project(path, "runs") => {
            let request = ListRuns::all(Some(path));
            json(uri, &workbench.list_runs(request).await.map_err(refusal)?)?
        }
        Address::Project(path, "config") => {
            let request = ShowConfig { project_path: Some(path), ..ShowConfig::default() };
            json(uri, &workbench.show_config(request).await.map_err(refusal)?)?
        }
        Address::Project(..) => return Err(no_resource(uri)),
    };
    Ok(ReadResourceResult::new(vec![content]))
}

async fn of_run(
    workbench: &Workbench,
    uri: &str,
    run_id: String,
    part: &str,
) -> Result<ResourceContents, ErrorData> {
    let project_path = None;
    match part {
        "manifest" => {
            let shown = workbench.show_run(ShowRun { project_path, run_id }).await.map_err(refusal)?;
            json(uri, &shown.manifest)
        }
        "events" => {
            let look =
                MonitorTrainingProgress { run_id: run_id.clone(), ..MonitorTrainingProgress::default() };
            let last_seq = workbench.monitor_training_progress(look).await.map_err(refusal)?.last_seq;
            let after_seq = last_seq.and_then(|last| last.checked_sub(EVENTS));
            let request = FollowEvents { run_id, after_seq, ..FollowEvents::default() };
            let events = workbench.follow_events(request).await.map_err(refusal)?.events;
            let lines: Result<Vec<_>, _> = events.iter().map(serde_json::to_string).collect();
            let lines = lines.map_err(|error| answer::internal("resource.json", &error, None))?;
            Ok(ResourceContents::text(lines.join("\n") + "\n", uri).with_mime_type(LINES))
        }
        "emissions" => {
            let request = GetEmissionsSummary { run_id, project_path };
            json(uri, &workbench.get_emissions_summary(request).await.map_err(refusal)?)
        }
        "card" => {
            let request = CreateModelCard { run_id, ..CreateModelCard::default() };
            let card = workbench.create_model_card(request).await.map_err(refusal)?;
            Ok(ResourceContents::text(card.markdown, uri).with_mime_type(MARKDOWN))
        }
        part => {
            let chart = part.strip_prefix("charts/").ok_or_else(|| no_resource(uri))?;
            let png = workbench.chart_of_run(&run_id, chart).await.map_err(refusal)?;
            Ok(ResourceContents::blob(BASE64_STANDARD.encode(&png), uri).with_mime_type(PNG))
        }
    }
}

/// What a URI names.
#[derive(Debug, PartialEq)]
enum Address<'u> {
    Run(String, &'u str),
    Project(PathBuf, &'u str),
}

fn address(uri: &str) -> Option<Address<'_>> {
    if let Some(rest) = uri.strip_prefix("run://") {
        let (run_id, part) = rest.split_once('/')?;
        return (!run_id.is_empty()).then(|| Address::Run(run_id.to_owned(), part));
    }
    let (path, part) = uri.strip_prefix("project://")?.rsplit_once('/')?;
    let path = path
        .strip_prefix("%2F")
        .or_else(|| path.strip_prefix("%2f"))
        .map_or_else(|| path.to_owned(), |rest| format!("/{rest}"));
    let path = given_path(Path::new(&format!("file://{path}")), None).ok()?;
    path.is_absolute().then_some(Address::Project(path, part))
}

fn json(uri: &str, value: &impl Serialize) -> Result<ResourceContents, ErrorData> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| answer::internal("resource.json", &error, None))?;
    Ok(ResourceContents::text(text, uri).with_mime_type(JSON))
}

fn no_resource(uri: &str) -> ErrorData {
    let shown: String = uri.chars().take(200).collect();
    let message = format!(
        "no resource {shown:?}; resources/templates/list has the forms, such as run://RUN_ID/manifest"
    );
    ErrorData::resource_not_found(message, None)
}

/// The error for an operation that refused.
#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
pub(crate) fn refusal(error: WorkbenchError) -> ErrorData {
    let problem = error.problem().worded(&crate::tools::call_in_words);
    let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\nHint: {hint}"));
    let message = format!("{problem}{hint}");
    match problem.kind {
        ProblemKind::NotFound => ErrorData::resource_not_found(message, None),
        ProblemKind::Internal => answer::internal(&problem.code, &problem, problem.hint.as_deref()),
        _ => ErrorData::invalid_params(message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_run_or_a_project_and_a_part_of_it() {
        assert_eq!(address("run://r-1/card"), Some(Address::Run("r-1".into(), "card")));
        assert_eq!(address("run://r-1/charts/loss"), Some(Address::Run("r-1".into(), "charts/loss")));
        let project = |path: &str| Some(Address::Project(PathBuf::from(path), "config"));
        assert_eq!(address("project:///data/my%20project/config"), project("/data/my project"));
        assert_eq!(address("project://%2Fdata%2Fp/config"), project("/data/p"));
        for wrong in [
            "run://",
            "run://r",
            "run:///card",
            "project://x",
            "project://data/config",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
