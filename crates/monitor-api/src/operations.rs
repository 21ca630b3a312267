//! `/api/v1/{operation}`: any operation of the workbench, with its arguments as JSON, or in the address where it only reads.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
};
use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};
use greentune_http_server::{Refusal, read_body};
use greentune_workbench::{
    Workbench,
    operation::{Consent, Effect, Entry},
};
use serde_json::{Map, Value};

use crate::{
    api::{Api, Arguments, Name, query},
    respond,
};

/// `POST`: the arguments are the body.
pub(crate) async fn call(
    State(api): State<Api>,
    Name(name): Name,
    request: Request,
) -> Result<Response, Refusal> {
    api.operation(&name)?;
    let (parts, body) = request.into_parts();
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    let body = read_body(body, &api.limits).await?;
    // A page of another origin can send forms and plain text without being asked; JSON it cannot.
    if !is_json && !body.is_empty() {
        let message = "the body of the request is to be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "http.media_type", message));
    }
    let arguments = match body.trim_ascii() {
        [] => Value::Object(Map::new()),
        text => serde_json::from_slice(text).map_err(|error| {
            let message = format!("the body of the request is no JSON: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "http.no_json", message)
        })?,
    };
    let Value::Object(arguments) = arguments else {
        let message = "the body of the request is no JSON object with arguments";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "http.no_object", message));
    };
    Ok(respond::json(&parts.headers, &api.perform(&name, arguments).await?))
}

/// `GET`: the arguments stand in the address.
pub(crate) async fn read(
    State(api): State<Api>,
    Name(name): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let entry = api.operation(&name)?;
    if entry.effect != Effect::Reads {
        let message = format!("{name} changes something: send its arguments with POST");
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "http.method", message)
            .with_header(header::ALLOW, "POST"));
    }
    let arguments = listed(entry, query(&request));
    Ok(respond::json(request.headers(), &api.perform(&name, arguments).await?))
}

/// The arguments with those that are lists as lists; in an address their values are separated by commas.
pub(crate) fn listed(entry: &Entry, mut arguments: Arguments) -> Arguments {
    let properties = &entry.request_schema()["properties"];
    for (name, value) in &mut arguments {
        let is_list = properties[name]["type"] == "array";
        if let Some(text) = value.as_str().filter(|text| is_list && !text.starts_with('[')) {
            *value = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        }
    }
    arguments
}

/// Performs `entry`, once the caller has said that its user agrees where that is needed.
pub(crate) async fn perform(
    entry: &'static Entry,
    workbench: &Workbench,
    mut arguments: Map<String, Value>,
) -> Result<Value, Refusal> {
    let confirmed = take_confirm(&mut arguments)?;
    let failed = |error: greentune_workbench::WorkbenchError| Refusal::from(error.problem());
    if let Some(consent) = entry.consent(arguments.clone()).map_err(failed)?
        && !confirmed
    {
        return Err(unconfirmed(entry, &consent).into());
    }
    let performing = tokio::spawn(entry.perform(workbench, arguments));
    match performing.await {
        Ok(answered) => Ok(answered.map_err(failed)?.content),
        Err(error) => {
            tracing::error!("{} ended without an answer: {error}", entry.name);
            let message = format!("{} ended without an answer", entry.name);
            Err(Problem::new(ProblemKind::Internal, "http.operation_stopped", message).into())
        }
    }
}

/// Whether the arguments say `confirm: true`, which no operation has.
fn take_confirm(arguments: &mut Map<String, Value>) -> Result<bool, Refusal> {
    match arguments.remove("confirm") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(confirmed)) => Ok(confirmed),
        Some(Value::String(text)) if ["true", "false"].contains(&text.as_str()) => Ok(text == "true"),
        Some(_) => {
            let message = "found another value, allowed: true or false";
            let problem = Problem::new(ProblemKind::InvalidInput, "arguments.invalid", message);
            Err(problem.at_key("confirm").into())
        }
    }
}

fn unconfirmed(entry: &Entry, consent: &Consent) -> Problem {
    let message = format!("{} would {}", entry.name, consent.in_words());
    Problem::new(ProblemKind::Conflict, "consent.needed", message)
        .with_hint("send the same with \"confirm\": true once the user agrees")
}
