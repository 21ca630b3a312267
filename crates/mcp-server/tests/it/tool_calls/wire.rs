//! JSON-RPC, line by line, without a client that would refuse to send what it finds wrong.

use std::{ffi::OsStr, pin::Pin, process::Stdio};

use greentune_mcp_server::Server;
use greentune_test_support::fake_worker;
use greentune_workbench::{Workbench, WorkbenchConfig};
use rmcp::ServiceExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines},
    process::{Child, Command},
};

use super::place::{CANARY, Place};

pub struct Wire {
    to: Pin<Box<dyn AsyncWrite + Send>>,
    from: Lines<BufReader<Pin<Box<dyn AsyncRead + Send>>>>,
    last_id: u64,
    /// Ends with the wire.
    child: Option<Child>,
}

impl Wire {
    /// An opened connection to a server that may use the place's allowed folder and reaches no network: the program
    /// `server`, or one in this process whose workers act out `mode`.
    pub async fn to(server: Option<&OsStr>, place: &Place, mode: &str) -> Self {
        let mut wire = match server {
            Some(program) => Self::to_program(program, place),
            None => Self::in_process(place, mode),
        };
        let client = json!({ "name": "fuzzer", "version": "1" });
        let opening = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        wire.call("initialize", &opening).await.expect("a server");
        wire.send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        wire
    }

    fn in_process(place: &Place, mode: &str) -> Self {
        let mut config = WorkbenchConfig::new(place.home(), fake_worker::command(mode).unwrap());
        config.allowed_roots = Some(vec![place.allowed()]);
        config.user_home = Some(place.user());
        config.hub.offline = true;
        let server = Server::new(&Workbench::new(config)).with_client_roots();
        let (server_end, client_end) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { server.serve(server_end).await.unwrap().waiting().await });
        let (from, to) = tokio::io::split(client_end);
        Self::over(Box::pin(from), Box::pin(to), None)
    }

    fn to_program(program: &OsStr, place: &Place) -> Self {
        let mut command = Command::new(program);
        command.args(["mcp", "--allow-dir"]).arg(place.allowed()).current_dir(place.project());
        command.env("HOME", place.user()).env("XDG_CONFIG_HOME", place.user().join(".config"));
        command.env("GREENTUNE_HOME", place.home()).env("HF_HOME", place.user().join("huggingface"));
        command.env("HF_HUB_OFFLINE", "1").env("HF_TOKEN", format!("hf_{CANARY}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program that GREENTUNE_FUZZ_SERVER names");
        let (from, to) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        Self::over(Box::pin(from), Box::pin(to), Some(child))
    }

    fn over(
        from: Pin<Box<dyn AsyncRead + Send>>,
        to: Pin<Box<dyn AsyncWrite + Send>>,
        child: Option<Child>,
    ) -> Self {
        Self { to, from: BufReader::new(from).lines(), last_id: 0, child }
    }

    /// The process of a server that is a program.
    pub fn server_process(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Sends a line, whatever it is.
    pub async fn send(&mut self, line: &[u8]) {
        // A server that is gone is found by the next call.
        let _ = self.to.write_all(&[line, b"\n"].concat()).await;
        let _ = self.to.flush().await;
    }

    /// The answer to a request; nothing when the server has ended.
    pub async fn call(&mut self, method: &str, params: &Value) -> Option<Value> {
        self.last_id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params });
        self.send(request.to_string().as_bytes()).await;
        loop {
            let line = self.from.next_line().await.ok().flatten()?;
            let message: Value = serde_json::from_str(&line).expect("JSON from the server");
            if message["id"] == self.last_id {
                return Some(message);
            }
        }
    }
}
