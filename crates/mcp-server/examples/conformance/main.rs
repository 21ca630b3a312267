//! The fixture server that MCP's official conformance suite asks for, behind the HTTP stack of `greentune mcp --http`.
//!
//! usage: `conformance`; listens on a free port of this machine, says where on standard error, and runs until it is killed.
//! `fixtures/interop/mcp_conformance.py` starts it. Names and texts of its tools, resources and prompts are the suite's.

#![allow(clippy::print_stderr, reason = "a program of its own")]
#![allow(deprecated, reason = "the suite asks for what clients of 2025-11-25 still have")]

mod calls;
mod catalogue;
mod fixture;
mod input;
mod tasks;

use std::{error::Error, future::pending, net::SocketAddr};

use axum::Router;
use greentune_http_server::{Accounts, Caller, HttpServer, HttpSettings, Limits, MCP_PATH, Site};
use greentune_mcp_server::routes_of;

use self::fixture::Fixture;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let fixture = Fixture::default();
    let of_caller = move |caller: &Caller| {
        let fixture = fixture.clone();
        routes_of(move || fixture.clone(), caller)
    };
    let site = Site { open: Router::new(), of_caller: Box::new(of_caller), is_public: false };
    let settings = HttpSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allowed_hosts: Vec::new(),
        allowed_origins: Vec::new(),
        limits: Limits::default(),
    };
    let home = tempfile::tempdir()?;
    let server = HttpServer::bind(site, Accounts::new(home.path()), &settings).await?;
    eprintln!("listening on {}{MCP_PATH}", server.url());
    server.serve(pending()).await;
    Ok(())
}
