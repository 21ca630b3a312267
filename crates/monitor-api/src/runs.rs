//! `/api/v1/runs`: the list, one run, its events as they come, its series, its log.

use std::path::PathBuf;

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    response::Response,
};
use greentune_core_config::{Problem, ProblemKind};
use greentune_http_server::Refusal;
use serde_json::{Value, json};

use crate::{
    api::{Api, Name, UNKNOWN_RUN},
    follow, respond,
};

/// A page of runs, the newest first.
pub(crate) async fn list(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let names = ["status", "search", "limit", "after", "losses"];
    let arguments = api.in_address("list_runs", &request, &names)?;
    let is_first = !arguments.contains_key("after");
    let mut page = api.perform("list_runs", arguments).await?;
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
    let mut arguments = api.in_address("show_run", &request, &[])?;
    arguments.insert(String::from("run_id"), run.into());
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
    api.answer_for_run("get_series", run, request, &["names", "points", "from", "to", "after"]).await
}

/// The end of a run's log.
pub(crate) async fn log(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    api.answer_for_run("show_log", run, request, &["lines"]).await
}

/// A run's events as they come.
pub(crate) async fn events(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let arguments = api.in_address("follow_events", &request, &["after"])?;
    let given = |name: &str| arguments.get(name).and_then(Value::as_str);
    let project = given("project_path").map(PathBuf::from);
    let after = match (last_event_id(request.headers())?, given("after")) {
        (None, Some(after)) => Some(number("after", after)?),
        (last, _) => last,
    };
    let followed = follow::follow(&api, project.clone(), run.clone(), after).await;
    match (followed, api.own_project()) {
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
