//! `/api/v1/runs`: the list, one run, its events as they come, its series, its log.

use std::path::PathBuf;

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    response::Response,
};
use greentune_core_config::{Problem, ProblemKind};
use greentune_http_server::Refusal;
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, Name, UNKNOWN_RUN, no_more, query, text},
    follow, respond,
};

/// Runs of a page when the request does not say.
const PAGE: u64 = 50;

/// A page of runs, the newest first.
pub(crate) async fn list(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let mut arguments = Map::new();
    if let Some(project) = text(&mut query, "project") {
        arguments.insert(String::from("project_path"), project.into());
    }
    for name in ["search", "after", "losses"] {
        arguments.extend(text(&mut query, name).map(|value| (name.to_owned(), value.into())));
    }
    let status = text(&mut query, "status").unwrap_or_default();
    let statuses: Vec<_> = status.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    arguments.insert(String::from("status"), statuses.into());
    let limit = text(&mut query, "limit").map_or_else(|| PAGE.into(), Value::from);
    arguments.insert(String::from("limit"), limit);
    no_more(&query, "project, status, search, limit, after, losses")?;
    let is_first = !arguments.contains_key("after");
    let mut page = api.perform("list_runs", Value::Object(arguments)).await?;
    let more = page["more"].as_u64().unwrap_or_default();
    let listed = page["runs"].as_array().map_or(0, Vec::len) as u64;
    page["total"] = if is_first { (listed + more).into() } else { Value::Null };
    let last = page["runs"].as_array().and_then(|runs| runs.last());
    page["next"] = last.filter(|_| more > 0).map_or(Value::Null, |run| run["run_id"].clone());
    Ok(respond::json(request.headers(), &page))
}

/// Everything about a run.
pub(crate) async fn show(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let arguments = of_run(&run, &mut query);
    no_more(&query, "project")?;
    let shown = api.perform_for_run("show_run", arguments.clone()).await?;
    let progress = api.perform_for_run("monitor_training_progress", arguments).await?;
    Ok(respond::json(request.headers(), &json!({ "run": shown, "progress": progress })))
}

/// The course of a run's figures.
pub(crate) async fn series(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let mut arguments = of_run(&run, &mut query);
    for name in ["points", "from", "to", "after"] {
        if let Some(value) = text(&mut query, name) {
            arguments[name] = value.into();
        }
    }
    if let Some(names) = text(&mut query, "names") {
        arguments["names"] = names.split(',').map(str::trim).collect();
    }
    no_more(&query, "project, names, points, from, to, after")?;
    Ok(respond::json(request.headers(), &api.perform_for_run("get_series", arguments).await?))
}

/// The end of a run's log.
pub(crate) async fn log(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let mut arguments = of_run(&run, &mut query);
    if let Some(lines) = text(&mut query, "lines") {
        arguments["lines"] = lines.into();
    }
    no_more(&query, "project, lines")?;
    Ok(respond::json(request.headers(), &api.perform_for_run("show_log", arguments).await?))
}

/// A run's events as they come.
pub(crate) async fn events(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    api.operation("follow_events")?;
    let mut query = query(&request);
    let project: Option<PathBuf> = text(&mut query, "project").map(Into::into);
    let after = match last_event_id(request.headers())?
        .map(Ok)
        .or_else(|| Some(number("after", &text(&mut query, "after")?)))
    {
        Some(after) => Some(after?),
        None => None,
    };
    query.remove("after");
    no_more(&query, "project, after")?;
    let followed = follow::follow(&api, project.clone(), run.clone(), after).await;
    match (followed, api.project(None)) {
        (Err(refusal), Some(own)) if refusal.code() == UNKNOWN_RUN && project.is_none() => {
            follow::follow(&api, Some(own), run, after).await.map_err(|_| refusal)
        }
        (followed, _) => followed,
    }
}

/// The number of the last event that a follower that comes back has.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let given = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().trim());
    given.filter(|text| !text.is_empty()).map(|text| number("Last-Event-ID", text)).transpose()
}

fn number(name: &str, text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| {
        let message = format!("{name} is to be the number of an event");
        Problem::new(ProblemKind::InvalidInput, "arguments.invalid", message).at_key(name).into()
    })
}

/// Arguments that name a run.
fn of_run(run: &str, query: &mut Map<String, Value>) -> Value {
    let mut arguments = json!({ "run_id": run });
    if let Some(project) = text(query, "project") {
        arguments["project_path"] = project.into();
    }
    arguments
}
