//! The server over HTTP: who may call, from where, and how much (docs/mcp.md, "Over HTTP").

mod accounts;
mod callers;
mod connections;
mod guard;
mod limits;
mod message;
mod metadata;
mod refusal;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{
    accounts::{Account, AccountError, Accounts, NewAccount},
    limits::Limits,
};
use self::{
    callers::{Caller, Callers},
    guard::Guard,
    limits::{Counted, Rate},
    message::Message,
    refusal::Refusal,
};
use crate::{ServeError, Server};

/// The header with a session's id.
const SESSION_ID: &str = "mcp-session-id";
/// Arguments of an address in which somebody may put a token, which then stands in logs.
const TOKEN_ARGUMENTS: [&str; 7] =
    ["access_token", "token", "api_key", "apikey", "key", "auth", "authorization"];

/// Where and how a server listens.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The address; port 0 stands for any free one.
    pub address: SocketAddr,
    /// Names by which clients reach it, with or without a port, besides this machine's own and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call, such as `https://page.example`.
    pub allowed_origins: Vec<String>,
    /// How much callers may ask for.
    pub limits: Limits,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
struct Ends {
    peer: IpAddr,
    local: IpAddr,
}

/// A server that listens.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    door: Door,
    ended: CancellationToken,
}

/// What every request to the protocol's endpoint passes.
#[derive(Clone)]
struct Door {
    callers: Arc<Callers>,
    rate: Arc<Rate>,
    limits: Limits,
}

impl HttpServer {
    /// Lets `server` listen. `accounts` are those who may call; without any, everybody on this machine may.
    ///
    /// Errors: the address is taken or none of this machine's; it can be reached from elsewhere, or other names are allowed,
    /// and there are no accounts; the accounts cannot be read; a host or an origin is none.
    pub async fn bind(
        server: &Server,
        accounts: Accounts,
        settings: &HttpSettings,
    ) -> Result<Self, ServeError> {
        let HttpSettings { address, allowed_hosts, allowed_origins, limits } = settings;
        let ended = CancellationToken::new();
        let callers = Callers::new(server, accounts, limits, ended.clone())?;
        let is_for_this_machine = address.ip().is_loopback() && allowed_hosts.is_empty();
        if !is_for_this_machine && !callers.need_token() {
            return Err(ServeError::NeedsAccounts(*address));
        }
        let listening =
            TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) =
            listening.map_err(|source| ServeError::Listening { address: *address, source })?;
        let guard = Guard::new(allowed_hosts, allowed_origins, address.port())?;
        let door =
            Door { callers: Arc::new(callers), rate: Arc::new(Rate::new(limits)), limits: limits.clone() };
        Ok(Self { listener, address, guard, door, ended })
    }

    /// The protocol's endpoint.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, metadata::ENDPOINT)
    }

    /// Whether calls need a token.
    pub fn needs_token(&self) -> bool {
        self.door.callers.need_token()
    }

    /// Serves until `asked_to_end`: then no connection is accepted any more, answers under way have a few seconds, and what
    /// waits is ended. Runs that are trained go on.
    pub async fn serve(self, asked_to_end: impl Future<Output = ()>) {
        let Self { listener, guard, door, ended, .. } = self;
        let following = tokio::spawn(Arc::clone(&door.callers).follow_accounts());
        let limits = door.limits.clone();
        let document = get(|headers: HeaderMap| async move {
            ([(header::CONTENT_TYPE, "application/json")], metadata::document(&headers).to_string())
        });
        let router = Router::new()
            .route(metadata::ENDPOINT, any(enter))
            .with_state(door)
            .route("/healthz", get(|| async { "ok\n" }))
            .route(metadata::PATH, document.clone())
            .route(&format!("{}{}", metadata::PATH, metadata::ENDPOINT), document)
            .fallback(nothing_here)
            .layer(middleware::from_fn_with_state(guard, Guard::check));
        connections::serve(listener, router, &limits, asked_to_end, &ended).await;
        following.abort();
    }
}

async fn nothing_here() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "http.path", "nothing is here")
        .with_hint("the protocol's endpoint is /mcp")
}

/// A request to the protocol's endpoint.
async fn enter(State(door): State<Door>, request: Request) -> Response {
    door.pass(request).await.unwrap_or_else(IntoResponse::into_response)
}

impl Door {
    async fn pass(&self, request: Request) -> Result<Response, Refusal> {
        if let Some(name) = request.uri().query().and_then(token_argument) {
            let message = format!("a token in the address ({name}) is not taken: addresses stand in logs");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "http.token_in_address", message).with_hint(
                "send it as Authorization: Bearer TOKEN; if it was a real one, take the account away and add it again",
            ));
        }
        let peer = request.extensions().get::<Ends>().map(|ends| ends.peer);
        let caller = self.callers.of(request.headers());
        match (caller.as_ref().ok().and_then(|caller| caller.name()), peer) {
            (Some(name), _) => self.count(Counted::Account(name.into()))?,
            // A caller that is let in without an account is a user of this machine.
            (None, Some(peer)) if caller.is_err() => self.count(Counted::Address(peer))?,
            _ => {}
        }
        let caller = caller?;
        self.serve(&caller, request).await
    }

    fn count(&self, who: Counted) -> Result<(), Refusal> {
        let counted = self.rate.count(who, Instant::now());
        counted.map_err(|wait| {
            let message = format!("more than {} requests in a second", self.limits.requests_per_second);
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, "http.too_many", message, wait)
        })
    }

    async fn serve(&self, caller: &Caller, request: Request) -> Result<Response, Refusal> {
        let (mut parts, body) = request.into_parts();
        // Nothing behind this door needs the token.
        parts.headers.remove(header::AUTHORIZATION);
        let session = parts.headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
        if parts.method == Method::DELETE
            && let Some(id) = session
            && !caller.sessions.sessions.read().await.contains_key(id)
        {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "http.session", "there is no such session"));
        }
        if parts.method != Method::POST || !is_json(&parts.headers) {
            let request = Request::from_parts(parts, Body::empty());
            return Ok(caller.service.handle(request).await.map(Body::new));
        }
        let message = Message::read(body, &self.limits).await?;
        if message.is_initialize && session.is_none() {
            self.check_sessions(caller).await?;
        }
        let Message { text, id, .. } = message;
        let request = Request::from_parts(parts, Body::from(text));
        let response = caller.service.handle(request).await.map(Body::new);
        match response.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(message::no_message(id)),
            _ => Ok(response),
        }
    }

    async fn check_sessions(&self, caller: &Caller) -> Result<(), Refusal> {
        let most = self.limits.sessions;
        if caller.sessions.sessions.read().await.len() < most {
            return Ok(());
        }
        let message =
            format!("there are {most} sessions already; one that nothing is sent in ends by itself");
        Err(Refusal::later(StatusCode::SERVICE_UNAVAILABLE, "http.sessions", message, Duration::from_mins(1)))
    }
}

/// The argument in `query` that may hold a token.
fn token_argument(query: &str) -> Option<&str> {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.find(|name| TOKEN_ARGUMENTS.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
