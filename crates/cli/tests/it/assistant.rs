//! `greentune mcp` through the binary; what the tools do is tested where they are.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

#[test]
fn a_client_is_served_over_standard_input_and_output() {
    assert!(listed_tools().iter().any(|tool| tool == "start_training"));
}

/// The names of the tools that the server lists; the server ends with its client.
pub fn listed_tools() -> Vec<String> {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["mcp", "--root", "."]);
    let mut server =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut to = server.stdin.take().unwrap();
    let mut from = BufReader::new(server.stdout.take().unwrap()).lines();
    let client = json!({ "name": "test", "version": "1" });
    let opening = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
    ];
    for message in messages {
        writeln!(to, "{message}").unwrap();
    }
    let mut answer = || serde_json::from_str::<Value>(&from.next().unwrap().unwrap()).unwrap();
    assert_eq!(answer()["id"], 1);
    let tools = answer();
    let names = tools["result"]["tools"].as_array().unwrap().iter();
    let names = names.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    drop(to);
    assert_eq!(from.next().map(Result::unwrap), None);
    assert_eq!(server.wait().unwrap().code(), Some(0));
    names
}
