//! The body of a request: so long at most, and sent without delay.

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{Limits, Refusal};

/// Reads `body`.
///
/// Errors: it is too long, comes too slowly or breaks off.
pub async fn read_body(body: Body, limits: &Limits) -> Result<Bytes, Refusal> {
    let most = limits.body_bytes;
    let collected = tokio::time::timeout(limits.read_time, Limited::new(body, most).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body of the request has more than {most} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "http.too_large", message)
                .with_hint("name files by their paths instead of sending their text"))
        }
        Ok(Err(_)) => {
            let message = "the body of the request did not come to its end";
            Err(Refusal::new(StatusCode::BAD_REQUEST, "http.cut", message))
        }
        Err(_) => {
            let message = format!("the body of the request took longer than {:?}", limits.read_time);
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "http.slow", message))
        }
    }
}
