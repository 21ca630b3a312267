//! What the server says of itself as a protected resource (RFC 9728).

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

/// Where it is said.
pub(crate) const PATH: &str = "/.well-known/oauth-protected-resource";
/// The path of the Model Context Protocol, which is the resource in the sense of OAuth.
pub const RESOURCE: &str = "/mcp";

/// The document: which resource it is, and how a token is sent. No authorization server is named: tokens are given out by
/// `greentune mcp account add`.
pub(crate) fn document(headers: &HeaderMap) -> Value {
    json!({
        "resource": format!("{}{RESOURCE}", base(headers)),
        "resource_name": "greentune",
        "bearer_methods_supported": ["header"],
        "resource_documentation": "https://github.com/greentune/greentune/blob/main/docs/mcp.md#over-http",
    })
}

/// What a client without a valid token is told.
pub(crate) fn challenge(headers: &HeaderMap, is_token_wrong: bool) -> String {
    let error = if is_token_wrong { r#"error="invalid_token", "# } else { "" };
    format!(r#"Bearer {error}resource_metadata="{}{PATH}{RESOURCE}""#, base(headers))
}

/// Scheme and host as the client knows them: the host was checked, and a proxy with TLS says so.
fn base(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_tls = text(header::HeaderName::from_static("x-forwarded-proto")) == Some("https");
    format!("{}://{}", if is_tls { "https" } else { "http" }, text(header::HOST).unwrap_or("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_as_the_client_knows_it() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8788".parse().unwrap());
        assert_eq!(document(&headers)["resource"], "http://127.0.0.1:8788/mcp");
        headers.insert(header::HOST, "tune.example".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        assert_eq!(
            challenge(&headers, true),
            "Bearer error=\"invalid_token\", \
             resource_metadata=\"https://tune.example/.well-known/oauth-protected-resource/mcp\""
        );
    }
}
