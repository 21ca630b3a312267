//! The fixture server that MCP's official conformance suite asks for, behind the HTTP stack that `greentune mcp --http` has.
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

use std::error::Error;

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::net::TcpListener;

use self::fixture::Fixture;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let fixture = Fixture::default();
    let config = StreamableHttpServerConfig::default().with_json_response(true);
    let service = StreamableHttpService::<_, LocalSessionManager>::new(
        move || Ok(fixture.clone()),
        std::sync::Arc::default(),
        config,
    );
    let router = Router::new().nest_service("/mcp", service);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}/mcp", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let router = router.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                hyper::service::Service::call(
                    &TowerToHyperService::new(router.clone()),
                    request.map(Body::new),
                )
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
