//! `greentune mcp`: serves the tools to an assistant.

use std::path::PathBuf;

use clap::Args;
use greentune_mcp_server::{Preset, Server, serve_stdio};

use greentune_core_config::ProblemKind;

use crate::{failure::Failure, log_queue::LogQueue, session::Session};

/// Arguments of `mcp`.
#[derive(Args, Debug)]
pub struct Mcp {
    /// A folder that the tools may use besides the project of the current folder, the client's roots and greentune's home;
    /// can be given several times
    #[arg(long, value_name = "DIR")]
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

impl Mcp {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
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
