//! Who calls: one protocol service for each account, which knows its own sessions and its own workbench and no other's.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode, header};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    accounts::{Account, AccountError, Accounts, digest},
    limits::Limits,
    metadata,
    refusal::Refusal,
};
use crate::{ServeError, Server};

/// How often the file of accounts is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An account, or everybody who needs none, with what serves it.
pub(crate) struct Caller {
    /// Nobody has an account when there are none.
    account: Option<Account>,
    pub(crate) service: StreamableHttpService<Server, LocalSessionManager>,
    pub(crate) sessions: Arc<LocalSessionManager>,
    ended: CancellationToken,
}

impl Caller {
    fn new(
        server: &Server,
        account: Option<Account>,
        limits: &Limits,
        ended: CancellationToken,
    ) -> Arc<Self> {
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(limits.session_idle);
        let sessions = Arc::new(sessions);
        let turns = Arc::new(Semaphore::new(limits.calls_at_once));
        let server = server.over_http(account.as_ref(), &turns, limits.patience);
        // Host and Origin are checked before.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_json_response(true)
            .with_max_request_body_bytes(limits.body_bytes)
            .with_cancellation_token(ended.clone());
        let service =
            StreamableHttpService::new(move || Ok(server.for_new_client()), Arc::clone(&sessions), config);
        Arc::new(Self { account, service, sessions, ended })
    }

    /// The account's name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.name.as_str())
    }
}

/// All who may call now.
#[derive(Default)]
struct Known {
    callers: Vec<Arc<Caller>>,
    /// Whether calls need a token: once there were accounts, a server lets nobody in without one.
    need_token: bool,
    /// Why the file of accounts cannot be read.
    problem: Option<String>,
}

/// All who may call, as the file of accounts says now.
pub(crate) struct Callers {
    server: Server,
    limits: Limits,
    accounts: Accounts,
    known: RwLock<Known>,
    ended: CancellationToken,
}

impl Callers {
    /// The callers of `server`.
    ///
    /// Errors: the file of accounts cannot be read.
    pub(crate) fn new(
        server: &Server,
        accounts: Accounts,
        limits: &Limits,
        ended: CancellationToken,
    ) -> Result<Self, ServeError> {
        let listed = accounts.list()?;
        let everybody = Caller::new(server, None, limits, ended.child_token());
        let known = RwLock::new(Known { callers: vec![everybody], ..Known::default() });
        let callers = Self { server: server.clone(), limits: limits.clone(), accounts, known, ended };
        callers.now_are(Ok(listed));
        Ok(callers)
    }

    /// Whether calls need a token.
    pub(crate) fn need_token(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).need_token
    }

    /// Follows changes of the file of accounts, until the server ends.
    pub(crate) async fn follow_accounts(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let callers = Arc::clone(&self);
            let look = move || callers.now_are(callers.accounts.list());
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }

    /// Serves `accounts`. Those that are gone, or have another token, are served no more.
    fn now_are(&self, accounts: Result<Vec<Account>, AccountError>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let problem = accounts.as_ref().err().map(ToString::to_string);
        if let Some(problem) = problem.as_ref().filter(|problem| known.problem.as_ref() != Some(problem)) {
            tracing::error!("nobody is let in: {problem}");
        }
        let accounts = accounts.unwrap_or_default();
        known.need_token |= problem.is_some() || !accounts.is_empty();
        known.problem = problem;
        if !known.need_token {
            return;
        }
        let is_still_there =
            |caller: &Arc<Caller>| caller.account.as_ref().is_some_and(|account| accounts.contains(account));
        let (mut callers, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut known.callers).into_iter().partition(is_still_there);
        for caller in gone {
            caller.ended.cancel();
        }
        for account in accounts {
            if callers.iter().all(|caller| caller.account.as_ref() != Some(&account)) {
                callers.push(Caller::new(
                    &self.server,
                    Some(account),
                    &self.limits,
                    self.ended.child_token(),
                ));
            }
        }
        known.callers = callers;
    }

    /// The caller whose token `headers` show.
    ///
    /// Errors: there is none, or it is of no account; the file of accounts cannot be read.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.problem.is_some() {
            let message = "the accounts cannot be read; the server's log says why";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "http.accounts", message));
        }
        if !known.need_token {
            return known.callers.first().cloned().ok_or_else(|| refused(headers, None));
        }
        let token = bearer(headers).ok_or_else(|| refused(headers, None))?;
        let digest = digest(token);
        // All are looked at, so that the time it takes does not say which one it is.
        let mut found = None;
        for caller in &known.callers {
            if caller.account.as_ref().is_some_and(|account| account.has_token(&digest)) {
                found = Some(caller);
            }
        }
        found.cloned().ok_or_else(|| refused(headers, Some(token)))
    }
}

/// The token of `Authorization: Bearer TOKEN`, when there is one such line.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refused(headers: &HeaderMap, token: Option<&str>) -> Refusal {
    let (message, hint) = match token {
        Some(_) => ("the token is of no account", "greentune mcp account add NAME gives out a new one"),
        None => (
            "the server needs a token, as Authorization: Bearer TOKEN",
            "greentune mcp account add NAME gives one out",
        ),
    };
    Refusal::new(StatusCode::UNAUTHORIZED, "http.token", message)
        .with_hint(hint)
        .with_header(header::WWW_AUTHENTICATE, metadata::challenge(headers, token.is_some()))
}
