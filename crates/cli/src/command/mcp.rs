//! `greentune mcp`: serves the tools to an assistant.

use std::path::PathBuf;

use clap::Args;

use crate::{failure::Failure, session::Session};

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
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(session.log_level()).init();
        Ok(greentune_mcp_server::serve_stdio(session.workbench_within(&self.root)?).await?)
    }
}
