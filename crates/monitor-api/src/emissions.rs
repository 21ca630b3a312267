//! `/emissions`: the three requests of the seed's monitor, and all rows as a table.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    response::Response,
};
use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};
use greentune_http_server::Refusal;
use greentune_workbench::operation::ListEmissions;
use serde_json::Value;

use crate::{
    api::{Api, Name},
    respond,
};

/// The latest figures of a run.
pub(crate) async fn current(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    api.answer_for_run("get_current_emissions", run, request, &[]).await
}

/// A run's emissions with comparisons and recommendations.
pub(crate) async fn summary(
    State(api): State<Api>,
    Name(run): Name,
    request: Request,
) -> Result<Response, Refusal> {
    api.answer_for_run("get_emissions_summary", run, request, &[]).await
}

/// All runs of a project together.
pub(crate) async fn aggregate(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let arguments = api.in_own_project(api.in_address("get_aggregate_emissions", &request, &[])?);
    Ok(respond::json(request.headers(), &api.perform("get_aggregate_emissions", arguments).await?))
}

/// Every row that was metered in a project, as JSON or as a CSV file.
pub(crate) async fn rows(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let mut arguments = api.in_own_project(api.in_address("list_emissions", &request, &["format"])?);
    match arguments.remove("format").as_ref().map_or(Some("json"), Value::as_str) {
        Some("json") => {
            return Ok(respond::json(request.headers(), &api.perform("list_emissions", arguments).await?));
        }
        Some("csv") => {}
        other => {
            let other = other.unwrap_or_default();
            let message = format!("there is no format {other:?}, allowed: json, csv");
            let problem = Problem::new(ProblemKind::InvalidInput, "arguments.invalid", message);
            return Err(problem.at_key("format").into());
        }
    }
    let project_path = arguments.get("project_path").and_then(Value::as_str).map(Into::into);
    let asked = ListEmissions { project_path, files: Vec::new() };
    let table = api.workbench.list_emissions(asked).await.map_err(|error| Refusal::from(error.problem()))?;
    let mut response = respond::text(request.headers(), "text/csv; charset=utf-8", table.csv().into_bytes());
    let name = HeaderValue::from_static("attachment; filename=\"emissions.csv\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
