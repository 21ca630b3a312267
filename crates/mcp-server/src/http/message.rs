//! The message in a request's body, as far as it is looked at before the protocol's library takes it.

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    limits::Limits,
    refusal::{INVALID_REQUEST, PARSE_ERROR, Refusal},
};

/// A JSON-RPC message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its text.
    pub(crate) text: Bytes,
    /// Its id; null when it has none.
    pub(crate) id: Value,
    /// Whether it begins a session.
    pub(crate) is_initialize: bool,
}

/// What is looked at.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Value,
    method: Option<String>,
}

impl Message {
    /// Reads the message in `body`.
    ///
    /// Errors: it is too long or comes too slowly; it is no JSON, or a list of messages.
    pub(crate) async fn read(body: Body, limits: &Limits) -> Result<Self, Refusal> {
        let most = limits.body_bytes;
        let collected = tokio::time::timeout(limits.read_time, Limited::new(body, most).collect()).await;
        let text = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large(most)),
            Ok(Err(_)) => return Err(cut("the body of the request did not come to its end")),
            Err(_) => {
                let message = format!("the body of the request took longer than {:?}", limits.read_time);
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "http.slow", message));
            }
        };
        Self::parse(text)
    }

    fn parse(text: Bytes) -> Result<Self, Refusal> {
        let is_list = text.trim_ascii_start().starts_with(b"[");
        match serde_json::from_slice(&text) {
            Ok(Envelope { id, method }) if !is_list => {
                let id = if id.is_string() || id.is_number() { id } else { Value::Null };
                return Ok(Self { text, id, is_initialize: method.as_deref() == Some("initialize") });
            }
            _ => {}
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(&text) {
            let message = format!("the body of the request is no JSON: {error}");
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "http.no_json", message);
            return Err(refusal.in_rpc(PARSE_ERROR, Value::Null));
        }
        if is_list {
            let message = "lists of messages are no part of the protocol since 2025-06-18";
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "http.batch", message);
            return Err(refusal.with_hint("send each message in a request of its own"));
        }
        Err(no_message(Value::Null))
    }
}

/// Refuses what is JSON and no message of the protocol.
pub(crate) fn no_message(id: Value) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "http.no_message",
        "the body of the request is no JSON-RPC message of this protocol",
    )
    .with_hint("send an object with jsonrpc \"2.0\", a method, its params and, for a request, an id")
    .in_rpc(INVALID_REQUEST, id)
}

fn too_large(most: usize) -> Refusal {
    let message = format!("the body of the request has more than {most} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "http.too_large", message)
        .with_hint("name files by their paths instead of sending their text")
}

fn cut(message: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "http.cut", message)
}
