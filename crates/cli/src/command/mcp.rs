//! `greentune mcp`: serves the tools to an assistant, and sets its client up.

mod client;
mod edit;
mod entry;
mod install;
mod outcome;
mod settings;
mod skill;
mod target;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use greentune_mcp_server::{Preset, Server, serve_stdio};

use greentune_core_config::ProblemKind;

use crate::{failure::Failure, log_queue::LogQueue, session::Session};

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
}

impl Mcp {
    /// Whether it serves until it is told to end.
    pub(super) fn serves(&self) -> bool {
        self.command.is_none()
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.command {
            Some(McpCommand::Install(install)) => return install.run(session).await,
            Some(McpCommand::Uninstall(uninstall)) => return uninstall.run(session).await,
            None => {}
        }
        // Standard output belongs to the protocol.
        let log = LogQueue::before(std::io::stderr()).map_err(|error| {
            Failure::new(ProblemKind::Internal, "log.start", format!("no thread for the log: {error}"))
        })?;
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log)
            .with_max_level(session.log_level())
            .init();
        let preset = match self.tools.as_str() {
            "core" => Preset::Core,
            "hub" => Preset::Hub,
            _ => Preset::All,
        };
        let server = if self.root.is_empty() {
            let workbench = session.workbench_within(&session.usual_roots(&self.allow_dir))?;
            Server::new(&workbench).with_client_roots()
        } else {
            Server::new(&session.workbench_within(&self.root)?)
        };
        Ok(serve_stdio(server.with_tools(preset)).await?)
    }
}
