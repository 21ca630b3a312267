//! Requests as bytes, so that they can be wrong.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const TIME_LIMIT: Duration = Duration::from_secs(20);

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The message in the body: JSON, or the last event of a stream.
    pub fn message(&self) -> Value {
        let event = self.body.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
        serde_json::from_str(event.unwrap_or(&self.body)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of greentune's own refusal.
    pub fn code(&self) -> String {
        let body = self.message();
        let code = body["error"]["data"]["code"].as_str().or_else(|| body["code"].as_str());
        code.unwrap_or_default().to_owned()
    }
}

/// Sends `text` and reads until the server closes the connection.
pub async fn exchange(address: SocketAddr, text: impl AsRef<[u8]>) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has read enough may close before everything is sent.
    let _ = stream.write_all(text.as_ref()).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(TIME_LIMIT, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("an answer in time");
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Reply { status, head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text += &rest[..length];
        body = rest[length..].trim_start_matches("\r\n");
    }
    text
}

/// A request to the protocol's endpoint with `headers` in addition or instead.
pub fn request(address: SocketAddr, method: &str, headers: &[(&str, &str)], body: &str) -> String {
    let (host, length) = (address.to_string(), body.len().to_string());
    let usual = [
        ("Host", host.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Length", &length),
        ("Connection", "close"),
    ];
    let is_replaced = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let lines = usual.into_iter().filter(|(name, _)| !is_replaced(name)).chain(headers.iter().copied());
    let head = lines.fold(String::new(), |head, (name, value)| head + name + ": " + value + "\r\n");
    format!("{method} HTTP/1.1\r\n{head}\r\n{body}")
}

pub async fn post(address: SocketAddr, headers: &[(&str, &str)], body: &str) -> Reply {
    exchange(address, request(address, "POST /mcp", headers, body)).await
}

/// A message of version 2026-07-28 that calls a tool.
pub fn stateless_call(tool: &str, arguments: &Value) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "wire", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
}

/// The headers that such a message needs.
pub fn stateless_headers(tool: &str) -> Vec<(&'static str, &str)> {
    vec![("Mcp-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", tool)]
}

/// Calls a tool without a session.
pub async fn call(address: SocketAddr, token: Option<&str>, tool: &str, arguments: &Value) -> Reply {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = stateless_headers(tool);
    headers.extend(authorization.as_deref().map(|line| ("Authorization", line)));
    post(address, &headers, &stateless_call(tool, arguments)).await
}

/// Begins a session and answers with its id.
pub async fn initialize(address: SocketAddr, token: Option<&str>) -> Result<String, Reply> {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization.as_deref().map(|line| ("Authorization", line)).into_iter().collect();
    let reply = post(address, &headers, &initialize_message("2025-11-25")).await;
    match reply.header("mcp-session-id") {
        Some(id) => Ok(id.to_owned()),
        None => Err(reply),
    }
}

pub fn initialize_message(version: &str) -> String {
    let client = json!({ "name": "wire", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string()
}
