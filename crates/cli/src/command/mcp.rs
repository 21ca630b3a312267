//! `greentune mcp`: serves the tools to an assistant, and sets its client up.

mod client;
mod edit;
mod entry;
mod install;
mod outcome;
mod settings;
mod skill;
mod target;

mod account;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use greentune_core_config::ProblemKind;
use greentune_http_server::{Accounts, AuditLog, HttpServer, HttpSettings, Limits, MCP_PATH};
use greentune_mcp_server::{Preset, Server, serve_stdio, site};

use crate::{
    failure::Failure,
    log_queue::LogQueue,
    session::Session,
    signals::{asked_to_end, unless_asked_to_end, until_asked_to_end},
};

/// Arguments of `mcp`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Mcp {
    #[command(subcommand)]
    command: Option<McpCommand>,
    /// A folder that the tools may use besides the project of the current folder, the client's roots and greentune's home;
    /// can be given several times
    #[arg(long, value_name = "DIR", num_args = 1..)]
    allow_dir: Vec<PathBuf>,
    /// A folder outside of which nothing is used, whatever the current folder is and the client says; can be given several
    /// times
    #[arg(long, value_name = "DIR", conflicts_with = "allow_dir")]
    root: Vec<PathBuf>,
    /// Which tools are listed: what is listed takes room in every conversation
    #[arg(long, value_name = "PRESET", default_value = "all", value_parser = PRESETS)]
    tools: String,
    /// Serve over HTTP at this address, such as 127.0.0.1:8788, instead of standard input and output; beyond this machine
    /// only where there are accounts
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Option<SocketAddr>,
    /// A name by which clients reach the server, when it is not this machine's; can be given several times
    #[arg(long, value_name = "NAME", requires = "http")]
    allowed_host: Vec<String>,
    /// An origin whose pages may call the server, such as https://page.example; can be given several times
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    allowed_origin: Vec<String>,
}

/// The words for sets of tools.
const PRESETS: [&str; 3] = ["core", "hub", "all"];

/// What `mcp` does instead of serving.
#[derive(Debug, Subcommand)]
enum McpCommand {
    /// Write greentune's server into the settings of a client
    Install(install::Install),
    /// Take greentune's server out of the settings of a client
    Uninstall(install::Uninstall),
    /// Say who may call over HTTP
    #[command(subcommand)]
    Account(account::Account),
}

impl Mcp {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.command {
            Some(McpCommand::Install(install)) => unless_asked_to_end(Box::pin(install.run(session))).await,
            Some(McpCommand::Uninstall(uninstall)) => {
                unless_asked_to_end(Box::pin(uninstall.run(session))).await
            }
            Some(McpCommand::Account(account)) => account.run(session),
            None => Box::pin(self.serve(session)).await,
        }
    }

    async fn serve(self, session: &Session) -> Result<(), Failure> {
        log_to_stderr(session)?;
        let workbench = if self.root.is_empty() {
            session.workbench_within(&session.usual_roots(&self.allow_dir))?
        } else {
            session.workbench_within(&self.root)?
        };
        let server = Server::new(&workbench).with_tools(preset(&self.tools));
        let server = if self.root.is_empty() { server.with_client_roots() } else { server };
        let home = workbench.config().home.clone();
        // Dropped last, when every call is noted.
        let calls = AuditLog::new(&home).map_err(no_thread)?;
        let server = server.noting_calls(&calls);
        let Some(address) = self.http else {
            let serving = Box::pin(async { Ok(serve_stdio(server).await?) });
            return until_asked_to_end(serving).await;
        };
        let Self { allowed_host: allowed_hosts, allowed_origin: allowed_origins, .. } = self;
        let settings = HttpSettings { address, allowed_hosts, allowed_origins, limits: Limits::default() };
        let server = HttpServer::bind(site(server), Accounts::new(&home), &settings).await?;
        let who = if server.needs_token() { "accounts with a token" } else { "everybody on this machine" };
        session.output.announce(&format!("listening on {}{MCP_PATH} for {who}", server.url()));
        if !address.ip().is_loopback() {
            session.output.announce("what is sent is not encrypted: put a proxy with TLS in front of it");
        }
        server.serve(asked_to_end()).await;
        Ok(())
    }
}

/// Lets what servers note go to standard error: standard output may belong to a protocol.
pub(super) fn log_to_stderr(session: &Session) -> Result<(), Failure> {
    let log = LogQueue::before(std::io::stderr()).map_err(no_thread)?;
    tracing_subscriber::fmt().with_ansi(false).with_writer(log).with_max_level(session.log_level()).init();
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
pub(super) fn no_thread(error: std::io::Error) -> Failure {
    Failure::new(ProblemKind::Internal, "log.start", format!("no thread for the log: {error}"))
}

/// The set of tools of one of [`PRESETS`].
fn preset(word: &str) -> Preset {
    match word {
        "core" => Preset::Core,
        "hub" => Preset::Hub,
        _ => Preset::All,
    }
}

/// An address and a port; `localhost` is this machine.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let local = local.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    local.or_else(|| text.parse().ok()).ok_or_else(|| {
        String::from(
            "an address and a port, such as 127.0.0.1:8788 or [::1]:8788; port 0 stands for any free one",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for (text, expected) in
            [("127.0.0.1:8788", "127.0.0.1:8788"), ("localhost:0", "127.0.0.1:0"), ("[::1]:1", "[::1]:1")]
        {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for text in
            ["8788", ":8788", "localhost", "tune.example:80", "127.0.0.1:99999", "http://127.0.0.1:1", ""]
        {
            assert!(address(text).unwrap_err().contains("127.0.0.1:8788"), "{text}");
        }
    }
}
