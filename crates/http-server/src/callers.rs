//! Who calls: each account has routes of its own, which know its own work and no other's.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
};
use tokio_util::sync::CancellationToken;

use super::{
    accounts::{Account, AccountError, Accounts, digest},
    error::ServerError,
    limits::Limits,
    metadata,
    refusal::Refusal,
};

/// How often the file of accounts is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a server serves.
pub struct Site {
    /// Routes for everybody whose `Host` and `Origin` are allowed, with and without a token.
    pub open: Router,
    /// Makes the routes of a caller: once for each account, or once for everybody where there are none.
    pub of_caller: Box<dyn Fn(&Caller) -> Router + Send + Sync>,
    /// Whether anybody may be let in without an account, from other machines too.
    pub is_public: bool,
}

/// An account, or everybody who needs none.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Nobody has an account when there are none.
    pub account: Option<Account>,
    /// How much it may ask for.
    pub limits: Limits,
    /// Cancelled when the account is gone, or the server ends: what waits or streams then ends.
    pub ended: CancellationToken,
}

/// A caller with its routes.
pub(crate) struct Known {
    caller: Caller,
    routes: Router,
}

impl Known {
    /// The account's name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.caller.account.as_ref().map(|account| account.name.as_str())
    }

    /// What serves it.
    pub(crate) fn routes(&self) -> Router {
        self.routes.clone()
    }
}

/// All who may call now.
#[derive(Default)]
struct Present {
    callers: Vec<Arc<Known>>,
    /// Whether calls need a token: once there were accounts, a server lets nobody in without one.
    need_token: bool,
    /// Why the file of accounts cannot be read.
    problem: Option<String>,
}

/// All who may call, as the file of accounts says now.
pub(crate) struct Callers {
    make: Box<dyn Fn(&Caller) -> Router + Send + Sync>,
    limits: Limits,
    /// None are looked for where anybody is let in.
    accounts: Option<Accounts>,
    known: RwLock<Present>,
    ended: CancellationToken,
}

impl Callers {
    /// Callers whose routes are made by `make`.
    ///
    /// Errors: the file of accounts cannot be read.
    pub(crate) fn new(
        make: Box<dyn Fn(&Caller) -> Router + Send + Sync>,
        accounts: Option<Accounts>,
        limits: &Limits,
        ended: CancellationToken,
    ) -> Result<Self, ServerError> {
        let listed = accounts.as_ref().map_or(Ok(Vec::new()), Accounts::list)?;
        let callers = Self { make, limits: limits.clone(), accounts, known: RwLock::default(), ended };
        if listed.is_empty() {
            let everybody = callers.caller(None);
            callers.known.write().unwrap_or_else(PoisonError::into_inner).callers.push(everybody);
        }
        callers.now_are(Ok(listed));
        Ok(callers)
    }

    fn caller(&self, account: Option<Account>) -> Arc<Known> {
        let caller = Caller { account, limits: self.limits.clone(), ended: self.ended.child_token() };
        let routes = (self.make)(&caller);
        Arc::new(Known { caller, routes })
    }

    /// Whether calls need a token.
    pub(crate) fn need_token(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).need_token
    }

    /// Follows changes of the file of accounts, until the server ends.
    pub(crate) async fn follow_accounts(self: Arc<Self>) {
        let Some(accounts) = self.accounts.clone() else { return };
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let (callers, accounts) = (Arc::clone(&self), accounts.clone());
            let look = move || callers.now_are(accounts.list());
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
        let is_still_there = |known: &Arc<Known>| {
            known.caller.account.as_ref().is_some_and(|account| accounts.contains(account))
        };
        let (mut callers, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut known.callers).into_iter().partition(is_still_there);
        for known in gone {
            known.caller.ended.cancel();
        }
        for account in accounts {
            if callers.iter().all(|known| known.caller.account.as_ref() != Some(&account)) {
                callers.push(self.caller(Some(account)));
            }
        }
        known.callers = callers;
    }

    /// The caller whose token `headers` show.
    ///
    /// Errors: there is none, or it is of no account; the file of accounts cannot be read.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<Arc<Known>, Refusal> {
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
        for known in &known.callers {
            if known.caller.account.as_ref().is_some_and(|account| account.has_token(&digest)) {
                found = Some(known);
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
