//! What can end the server before its client does.

use greentune_core_config::{Diagnostic, Problem, ProblemKind};
use rmcp::service::ServerInitializeError;

/// What can end the server before its client does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The client did not open the connection as the protocol says.
    #[error("the client did not open an MCP connection: {0}")]
    Opening(Box<ServerInitializeError>),
    /// The task that serves the connection ended by itself.
    #[error("the MCP connection broke down: {0}")]
    Stopped(tokio::task::JoinError),
}

impl Diagnostic for ServeError {
    fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::Opening(_) => Problem::new(ProblemKind::InvalidInput, "mcp.opening", message).with_hint(
                "let an MCP client start this command: it talks JSON-RPC over standard input and output",
            ),
            Self::Stopped(_) => Problem::new(ProblemKind::Internal, "mcp.stopped", message)
                .with_hint("start the server again; runs that are training continue without it"),
        }
    }
}
