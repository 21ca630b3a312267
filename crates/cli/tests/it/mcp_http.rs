//! `greentune mcp --http` and its accounts through the binary; what the server does is tested where it is.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

/// A server that is ended when it is dropped.
pub struct Served {
    server: Child,
    address: String,
    /// What it said when it began.
    line: String,
}

impl Served {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::by(sandbox.command([&["mcp", "--http", "127.0.0.1:0"], arguments].concat()))
    }

    /// The server that `command` starts.
    pub fn by(mut command: Command) -> Self {
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let after = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}"));
        let address = after.split('/').next().unwrap().to_owned();
        Self { server, address, line }
    }

    /// What it answers to a request, with the head of its response.
    pub fn ask(&self, token: Option<&str>, method: &str, mut params: Value) -> String {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let name = params["name"].as_str().or(params["uri"].as_str());
        let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: {method}\r\n{name}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn list_runs(&self, token: Option<&str>) -> String {
        self.ask(token, "tools/call", json!({ "name": "list_runs", "arguments": {} }))
    }

    /// What it has said since it began; it is ended then.
    pub fn said(mut self) -> String {
        self.end();
        let mut said = self.line.clone();
        self.server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    /// Asks it to end, as the system does.
    fn end(&mut self) -> Option<i32> {
        let id = self.server.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.server.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_client_is_served_over_http_until_the_server_is_asked_to_end() {
    let sandbox = Sandbox::new();
    let mut served = Served::start(&sandbox, &["--root", "."]);
    assert!(served.line.ends_with("/mcp for everybody on this machine\n"), "{}", served.line);
    let answer = served.list_runs(None);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"isError\":false"), "{answer}");
    #[cfg(target_os = "linux")]
    {
        // Since Linux 5.0.
        let status = std::fs::read_to_string(format!("/proc/{}/status", served.server.id())).unwrap();
        assert!(!status.contains("THP_enabled:\t1"), "a server needs no huge pages: {status}");
    }
    assert_eq!(served.end(), Some(0));
    let noted = std::fs::read_to_string(sandbox.path("home/audit/calls.jsonl")).unwrap();
    assert!(noted.contains("\"tool\":\"list_runs\"") && noted.contains("\"transport\":\"http\""), "{noted}");
    let mut out = String::new();
    served.server.stdout.as_mut().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "", "standard output stays free");
}

#[test]
fn an_account_is_made_told_its_token_once_used_and_taken_away() {
    let sandbox = Sandbox::new();
    let account = |arguments: &[&str]| sandbox.run([&["mcp", "account"], arguments].concat());
    std::fs::create_dir(sandbox.path("data")).unwrap();
    let made = account(&["add", "ada", "--allow-dir", "data", "--json"]).json();
    let token = made["token"].as_str().unwrap();
    let data = std::fs::canonicalize(sandbox.path("data")).unwrap();
    assert_eq!(made["allowed_dirs"], json!([data]));
    let listed = account(&["list"]);
    assert!(listed.stdout.contains("ada") && !listed.stdout.contains(token), "{listed:?}");
    assert_eq!(account(&["list", "--json"]).json()["accounts"][0]["name"], "ada");
    assert_eq!(account(&["add", "ada", "--json"]).problem()["code"], "account.exists");

    let served = Served::start(&sandbox, &["--root", "."]);
    assert!(served.line.ends_with("/mcp for accounts with a token\n"), "{}", served.line);
    assert!(served.list_runs(None).starts_with("HTTP/1.1 401 "));
    let answer = served.list_runs(Some(token));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"isError\":false"), "{answer}");

    let removed = account(&["remove", "ada"]);
    assert!(removed.stdout.starts_with("ada may not call any more; its runs stay in "), "{removed:?}");
    assert_eq!(account(&["remove", "ada", "--json"]).problem()["code"], "account.unknown");
    assert!(account(&["list"]).stdout.contains("no accounts"));
}

#[test]
fn an_address_that_others_reach_is_refused_without_accounts() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["--http", "0.0.0.0:0"][..],
        &["--http", "[::]:0"],
        &["--http", "127.0.0.1:0", "--allowed-host", "tune.example"],
    ] {
        let problem = sandbox.run([&["mcp", "--json"], arguments].concat()).problem();
        assert_eq!(problem["code"], "http.no_accounts", "{arguments:?}");
        assert!(problem["hint"].as_str().unwrap().contains("greentune mcp account add"), "{problem}");
    }
    let no_address = sandbox.run(["mcp", "--http", "8788"]);
    assert_eq!(no_address.code, 2);
    assert!(no_address.stderr.contains("such as 127.0.0.1:8788"), "{no_address:?}");
}

#[test]
fn a_call_over_standard_input_is_noted_too() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    crate::assistant::called_with(
        &sandbox,
        &project,
        &[],
        &[],
        "list_runs",
        &json!({ "project_path": project }),
    );
    let noted = std::fs::read_to_string(sandbox.path("home/audit/calls.jsonl")).unwrap();
    let line: Value = serde_json::from_str(noted.trim()).unwrap();
    assert_eq!(
        (&line["tool"], &line["transport"], &line["account"]),
        (&json!("list_runs"), &json!("stdio"), &json!("local"))
    );
    assert_eq!((&line["client"], &line["outcome"]), (&json!("test"), &json!("ok")));
    assert_eq!(line["project_path"], json!(project));
}
