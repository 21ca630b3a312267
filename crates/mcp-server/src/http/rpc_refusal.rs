//! Messages that are refused before the protocol's library sees them: an HTTP status, and a JSON-RPC error as body.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// What JSON-RPC calls a text that is no JSON.
const PARSE_ERROR: i32 = -32700;
/// What JSON-RPC calls a message that is none.
const INVALID_REQUEST: i32 = -32600;

/// Why a message is refused.
#[derive(Debug)]
pub(crate) struct RpcRefusal {
    status: StatusCode,
    rpc_code: i32,
    code: &'static str,
    message: String,
    hint: Option<String>,
    id: Value,
    wait: Option<u64>,
}

impl RpcRefusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (rpc_code, message) = (INVALID_REQUEST, message.into());
        Self { status, rpc_code, code, message, hint: None, id: Value::Null, wait: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same, which may be sent again after `wait`.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs();
        Self { wait: Some(seconds), ..self }.with_hint(format!("try again in {seconds} s"))
    }

    /// The same of a text that is no JSON.
    pub(crate) fn unparsed(self) -> Self {
        Self { rpc_code: PARSE_ERROR, ..self }
    }

    /// The same about the message `id`.
    pub(crate) fn about(self, id: Value) -> Self {
        Self { id, ..self }
    }
}

impl IntoResponse for RpcRefusal {
    fn into_response(self) -> Response {
        let Self { status, rpc_code, code, message, hint, id, wait } = self;
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
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}
