//! The protocol over HTTP, for one caller: its sessions and its workbench. Who may call is `greentune-http-server`'s to say
//! (docs/mcp.md, "Over HTTP").

mod message;
mod rpc_refusal;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use greentune_http_server::{Caller, Limits, MCP_PATH, Refusal, Site};
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::sync::Semaphore;

use self::{message::Message, rpc_refusal::RpcRefusal};
use crate::Server;

/// The header with a session's id.
const SESSION_ID: &str = "mcp-session-id";

/// `server` and nothing else, over HTTP.
pub fn site(server: Server) -> Site {
    let of_caller = move |caller: &Caller| routes(&server, caller).fallback(nothing_here);
    Site { open: Router::new(), of_caller: Box::new(of_caller), is_public: false }
}

async fn nothing_here() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "http.path", "nothing is here")
        .with_hint(format!("the protocol's endpoint is {MCP_PATH}"))
}

/// The route of `server` for `caller`.
pub fn routes(server: &Server, caller: &Caller) -> Router {
    let turns = Arc::new(Semaphore::new(caller.limits.calls_at_once));
    let server = server.over_http(caller.account.as_ref(), &turns, caller.limits.patience);
    routes_of(move || server.for_new_client(), caller)
}

/// The route of any server of the protocol for `caller`; `make` makes what serves one client.
pub fn routes_of<H: ServerHandler>(make: impl Fn() -> H + Send + Sync + 'static, caller: &Caller) -> Router {
    let mut sessions = LocalSessionManager::default();
    sessions.session_config.keep_alive = Some(caller.limits.session_idle);
    let sessions = Arc::new(sessions);
    // Host and Origin are checked before.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_json_response(true)
        .with_max_request_body_bytes(caller.limits.body_bytes)
        .with_cancellation_token(caller.ended.clone());
    let service = StreamableHttpService::new(move || Ok(make()), Arc::clone(&sessions), config);
    let endpoint = Endpoint { service, sessions, limits: caller.limits.clone() };
    Router::new().route(MCP_PATH, any(enter)).with_state(endpoint)
}

/// The protocol's endpoint for one caller.
struct Endpoint<H: ServerHandler> {
    service: StreamableHttpService<H, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    limits: Limits,
}

impl<H: ServerHandler> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        let Self { service, sessions, limits } = self;
        Self { service: service.clone(), sessions: Arc::clone(sessions), limits: limits.clone() }
    }
}

async fn enter<H: ServerHandler>(State(endpoint): State<Endpoint<H>>, request: Request) -> Response {
    endpoint.serve(request).await.unwrap_or_else(|refused| refused)
}

impl<H: ServerHandler> Endpoint<H> {
    /// Errors: the response to a request that the protocol's library does not see.
    async fn serve(&self, request: Request) -> Result<Response, Response> {
        let (parts, body) = request.into_parts();
        let session = parts.headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
        if parts.method == Method::DELETE
            && let Some(id) = session
            && !self.sessions.sessions.read().await.contains_key(id)
        {
            let refusal = RpcRefusal::new(StatusCode::NOT_FOUND, "http.session", "there is no such session");
            return Err(refusal.into_response());
        }
        if parts.method != Method::POST || !is_json(&parts.headers) {
            let request = Request::from_parts(parts, Body::empty());
            return Ok(self.service.handle(request).await.map(Body::new));
        }
        let message = Message::read(body, &self.limits).await?;
        if message.is_initialize && session.is_none() {
            self.check_sessions().await.map_err(RpcRefusal::into_response)?;
        }
        let Message { text, id, .. } = message;
        let request = Request::from_parts(parts, Body::from(text));
        let response = self.service.handle(request).await.map(Body::new);
        match response.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(message::no_message(id).into_response()),
            _ => Ok(response),
        }
    }

    async fn check_sessions(&self) -> Result<(), RpcRefusal> {
        let most = self.limits.sessions;
        if self.sessions.sessions.read().await.len() < most {
            return Ok(());
        }
        let message =
            format!("there are {most} sessions already; one that nothing is sent in ends by itself");
        Err(RpcRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "http.sessions", message)
            .after(Duration::from_mins(1)))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
