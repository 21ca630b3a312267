//! The protocol over lines: a line is a message. What is none is answered here, with `"id": null` as JSON-RPC 2.0 asks for,
//! and never reaches the protocol's library, which says nothing of it.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
        DuplexStream,
    },
    sync::mpsc,
};

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
/// Bytes of a line at most.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes and lines that wait to be read.
const BUFFERED_BYTES: usize = 1 << 16;
const BUFFERED_LINES: usize = 16;

/// The server's ends of a connection whose other ends are `input` and `output`. The task ends when all is written.
pub(crate) fn over(
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<()>) {
    let (to_server, from_client) = tokio::io::duplex(BUFFERED_BYTES);
    let (to_client, from_server) = tokio::io::duplex(BUFFERED_BYTES);
    let (lines, to_write) = mpsc::channel(BUFFERED_LINES);
    tokio::spawn(take_messages(input, to_server, lines.clone()));
    tokio::spawn(pass_on(from_server, lines));
    (from_client, to_client, tokio::spawn(write(to_write, output)))
}

/// What is looked at of a message.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Value,
    method: Option<IgnoredAny>,
    result: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Passes messages to the server, and answers what is none.
async fn take_messages(
    input: impl AsyncRead + Unpin,
    mut server: DuplexStream,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut input).take(MOST_BYTES).read_until(b'\n', &mut line).await {
            Ok(bytes) if bytes > 0 => {}
            // The client is gone, and the server hears of it.
            _ => return,
        }
        let refused = if line.len() as u64 == MOST_BYTES && !line.ends_with(b"\n") {
            skip_line(&mut input).await;
            Some(refusal(INVALID_REQUEST, &Value::Null, &format!("a line of more than {MOST_BYTES} bytes")))
        } else {
            check(&line)
        };
        let passed = match refused {
            Some(refused) => answers.send(refused).await.is_ok(),
            None => server.write_all(&line).await.is_ok(),
        };
        if !passed {
            return;
        }
    }
}

/// Reads the rest of a line, and keeps none of it.
async fn skip_line(input: &mut (impl tokio::io::AsyncBufRead + Unpin)) {
    while let Ok(bytes) = input.fill_buf().await {
        let (read, is_over) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        input.consume(read);
        if is_over {
            return;
        }
    }
}

/// The answer to a line that is no message.
fn check(line: &[u8]) -> Option<Vec<u8>> {
    let text = line.trim_ascii();
    if text.is_empty() {
        return None;
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        return Some(refusal(PARSE_ERROR, &Value::Null, &format!("the line is no JSON: {error}")));
    }
    if text.starts_with(b"[") {
        let message =
            "lists of messages are no part of the protocol since 2025-06-18: send each in a line of its own";
        return Some(refusal(INVALID_REQUEST, &Value::Null, message));
    }
    let no_message = "no JSON-RPC message: send an object with jsonrpc \"2.0\", a method, its params and, for a request, an id";
    match serde_json::from_slice(text) {
        Ok(Envelope { id, method: None, result: None, error: None }) => {
            let id = if id.is_string() || id.is_number() { id } else { Value::Null };
            Some(refusal(INVALID_REQUEST, &id, no_message))
        }
        Ok(_) => None,
        Err(_) => Some(refusal(INVALID_REQUEST, &Value::Null, no_message)),
    }
}

fn refusal(code: i32, id: &Value, message: &str) -> Vec<u8> {
    let answer = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    (answer.to_string() + "\n").into_bytes()
}

/// Passes the server's lines on, each whole.
async fn pass_on(server: DuplexStream, lines: mpsc::Sender<Vec<u8>>) {
    let mut server = BufReader::new(server);
    loop {
        let mut line = Vec::new();
        match server.read_until(b'\n', &mut line).await {
            Ok(bytes) if bytes > 0 && lines.send(line).await.is_ok() => {}
            _ => return,
        }
    }
}

async fn write(mut lines: mpsc::Receiver<Vec<u8>>, mut output: impl AsyncWrite + Unpin) {
    while let Some(line) = lines.recv().await {
        if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Option<Value> {
        check(line.as_bytes()).map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn what_is_no_message_is_answered_with_the_id_that_it_has_or_none() {
        for line in ["", "  \r\n", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, r#"{"id":"a","result":{}}"#]
        {
            assert_eq!(answer(line), None, "{line}");
        }
        for (line, code, id) in [
            ("{nope", PARSE_ERROR, Value::Null),
            ("\u{feff}{}", PARSE_ERROR, Value::Null),
            ("[]", INVALID_REQUEST, Value::Null),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, INVALID_REQUEST, Value::Null),
            ("3", INVALID_REQUEST, Value::Null),
            (r#"{"jsonrpc":"2.0","id":7}"#, INVALID_REQUEST, json!(7)),
            (r#"{"id":{}}"#, INVALID_REQUEST, Value::Null),
        ] {
            let answer = answer(line).unwrap();
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}");
            assert!(answer.as_object().unwrap().contains_key("id"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_skipped_and_the_next_one_is_read() {
        let mut input = BufReader::with_capacity(8, &b"xxxxxxxxxxxxxxxxxxxxxxxxx\nnext\n"[..]);
        skip_line(&mut input).await;
        let mut line = String::new();
        input.read_line(&mut line).await.unwrap();
        assert_eq!(line, "next\n");
    }
}
