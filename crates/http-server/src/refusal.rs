//! Requests that are refused: an HTTP status, and what was wrong as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use greentune_core_config::{Problem, ProblemKind};
use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    problem: Box<Problem>,
    header: Option<(header::HeaderName, String)>,
}

impl Refusal {
    /// A refusal with `status`, a stable `code` and what was wrong.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, problem: Box::new(Problem::new(kind_of(status), code, message)), header: None }
    }

    /// Too much was asked for; it may be asked for again after `wait`.
    pub fn later(status: StatusCode, code: &'static str, message: impl Into<String>, wait: Duration) -> Self {
        let seconds = wait.as_secs_f64().ceil().max(1.0);
        Self::new(status, code, message)
            .with_hint(format!("try again in {seconds} s"))
            .with_header(header::RETRY_AFTER, seconds.to_string())
    }

    /// Its stable code.
    pub fn code(&self) -> &str {
        &self.problem.code
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { problem: Box::new(self.problem.with_hint(hint)), ..self }
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(self, name: header::HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { status: status_of(problem.kind), problem: Box::new(problem), header: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, problem, header } = self;
        let mut response = Response::new(Body::from(problem_body(&problem, status).to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
        response
    }
}

/// The problem in RFC 9457's words, with greentune's own beside them: `code`, `kind`, `hint`, `location`, `problems`.
pub fn problem_body(problem: &Problem, status: StatusCode) -> Value {
    let mut body = serde_json::to_value(problem).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("message");
        fields.insert(String::from("type"), json!("about:blank"));
        fields.insert(String::from("title"), json!(status.canonical_reason().unwrap_or("Error")));
        fields.insert(String::from("status"), json!(status.as_u16()));
        fields.insert(String::from("detail"), json!(problem.message));
    }
    body
}

/// The status of a class of problems.
fn status_of(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::Conflict | ProblemKind::Cancelled => StatusCode::CONFLICT,
        // A service refused greentune's own credential; the caller's are refused before.
        ProblemKind::Credentials => StatusCode::BAD_GATEWAY,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ProblemKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The class of a problem that the server itself found.
fn kind_of(status: StatusCode) -> ProblemKind {
    match status {
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::CONFLICT => ProblemKind::Conflict,
        StatusCode::UNAUTHORIZED => ProblemKind::Credentials,
        StatusCode::TOO_MANY_REQUESTS => ProblemKind::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ProblemKind::Unavailable,
        _ => ProblemKind::InvalidInput,
    }
}
