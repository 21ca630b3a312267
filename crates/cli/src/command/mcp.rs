//! `greentune mcp`: serves the tools to an assistant.

use std::path::PathBuf;

use clap::Args;

use greentune_core_config::ProblemKind;

use crate::{failure::Failure, log_queue::LogQueue, session::Session};

/// Arguments of `mcp`.
#[derive(Args, Debug)]
pub struct Mcp {
    /// A folder outside of which no path may lie; can be given several times [default: any path]
    #[arg(long, alias = "allow-dir", value_name = "DIR")]
    root: Vec<PathBuf>,
}

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
        Ok(greentune_mcp_server::serve_stdio(session.workbench_within(&self.root)?).await?)
    }
}
