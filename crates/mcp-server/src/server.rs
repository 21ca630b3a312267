//! The server as the protocol sees it: who it is, which tools it has, and calling one.

use std::{sync::Arc, time::Duration};

use greentune_core_config::Diagnostic;
use greentune_workbench::{Workbench, operation::Entry};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::{NotificationContext, RequestContext},
};
use tokio::sync::Semaphore;

use crate::{
    Account, Accounts, AuditLog, answer,
    calls::Calls,
    client_roots::ClientRoots,
    progress::{LoggedRemarks, Progress, report_during},
    tools,
};

const INSTRUCTIONS: &str = "Fine-tunes language models with LoRA on this machine. Usual order: \
    generate_fine_tuning_project, prepare_dataset, inspect_dataset, configure_training_run, plan_training, start_training, \
    monitor_training_progress until the status is completed, evaluate_model, export_model. \
    Use absolute paths, in the folders that a refusal names. A run_id may be a run's name, or the beginning of its id. Training continues without this connection; cancel_training stops it with a checkpoint, \
    resume_training continues from there.";

/// An MCP server over a workbench; serve it with [`rmcp::ServiceExt::serve`] on any transport.
#[derive(Clone)]
pub struct Server {
    workbench: Workbench,
    client_roots: Option<ClientRoots>,
    calls: Calls,
}

impl Server {
    /// A server whose tools are the operations of `workbench`.
    pub fn new(workbench: &Workbench) -> Self {
        Self { workbench: observed(workbench), client_roots: None, calls: Calls::default() }
    }

    /// The same, in which the folders that the client names as its roots may be used too.
    #[must_use]
    pub fn with_client_roots(self) -> Self {
        Self { client_roots: Some(ClientRoots::default()), ..self }
    }

    /// The same, whose calls are noted in `log`.
    #[must_use]
    pub fn noting_calls(self, log: &AuditLog) -> Self {
        Self { calls: self.calls.noted(log.notes()), ..self }
    }

    /// The same over HTTP, for all clients of `account`: they share its workbench and `turns`. Folders that they name as
    /// theirs are on their machines, not on this one.
    pub(crate) fn over_http(
        &self,
        account: Option<&Account>,
        turns: &Arc<Semaphore>,
        patience: Duration,
    ) -> Self {
        let mut server = self.clone();
        server.calls = self.calls.over_http(account.map(|account| account.name.as_str()), turns, patience);
        if let Some(account) = account {
            let config = self.workbench.config();
            let home = Accounts::new(&config.home).home(&account.name);
            server.workbench = observed(&Workbench::new(config.for_account(&home, &account.allowed_dirs)));
            server.client_roots = None;
        }
        server
    }

    /// The same for one more client, of which nothing is known yet.
    pub(crate) fn for_new_client(&self) -> Self {
        Self { client_roots: self.client_roots.as_ref().map(|_| ClientRoots::default()), ..self.clone() }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("greentune", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn on_roots_list_changed(&self, _context: NotificationContext<RoleServer>) {
        if let Some(roots) = &self.client_roots {
            roots.forget();
        }
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::ALL.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.calls.surround(request, context, |request, context| self.perform(request, context)).await
    }
}

impl Server {
    async fn perform(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let operation = tools::offered().find(|operation| operation.name == request.name);
        let operation = operation.ok_or_else(|| unknown_tool(&request.name))?;
        let arguments = request.arguments.unwrap_or_default();
        let progress = Progress::asked_for(&context);
        let workbench = match &self.client_roots {
            Some(roots) => roots.extend(&self.workbench, request.input_responses.as_ref(), &context).await,
            None => self.workbench.clone(),
        };
        let mut running = tokio::spawn(call(operation, workbench, arguments, progress));
        tokio::select! {
            ended = &mut running => match ended {
                Ok(Ok(result)) => {
                    // A path is refused before anything is done, so that the same call can be made again.
                    let question = self.client_roots.as_ref().and_then(|roots| roots.question(&result, &context));
                    Ok(question.map_or_else(|| CallToolResponse::from(result), CallToolResponse::from))
                }
                Ok(Err(error)) => Err(error),
                // A panic must not leave the client waiting for an answer.
                Err(error) => Err(answer::internal("tool.stopped", &error, None)),
            },
            () = context.ct.cancelled() => {
                running.abort();
                Err(ErrorData::invalid_request("the client cancelled the call", None))
            }
        }
    }
}

/// `workbench` with its remarks in the server's log.
fn observed(workbench: &Workbench) -> Workbench {
    workbench.reporting(Arc::new(LoggedRemarks))
}

async fn call(
    operation: &'static Entry,
    workbench: Workbench,
    arguments: JsonObject,
    progress: Option<Progress>,
) -> Result<CallToolResult, ErrorData> {
    match report_during(progress, workbench, |workbench| operation.perform(workbench, arguments)).await {
        Ok(answer) => Ok(answer::success(answer)),
        Err(error) => answer::failure(error.problem()),
    }
}

fn unknown_tool(name: &str) -> ErrorData {
    let names: Vec<&str> = tools::offered().map(|operation| operation.name).collect();
    ErrorData::invalid_params(format!("no tool {name:?}; the tools are {}", names.join(", ")), None)
}
