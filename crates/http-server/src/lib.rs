//! The one HTTP server: who may call, from where, and how much (docs/http.md, "Who may call").
//!
//! What is served are axum's routes. Some are open to everybody whose `Host` and `Origin` are allowed. The others are made
//! for each account, so that what one account sees is out of the reach of another.

mod accounts;
mod audit;
mod body;
mod callers;
mod connections;
mod error;
mod guard;
mod limits;
mod metadata;
mod refusal;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use self::{
    accounts::{Account, AccountError, Accounts, NewAccount},
    audit::{AuditLog, AuditNotes, Call, Note},
    body::read_body,
    callers::{Caller, Site},
    error::ServerError,
    limits::Limits,
    metadata::RESOURCE as MCP_PATH,
    refusal::{Refusal, problem_body},
};
use self::{
    callers::Callers,
    guard::Guard,
    limits::{Counted, Rate},
};

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
    open: Router,
    door: Door,
    ended: CancellationToken,
}

/// What every request passes that is not for everybody.
#[derive(Clone)]
struct Door {
    callers: Arc<Callers>,
    rate: Arc<Rate>,
    limits: Limits,
    is_public: bool,
}

impl HttpServer {
    /// Lets a server of `site` listen. `accounts` are those who may call; without any, everybody on this machine may.
    ///
    /// Errors: the address is taken or none of this machine's; it can be reached from elsewhere, or other names are allowed,
    /// and there are no accounts; the accounts cannot be read; a host or an origin is none.
    pub async fn bind(site: Site, accounts: Accounts, settings: &HttpSettings) -> Result<Self, ServerError> {
        let HttpSettings { address, allowed_hosts, allowed_origins, limits } = settings;
        let ended = CancellationToken::new();
        let Site { open, of_caller, is_public } = site;
        let callers = Callers::new(of_caller, (!is_public).then_some(accounts), limits, ended.clone())?;
        let is_for_this_machine = address.ip().is_loopback() && allowed_hosts.is_empty();
        if !is_public && !is_for_this_machine && !callers.need_token() {
            return Err(ServerError::NeedsAccounts(*address));
        }
        let listening =
            TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) =
            listening.map_err(|source| ServerError::Listening { address: *address, source })?;
        let guard = Guard::new(allowed_hosts, allowed_origins, address.port())?;
        let door = Door {
            callers: Arc::new(callers),
            rate: Arc::new(Rate::new(limits)),
            limits: limits.clone(),
            is_public,
        };
        Ok(Self { listener, address, guard, open, door, ended })
    }

    /// The server's address, such as `http://127.0.0.1:8787`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether calls need a token.
    pub fn needs_token(&self) -> bool {
        self.door.callers.need_token()
    }

    /// Serves until `asked_to_end`: then no connection is accepted any more, answers under way have a few seconds, and what
    /// waits is ended. Runs that are trained go on.
    pub async fn serve(self, asked_to_end: impl Future<Output = ()>) {
        let Self { listener, guard, open, door, ended, .. } = self;
        let following = tokio::spawn(Arc::clone(&door.callers).follow_accounts());
        let limits = door.limits.clone();
        let document = get(|headers: HeaderMap| async move {
            ([(header::CONTENT_TYPE, "application/json")], metadata::document(&headers).to_string())
        });
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route(metadata::PATH, document.clone())
            .route(&format!("{}{MCP_PATH}", metadata::PATH), document)
            .fallback(enter)
            .with_state(door)
            .merge(open)
            .layer(middleware::from_fn_with_state(guard, Guard::check));
        connections::serve(listener, router, &limits, asked_to_end, &ended).await;
        following.abort();
    }
}

/// A request that is not for everybody.
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
            // A caller that is let in without an account is a user of this machine, if the server is not public.
            (None, Some(peer)) if caller.is_err() || self.is_public && !peer.is_loopback() => {
                self.count(Counted::Address(peer))?;
            }
            _ => {}
        }
        let caller = caller?;
        let (mut parts, body) = request.into_parts();
        // Nothing behind this door needs the token.
        parts.headers.remove(header::AUTHORIZATION);
        let answered = caller.routes().oneshot(Request::from_parts(parts, body)).await;
        Ok(answered.unwrap_or_else(|never| match never {}))
    }

    fn count(&self, who: Counted) -> Result<(), Refusal> {
        let counted = self.rate.count(who, Instant::now());
        counted.map_err(|wait| {
            let message = format!("more than {} requests in a second", self.limits.requests_per_second);
            Refusal::later(StatusCode::TOO_MANY_REQUESTS, "http.too_many", message, wait)
        })
    }
}

/// The argument in `query` that may hold a token.
fn token_argument(query: &str) -> Option<&str> {
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.find(|name| TOKEN_ARGUMENTS.iter().any(|known| name.eq_ignore_ascii_case(known)))
}
