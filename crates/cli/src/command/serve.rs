//! `greentune serve`: the dashboard, the HTTP API and the MCP server in one.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use greentune_http_server::{Accounts, AuditLog, Caller, HttpServer, HttpSettings, Limits};
use greentune_mcp_server::{Server, routes};
use greentune_monitor_api::{Access, Served, site};

use super::mcp::{address, log_to_stderr, no_thread};
use crate::{failure::Failure, session::Session, signals::asked_to_end};

/// Connections at once: each follower of a run has one.
const CONNECTIONS: usize = 4096;
/// Connections of one other machine at once.
const CONNECTIONS_PER_ADDRESS: usize = 256;

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where to listen; port 0 stands for any free one. Beyond this machine only where there are accounts
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address)]
    address: SocketAddr,
    /// A folder that callers may use besides the project of the current folder and greentune's home; can be given several
    /// times
    #[arg(long, value_name = "DIR", num_args = 1..)]
    allow_dir: Vec<PathBuf>,
    /// A name by which clients reach the server, when it is not this machine's; can be given several times
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// An origin whose pages may call the server, such as https://page.example; can be given several times
    #[arg(long, value_name = "ORIGIN")]
    allowed_origin: Vec<String>,
    /// Let callers look at runs and emissions, and do nothing else
    #[arg(long)]
    read_only: bool,
    /// The same for everybody who reaches the address, without a token; logs are not shown
    #[arg(long)]
    public: bool,
}

impl Serve {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        log_to_stderr(session)?;
        let workbench = session.workbench_within(&session.usual_roots(&self.allow_dir))?;
        let home = workbench.config().home.clone();
        let access = match (self.public, self.read_only) {
            (true, _) => Access::Public,
            (_, true) => Access::ReadOnly,
            _ => Access::Full,
        };
        // Dropped last, when every call is noted.
        let calls = AuditLog::new(&home).map_err(no_thread)?;
        let notes = Some(calls.notes());
        let served = Served { workbench: workbench.clone(), project: session.project(), access, notes };
        let mcp = Server::new(&workbench).noting_calls(&calls);
        // Its tools do more than look.
        let more = (access == Access::Full).then_some(move |caller: &Caller| routes(&mcp, caller));
        let limits = Limits {
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            ..Limits::default()
        };
        allow_open_files(CONNECTIONS);
        let Self { address, allowed_host: allowed_hosts, allowed_origin: allowed_origins, .. } = self;
        let settings = HttpSettings { address, allowed_hosts, allowed_origins, limits };
        let server = HttpServer::bind(site(served, more), Accounts::new(&home), &settings).await?;
        let who = match (access, server.needs_token()) {
            (Access::Public, _) => "everybody, to look at runs",
            (_, true) => "accounts with a token",
            (_, false) => "everybody on this machine",
        };
        session.output.announce(&format!("listening on {} for {who}", server.url()));
        if !address.ip().is_loopback() {
            session.output.announce("what is sent is not encrypted: put a proxy with TLS in front of it");
        }
        server.serve(asked_to_end()).await;
        Ok(())
    }
}

/// Lets the process have so many files open, as far as the system allows: by default it is 1024 in many places.
fn allow_open_files(connections: usize) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        // As many again for what is read.
        let wanted = 2 * connections as u64;
        if limit.current.is_some_and(|now| now < wanted) {
            limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
            // With fewer, connections beyond them wait.
            let _ = setrlimit(Resource::Nofile, limit);
        }
    }
}
