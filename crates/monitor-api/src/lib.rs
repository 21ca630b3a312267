//! greentune's operations over HTTP, the course of runs as it happens, and the dashboard (docs/http.md).
//!
//! A handler translates a request, performs one operation of the workbench and translates its answer back. What is here
//! beside the operations: events that are streamed to many followers, metrics for Prometheus, the OpenAPI
//! document, and the pages.

mod api;
mod assets;
mod emissions;
mod follow;
mod metrics;
mod openapi;
mod operations;
mod report;
mod respond;
mod runs;

use std::path::PathBuf;

use axum::Router;
use greentune_http_server::{Accounts, AuditNotes, Caller, Site};
use greentune_workbench::Workbench;

pub use openapi::document as openapi_document;
pub use report::html as html_report;

use self::api::Api;

/// What is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// The workbench of callers without an account; those with one have one of their own.
    pub workbench: Workbench,
    /// The project whose emissions are meant where a request names none.
    pub project: Option<PathBuf>,
    /// How much of it.
    pub access: Access,
    /// Where calls that change something are noted.
    pub notes: Option<AuditNotes>,
}

/// What callers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Look at runs and emissions.
    ReadOnly,
    /// The same for everybody, from other machines too, and without logs.
    Public,
}

/// The dashboard, the API, and whatever `more` has for a caller, such as the route of the MCP server.
pub fn site(served: Served, more: Option<impl Fn(&Caller) -> Router + Send + Sync + 'static>) -> Site {
    let is_public = served.access == Access::Public;
    let of_caller = move |caller: &Caller| {
        let api = Api::new(&served, caller);
        let more = more.as_ref().map_or_else(Router::new, |more| more(caller));
        api::routes(api).merge(more).fallback(api::nothing_here)
    };
    Site { open: assets::routes(), of_caller: Box::new(of_caller), is_public }
}

/// The workbench of `caller`: an account has its own home, runs and folders.
fn workbench_of(workbench: &Workbench, caller: &Caller) -> Workbench {
    let Some(account) = &caller.account else { return workbench.clone() };
    let config = workbench.config();
    let home = Accounts::new(&config.home).home(&account.name);
    Workbench::new(config.for_account(&home, &account.allowed_dirs))
}
