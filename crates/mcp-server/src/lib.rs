//! greentune's operations as tools of the Model Context Protocol (MCP).
//!
//! A tool is one operation of the workbench's registry: its input and output schemas are those of the operation's
//! request and response. This crate says which operations are tools, calls one and says what came of it, as structured
//! content and as a sentence or two. Resources, prompts and completions stand beside the tools. Clients of the protocol's
//! versions 2024-11-05 to 2026-07-28 are served.

mod answer;
mod calls;
mod client_roots;
mod completions;
mod consent;
mod error;
mod flags;
mod http;
mod lines;
mod progress;
mod prompts;
mod resources;
mod server;
mod skill;
mod tasks;
mod tools;

use rmcp::{ServiceExt, service::ServerInitializeError};
use tokio::io::{AsyncRead, AsyncWrite};

pub use error::ServeError;
pub use http::{routes, routes_of, site};
pub use server::Server;
pub use skill::{SKILL, skill_digest};
pub use tools::{NOT_OFFERED, Preset};

/// Serves one client of `server` over standard input and output until it closes the connection.
///
/// Nothing but the protocol is written to standard output, and no operation is begun before it is asked for.
/// Needs a Tokio runtime with its timer; one thread is enough.
///
/// Errors: the client did not open the connection as the protocol says; the server broke down.
pub async fn serve_stdio(server: Server) -> Result<(), ServeError> {
    let (stdin, stdout) = rmcp::transport::stdio();
    serve_lines(server, stdin, stdout).await
}

/// The same over any lines: `input` are the client's, and the server's go to `output`.
///
/// Errors: as [`serve_stdio`].
pub async fn serve_lines(
    server: Server,
    input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), ServeError> {
    let (from_client, to_client, writing) = lines::over(input, output);
    let running = match server.serve((from_client, to_client)).await {
        Ok(running) => running,
        // A client that only looked whether the program starts did nothing wrong.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(source) => return Err(ServeError::Opening(Box::new(source))),
    };
    running.waiting().await.map_err(ServeError::Stopped)?;
    writing.await.map_err(ServeError::Stopped)
}
