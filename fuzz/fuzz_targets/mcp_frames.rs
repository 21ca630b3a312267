//! Lines of JSON-RPC to the MCP server over a pipe in memory, until the client closes it.
//!
//! The server may use one folder and reaches no network; its worker program is one that fails.
#![no_main]

use std::{fs, sync::LazyLock, time::Duration};

use greentune_fuzz::Scratch;
use greentune_mcp_server::Server;
use greentune_workbench::{Workbench, WorkbenchConfig};
use libfuzzer_sys::fuzz_target;
use rmcp::ServiceExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime,
};

const OPENING: &str = r#"{"jsonrpc":"2.0","id":"open","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"fuzz","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
"#;
/// What no answer says: the code of a defect.
const DEFECT: &str = "\"code\":-32603";

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("allowed")).expect("a folder");
    scratch
});

fuzz_target!(|data: &[u8]| {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The first byte says whether the client opens the connection as it should.
    let Some((form, data)) = data.split_first() else { return };
    let opening = if form % 4 == 0 { "" } else { OPENING };
    let answers = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), exchange(opening, data)).await.expect("the server ends")
    });
    assert!(!answers.contains(DEFECT), "{answers}");
    let beside = fs::read_dir(SCRATCH.path("")).expect("a folder").flatten();
    assert!(
        beside.map(|entry| entry.file_name()).all(|name| name == "allowed" || name == "home"),
        "something was written outside"
    );
});

async fn exchange(opening: &str, data: &[u8]) -> String {
    let mut config = WorkbenchConfig::new(SCRATCH.path("home"), vec!["/bin/false".into()]);
    config.allowed_roots = Some(vec![SCRATCH.path("allowed")]);
    config.user_home = Some(SCRATCH.path("user"));
    config.hub.offline = true;
    let server = Server::new(&Workbench::new(config)).with_client_roots();
    let (server_end, client_end) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(async move {
        if let Ok(running) = server.serve(server_end).await {
            let _ = running.waiting().await;
        }
    });
    let (mut from, mut to) = tokio::io::split(client_end);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        let _ = from.read_to_end(&mut answers).await;
        answers
    });
    for bytes in [opening.as_bytes(), data, b"\n"] {
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    // Halves of a duplex end together: the server ends when it has read all.
    serving.await.expect("no panic");
    String::from_utf8_lossy(&reading.await.expect("no panic")).into_owned()
}
