//! `/emissions`: the three requests of the seed's monitor, and all rows as a table.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    response::Response,
};
use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};
use greentune_http_server::Refusal;
use greentune_workbench::operation::ListEmissions;
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, Name, no_more, query, text},
    respond,
};

/// The latest figures of a run.
pub(crate) async fn current(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    of_run(&api, "get_current_emissions", &run, request).await
}

/// A run's emissions with comparisons and recommendations.
pub(crate) async fn summary(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    of_run(&api, "get_emissions_summary", &run, request).await
}

async fn of_run(api: &Api, operation: &str, run: &str, request: Request) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let mut arguments = json!({ "run_id": run });
    // A run is found wherever it is; a project that is named narrows the search.
    if let Some(project) = text(&mut query, "project") {
        arguments["project_path"] = project.into();
    }
    no_more(&query, "project")?;
    Ok(respond::json(request.headers(), &api.perform_for_run(operation, arguments).await?))
}

/// All runs of a project together.
pub(crate) async fn aggregate(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let arguments = of_project(&api, &mut query);
    no_more(&query, "project")?;
    Ok(respond::json(request.headers(), &api.perform("get_aggregate_emissions", arguments).await?))
}

/// Every row that was metered in a project, as JSON or as a CSV file.
pub(crate) async fn rows(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let mut query = query(&request);
    let format = text(&mut query, "format");
    let arguments = of_project(&api, &mut query);
    no_more(&query, "project, format")?;
    if let Some(other) = format.as_deref().filter(|format| !["json", "csv"].contains(format)) {
        let message = format!("there is no format {other:?}, allowed: json, csv");
        let problem = Problem::new(ProblemKind::InvalidInput, "arguments.invalid", message);
        return Err(problem.at_key("format").into());
    }
    if format.as_deref() != Some("csv") {
        return Ok(respond::json(request.headers(), &api.perform("list_emissions", arguments).await?));
    }
    api.operation("list_emissions")?;
    let project_path = arguments["project_path"].as_str().map(Into::into);
    let asked = ListEmissions { project_path, files: Vec::new() };
    let table = api.workbench.list_emissions(asked).await.map_err(|error| Refusal::from(error.problem()))?;
    let mut response = respond::text(request.headers(), "text/csv; charset=utf-8", table.csv().into_bytes());
    let name = HeaderValue::from_static("attachment; filename=\"emissions.csv\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn of_project(api: &Api, query: &mut Map<String, Value>) -> Value {
    match api.project(text(query, "project")) {
        Some(project) => json!({ "project_path": project }),
        None => json!({}),
    }
}
