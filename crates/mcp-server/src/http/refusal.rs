//! Requests that are refused before the protocol sees them.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// What JSON-RPC calls a text that is no JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// What JSON-RPC calls a message that is none.
pub(crate) const INVALID_REQUEST: i32 = -32600;

/// Why a request is refused: an HTTP status, and a JSON-RPC error as body.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    rpc_code: i32,
    code: &'static str,
    message: String,
    hint: Option<String>,
    id: Value,
    header: Option<(header::HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (rpc_code, message) = (INVALID_REQUEST, message.into());
        Self { status, rpc_code, code, message, hint: None, id: Value::Null, header: None }
    }

    /// Too much was asked for; it may be asked for again after `wait`.
    pub(crate) fn later(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        wait: Duration,
    ) -> Self {
        let seconds = wait.as_secs_f64().ceil().max(1.0);
        Self::new(status, code, message)
            .with_hint(format!("try again in {seconds} s"))
            .with_header(header::RETRY_AFTER, seconds.to_string())
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn with_header(self, name: header::HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    /// The same with JSON-RPC's `code` for it, about the message `id`.
    pub(crate) fn in_rpc(self, rpc_code: i32, id: Value) -> Self {
        Self { rpc_code, id, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, rpc_code, code, message, hint, id, header } = self;
        let mut data = json!({ "code": code });
        if let Some(hint) = hint {
            data["hint"] = Value::String(hint);
        }
        let error = json!({ "code": rpc_code, "message": message, "data": data });
        let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
        response
    }
}
