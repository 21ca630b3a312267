//! JSON-RPC, line by line or over HTTP, without a client that would refuse to send what it finds wrong.

use std::{ffi::OsStr, net::SocketAddr, pin::Pin, process::Stdio};

use greentune_http_server::{Accounts, HttpServer};
use greentune_mcp_server::{Server, site};
use greentune_test_support::fake_worker;
use greentune_workbench::{Workbench, WorkbenchConfig};
use rmcp::ServiceExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    process::{Child, Command},
};

use super::place::{CANARY, Place};
use crate::http::{settings, wire};

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Standard input and output.
    Lines,
    /// HTTP, where calls of both revisions take turns.
    Http,
}

pub struct Wire {
    carrier: Carrier,
    last_id: u64,
    /// Ends with the wire.
    child: Option<Child>,
}

enum Carrier {
    Lines { to: Pin<Box<dyn AsyncWrite + Send>>, from: Lines<BufReader<Pin<Box<dyn AsyncRead + Send>>>> },
    Http { address: SocketAddr, session: String },
}

impl Wire {
    /// An opened connection to a server that may use the place's allowed folder and reaches no network: the program
    /// `server`, or one in this process whose workers act out `mode`.
    pub async fn to(transport: Transport, server: Option<&OsStr>, place: &Place, mode: &str) -> Self {
        match (transport, server) {
            (Transport::Lines, Some(program)) => Self::to_program(program, place).await,
            (Transport::Lines, None) => Self::in_process(place, mode).await,
            (Transport::Http, Some(program)) => Self::to_program_over_http(program, place).await,
            (Transport::Http, None) => Self::in_process_over_http(place, mode).await,
        }
    }

    async fn in_process(place: &Place, mode: &str) -> Self {
        let server = server(place, mode);
        let (server_end, client_end) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { server.serve(server_end).await.unwrap().waiting().await });
        let (from, to) = tokio::io::split(client_end);
        Self::over(Box::pin(from), Box::pin(to), None).await
    }

    async fn in_process_over_http(place: &Place, mode: &str) -> Self {
        let site = site(server(place, mode));
        let server = HttpServer::bind(site, Accounts::new(&place.home()), &settings()).await.unwrap();
        let address = server.url().trim_start_matches("http://").parse().unwrap();
        tokio::spawn(server.serve(std::future::pending()));
        Self::over_http(address, None).await
    }

    async fn to_program(program: &OsStr, place: &Place) -> Self {
        let mut command = command(program, place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program that GREENTUNE_FUZZ_SERVER names");
        let (from, to) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        Self::over(Box::pin(from), Box::pin(to), Some(child)).await
    }

    async fn to_program_over_http(program: &OsStr, place: &Place) -> Self {
        let mut command = command(program, place);
        command.args(["--http", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program that GREENTUNE_FUZZ_SERVER names");
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = said.next_line().await.unwrap().expect("where the server listens");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        tokio::spawn(async move {
            while let Ok(Some(line)) = said.next_line().await {
                assert!(!line.contains(CANARY), "in the log: {line}");
            }
        });
        Self::over_http(address, Some(child)).await
    }

    async fn over(
        from: Pin<Box<dyn AsyncRead + Send>>,
        to: Pin<Box<dyn AsyncWrite + Send>>,
        child: Option<Child>,
    ) -> Self {
        let carrier = Carrier::Lines { to, from: BufReader::new(from).lines() };
        let mut wire = Self { carrier, last_id: 0, child };
        let client = json!({ "name": "fuzzer", "version": "1" });
        let opening = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        wire.call("initialize", &opening).await.expect("a server");
        wire.send(INITIALIZED.as_bytes()).await;
        wire
    }

    async fn over_http(address: SocketAddr, child: Option<Child>) -> Self {
        let session = wire::initialize(address, None).await.unwrap();
        let mut wire = Self { carrier: Carrier::Http { address, session }, last_id: 0, child };
        wire.send(INITIALIZED.as_bytes()).await;
        wire
    }

    /// The process of a server that is a program.
    pub fn server_process(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Sends a line, or the body of a request, whatever it is.
    pub async fn send(&mut self, line: &[u8]) {
        match &mut self.carrier {
            Carrier::Lines { to, .. } => {
                // A server that is gone is found by the next call.
                let _ = to.write_all(&[line, b"\n"].concat()).await;
                let _ = to.flush().await;
            }
            Carrier::Http { address, session } => {
                let length = line.len().to_string();
                let headers = [("Mcp-Session-Id", session.as_str()), ("Content-Length", &length)];
                let head = wire::request(*address, "POST /mcp", &headers, "");
                wire::exchange(*address, [head.as_bytes(), line].concat()).await;
            }
        }
    }

    /// The answer to a request; nothing when the server has ended.
    pub async fn call(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        if let Carrier::Http { address, session } = &self.carrier {
            return over_http(*address, session, request).await;
        }
        self.send(request.to_string().as_bytes()).await;
        let Carrier::Lines { from, .. } = &mut self.carrier else { unreachable!() };
        loop {
            let line = from.next_line().await.ok().flatten()?;
            let message: Value = serde_json::from_str(&line).expect("JSON from the server");
            if message["id"] == id {
                return Some(message);
            }
        }
    }
}

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The answer to a call of a tool: one in two in the session, the others as version 2026-07-28 has them.
async fn over_http(address: SocketAddr, session: &str, request: Value) -> Option<Value> {
    let tool = request["params"]["name"].as_str().unwrap_or_default();
    let in_session = vec![("Mcp-Session-Id", session)];
    let (headers, body) = if request["id"].as_u64().is_some_and(|id| id % 2 == 0) {
        (in_session, request.to_string())
    } else {
        (wire::stateless_headers(tool), wire::stateless_call(tool, &request["params"]["arguments"]))
    };
    let reply = wire::post(address, &headers, &body).await;
    assert!(!format!("{reply:?}").contains(CANARY), "{reply:?}");
    (reply.status != 0).then(|| reply.message())
}

/// A server in this process for `place`, whose workers act out `mode`.
fn server(place: &Place, mode: &str) -> Server {
    let mut config = WorkbenchConfig::new(place.home(), fake_worker::command(mode).unwrap());
    config.allowed_roots = Some(vec![place.allowed()]);
    config.user_home = Some(place.user());
    config.hub.offline = true;
    Server::new(&Workbench::new(config)).with_client_roots()
}

/// The command of the server `program` for `place`.
fn command(program: &OsStr, place: &Place) -> Command {
    let mut command = Command::new(program);
    command.args(["mcp", "--allow-dir"]).arg(place.allowed()).current_dir(place.project());
    command.env("HOME", place.user()).env("XDG_CONFIG_HOME", place.user().join(".config"));
    command.env("GREENTUNE_HOME", place.home()).env("HF_HOME", place.user().join("huggingface"));
    command.env("HF_HUB_OFFLINE", "1").env("HF_TOKEN", format!("hf_{CANARY}"));
    command.kill_on_drop(true);
    command
}
