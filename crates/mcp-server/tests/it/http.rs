//! The server over HTTP, as the protocol's own client meets it and as bare bytes do.

mod accounts;
mod audit;
mod crowd;
mod flow;
mod limits;
mod refusals;
pub mod wire;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use greentune_http_server::{Accounts, AuditLog, HttpServer, HttpSettings, Limits, ServerError};
use greentune_mcp_server::{Server, site};
use greentune_test_support::fake_worker;
use greentune_workbench::{Workbench, WorkbenchConfig};
use rmcp::transport::{
    StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
};
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener},
    sync::oneshot,
    task::JoinHandle,
};

use crate::session::{Session, fixture};

/// A server in a folder of its own. Projects of those without an account lie in the folder.
pub struct Place {
    folder: Arc<tempfile::TempDir>,
    pub address: SocketAddr,
    pub accounts: Accounts,
    end: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Settings for any port of this machine.
pub fn settings() -> HttpSettings {
    HttpSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        limits: Limits::default(),
    }
}

impl Place {
    /// A server that everybody on this machine may call.
    pub async fn open() -> Self {
        Self::with(&[], settings(), "slow").await.0
    }

    /// A server with limits that `adjust` has changed.
    pub async fn limited(accounts: &[&str], adjust: impl FnOnce(&mut Limits)) -> (Self, Vec<String>) {
        let mut settings = settings();
        adjust(&mut settings.limits);
        Self::with(accounts, settings, "slow").await
    }

    /// A server for `names`, whose workers act out `mode`, with the accounts' tokens.
    pub async fn with(names: &[&str], settings: HttpSettings, mode: &str) -> (Self, Vec<String>) {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let root = fs::canonicalize(folder.path()).unwrap();
        let accounts = Accounts::new(&root.join("home"));
        let add = |name: &&str| accounts.add(name, &[fixture("")]).unwrap().token;
        let tokens = names.iter().map(add).collect();
        let mut config = WorkbenchConfig::new(root.join("home"), fake_worker::command(mode).unwrap());
        config.allowed_roots = Some(vec![root.join("open"), fixture("")]);
        let log = AuditLog::new(&root.join("home")).unwrap();
        let server = Server::new(&Workbench::new(config)).with_client_roots().noting_calls(&log);
        let server = HttpServer::bind(site(server), accounts.clone(), &settings).await.unwrap();
        let address = server.url().trim_start_matches("http://").parse().unwrap();
        let (end, asked_to_end) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            server.serve(async { drop(asked_to_end.await) }).await;
            drop(log);
        });
        (Self { folder, address, accounts, end, served }, tokens)
    }

    /// The protocol's client; those of 2026-07-28 have no session.
    pub async fn client(&self, is_stateless: bool, token: Option<&str>) -> Session {
        self.client_with_roots(is_stateless, token, Vec::new()).await
    }

    pub async fn client_with_roots(
        &self,
        is_stateless: bool,
        token: Option<&str>,
        roots: Vec<PathBuf>,
    ) -> Session {
        let uri = format!("http://{}/mcp", self.address);
        let mut config = StreamableHttpClientTransportConfig::with_uri(uri);
        config.auth_header = token.map(str::to_owned);
        let transport = StreamableHttpClientTransport::from_unix_socket_with_config(&self.bridge(), config);
        Session::over(transport, Arc::clone(&self.folder), is_stateless, roots).await
    }

    /// A socket whose bytes go to the server, for the protocol's client without TLS and proxies.
    fn bridge(&self) -> String {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.folder.path().join(format!("bridge-{number}"));
        let (listener, address) = (UnixListener::bind(&path).unwrap(), self.address);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // The server may have ended.
                    if let Ok(mut far) = TcpStream::connect(address).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        path.display().to_string()
    }

    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// Ends the server.
    pub async fn close(self) {
        self.end.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), self.served).await.expect("an end in time").unwrap();
    }
}

/// A run in a project of `session` below `folder`.
pub async fn run_in(session: &Session, folder: &std::path::Path) -> (Value, Value) {
    let mut arguments = session.project_arguments();
    arguments["output_dir"] = json!(folder);
    let project = session.succeed("generate_fine_tuning_project", arguments).await.0["project_path"].clone();
    let arguments = crate::session::run_arguments(&project);
    let run = session.succeed("configure_training_run", arguments).await.0["run_id"].clone();
    (project, run)
}

/// Why a server does not listen.
pub async fn not_bound(settings: &HttpSettings) -> ServerError {
    let folder = tempfile::tempdir().unwrap();
    let config = WorkbenchConfig::new(folder.path(), Vec::new());
    let server = Server::new(&Workbench::new(config));
    HttpServer::bind(site(server), Accounts::new(folder.path()), settings).await.map(drop).unwrap_err()
}
