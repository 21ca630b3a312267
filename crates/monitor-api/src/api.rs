//! The routes of one caller, and what they share.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
    routing::get,
};
use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};
use greentune_http_server::{AuditNotes, Call, Caller, Limits, Refusal};
use greentune_workbench::{
    Workbench,
    operation::{Effect, Entry, ListRuns, OPERATIONS},
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Access, Served, emissions, follow::Tails, metrics, operations, respond, runs, workbench_of};

/// Operations of those who may only look.
const LOOKING: &[&str] = &[
    "list_runs",
    "show_run",
    "show_log",
    "monitor_training_progress",
    "monitor_training",
    "follow_events",
    "get_series",
    "energy_leaderboard",
    "compare_runs",
    "compare_emissions",
    "get_current_emissions",
    "get_emissions_summary",
    "get_aggregate_emissions",
    "list_emissions",
];

/// Arguments of an operation by name.
pub(crate) type Arguments = Map<String, Value>;

/// The argument of an operation that names its project.
const PROJECT_PATH: &str = "project_path";
/// The code of a run that is not known.
pub(crate) const UNKNOWN_RUN: &str = "run.unknown";

/// What a caller's handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    pub workbench: Workbench,
    pub limits: Limits,
    pub tails: Arc<Tails>,
    pub ended: CancellationToken,
    project: Option<PathBuf>,
    account: Option<String>,
    access: Access,
    notes: Option<AuditNotes>,
}

impl Api {
    pub(crate) fn new(served: &Served, caller: &Caller) -> Self {
        let workbench = workbench_of(&served.workbench, caller);
        let account = caller.account.as_ref().map(|account| account.name.clone());
        Self {
            limits: caller.limits.clone(),
            tails: Arc::new(Tails::new(workbench.clone())),
            ended: caller.ended.clone(),
            workbench,
            // The project of the user who started the server is not that of an account.
            project: served.project.clone().filter(|_| account.is_none()),
            account,
            access: served.access,
            notes: served.notes.clone(),
        }
    }

    /// Whether the caller may have `operation` performed.
    pub(crate) fn allows(&self, operation: &str) -> bool {
        match self.access {
            Access::Full => true,
            Access::ReadOnly => LOOKING.contains(&operation),
            Access::Public => LOOKING.contains(&operation) && operation != "show_log",
        }
    }

    /// The operation `name`.
    ///
    /// Errors: there is none; the server only lets look.
    pub(crate) fn operation(&self, name: &str) -> Result<&'static Entry, Refusal> {
        let found = OPERATIONS.iter().find(|entry| entry.name == name);
        let entry = found.ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "http.operation", format!("there is no operation {name:?}"))
                .with_hint("/openapi.json lists them")
        })?;
        if self.allows(name) {
            return Ok(entry);
        }
        let message = format!("{name} is not for this server: it only lets look");
        Err(Refusal::new(StatusCode::FORBIDDEN, "http.read_only", message)
            .with_hint("start greentune serve without --read-only and --public to change something"))
    }

    /// Performs the operation `name`, and answers what it does.
    ///
    /// Errors: as [`Self::operation`]; those of the operation.
    pub(crate) async fn perform(&self, name: &str, arguments: Arguments) -> Result<Value, Refusal> {
        let entry = self.operation(name)?;
        // Pages look every few seconds: what they only look at is not noted.
        let notes = self.notes.as_ref().filter(|_| entry.effect != Effect::Reads);
        let account = self.account.as_deref();
        let call = Call { account, transport: "api", client: None, tool: name, arguments: Some(&arguments) };
        let note = notes.map(|notes| notes.begin(&call));
        let answered = operations::perform(entry, &self.workbench, arguments).await;
        if let Some(note) = note {
            note.end(
                answered.as_ref().map_or_else(|refusal| refusal.code().to_owned(), |_| String::from("ok")),
            );
        }
        answered
    }

    /// The same for a run that is meant by `arguments`. One that is not known by itself is looked for in the server's
    /// project.
    ///
    /// Errors: as [`Self::perform`].
    pub(crate) async fn perform_for_run(
        &self,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value, Refusal> {
        let answered = self.perform(name, arguments.clone()).await;
        let in_project = match (&answered, &self.project) {
            (Err(refusal), Some(project))
                if refusal.code() == UNKNOWN_RUN && !arguments.contains_key(PROJECT_PATH) =>
            {
                arguments.insert(String::from(PROJECT_PATH), json!(project));
                self.perform(name, arguments).await
            }
            _ => return answered,
        };
        // What is said of the run in no place in particular is plainer.
        in_project.or(answered)
    }

    /// What `operation` answers about the run of the path, with the arguments of the address that are among `names`.
    ///
    /// Errors: as [`Self::in_address`] and [`Self::perform`].
    pub(crate) async fn answer_for_run(
        &self,
        operation: &str,
        run: String,
        request: Request,
        names: &[&str],
    ) -> Result<Response, Refusal> {
        let mut arguments = self.in_address(operation, &request, names)?;
        arguments.insert(String::from("run_id"), run.into());
        Ok(respond::json(request.headers(), &self.perform_for_run(operation, arguments).await?))
    }

    /// The arguments of `operation` in an address: `project`, and those of `names`. An empty one is none.
    ///
    /// Errors: as [`Self::operation`]; there is another one.
    pub(crate) fn in_address(
        &self,
        operation: &str,
        request: &Request,
        names: &[&str],
    ) -> Result<Arguments, Refusal> {
        let entry = self.operation(operation)?;
        let mut arguments = query(request);
        arguments.retain(|_, value| *value != "");
        if let Some(name) =
            arguments.keys().find(|name| *name != "project" && !names.contains(&name.as_str()))
        {
            let known = ["project"].iter().chain(names).copied().collect::<Vec<_>>().join(", ");
            let message = format!("the argument {name:?} is unknown; there are {known}");
            let problem = Problem::new(ProblemKind::InvalidInput, "arguments.unknown", message);
            return Err(problem.at_key(name).into());
        }
        if let Some(project) = arguments.remove("project") {
            arguments.insert(String::from(PROJECT_PATH), project);
        }
        Ok(operations::listed(entry, arguments))
    }

    /// `arguments` with the server's project where they name none.
    pub(crate) fn in_own_project(&self, mut arguments: Arguments) -> Arguments {
        if let Some(project) = &self.project {
            arguments.entry(PROJECT_PATH).or_insert_with(|| json!(project));
        }
        arguments
    }

    /// The project around the folder in which the server was started.
    pub(crate) fn own_project(&self) -> Option<PathBuf> {
        self.project.clone()
    }
}

/// All routes of `api` that need a caller.
pub(crate) fn routes(api: Api) -> Router {
    Router::new()
        .route("/emissions/aggregate", get(emissions::aggregate))
        .route("/emissions/{run}/current", get(emissions::current))
        .route("/emissions/{run}/summary", get(emissions::summary))
        .route("/metrics", get(metrics::all))
        .route("/api/v1/server", get(server))
        .route("/api/v1/runs", get(runs::list))
        .route("/api/v1/runs/{run}", get(runs::show))
        .route("/api/v1/runs/{run}/events", get(runs::events))
        .route("/api/v1/runs/{run}/series", get(runs::series))
        .route("/api/v1/runs/{run}/log", get(runs::log))
        .route("/api/v1/emissions/rows", get(emissions::rows))
        .route("/api/v1/{operation}", get(operations::read).post(operations::call))
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

/// What the server is, and what the caller may do.
async fn server(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let listed = api.workbench.list_runs(ListRuns::all(None)).await;
    let listed = listed.map_err(|error| Refusal::from(error.problem()))?;
    let projects: BTreeSet<_> = listed.runs.into_iter().map(|run| run.project_path).collect();
    let operations: Vec<_> =
        OPERATIONS.iter().map(|entry| entry.name).filter(|name| api.allows(name)).collect();
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "project_path": api.project,
        "projects": projects,
        "read_only": api.access != Access::Full,
        "account": api.account,
        "operations": operations,
    });
    Ok(respond::json(request.headers(), &answer))
}

async fn wrong_method(request: Request) -> Refusal {
    let refusal =
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "http.method", "this cannot be done with this path")
            .with_hint("/openapi.json says which methods a path has");
    let name = request.uri().path().strip_prefix("/api/v1/");
    let changes = OPERATIONS.iter().any(|entry| Some(entry.name) == name && entry.effect != Effect::Reads);
    // The route itself would name GET too.
    if changes { refusal.with_header(header::ALLOW, "POST") } else { refusal }
}

pub(crate) async fn nothing_here() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "http.path", "nothing is here")
        .with_hint("the dashboard is at /, the API below /api/v1 (see /openapi.json), the MCP server at /mcp")
}

/// What stands in the place of the `{…}` of a path.
pub(crate) struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name)).map_err(|_| {
            let message = "a name in the path is no text in UTF-8";
            Refusal::new(StatusCode::BAD_REQUEST, "http.path_name", message)
        })
    }
}

/// The arguments of an address by name; one that stands there several times is the last one's.
pub(crate) fn query(request: &Request) -> Arguments {
    let pairs = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}
