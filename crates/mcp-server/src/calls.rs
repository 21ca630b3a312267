//! What surrounds every call of a tool: a note of it, and a turn where only so many may be at work at once.

use std::{sync::Arc, time::Duration};

use greentune_core_config::{Problem, ProblemKind};
use greentune_http_server::{AuditNotes, Call};
use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse},
    service::RequestContext,
};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::answer;

/// What surrounds every call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    transport: &'static str,
    account: Option<Arc<str>>,
    notes: Option<AuditNotes>,
    turns: Option<(Arc<Semaphore>, Duration)>,
}

impl Default for Calls {
    /// Calls over standard input and output, of which nothing is noted.
    fn default() -> Self {
        Self { transport: "stdio", account: None, notes: None, turns: None }
    }
}

impl Calls {
    /// The same, noted in `notes`.
    pub(crate) fn noted(self, notes: AuditNotes) -> Self {
        Self { notes: Some(notes), ..self }
    }

    /// Calls of `account` over HTTP; each waits for one of `turns` for so long at most.
    pub(crate) fn over_http(
        &self,
        account: Option<&str>,
        turns: &Arc<Semaphore>,
        patience: Duration,
    ) -> Self {
        let account = account.map(Arc::from);
        Self {
            transport: "http",
            account,
            turns: Some((Arc::clone(turns), patience)),
            notes: self.notes.clone(),
        }
    }

    /// Performs a call when its turn comes, and notes what became of it.
    pub(crate) async fn surround<F>(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
        perform: impl FnOnce(CallToolRequestParams, RequestContext<RoleServer>) -> F,
    ) -> Result<CallToolResponse, ErrorData>
    where
        F: Future<Output = Result<CallToolResponse, ErrorData>>,
    {
        let notes = self.notes.as_ref();
        let client = context.client_info().map(|client| client.name);
        let call = Call {
            account: self.account.as_deref(),
            transport: self.transport,
            client: client.as_deref(),
            tool: &request.name,
            arguments: request.arguments.as_ref(),
        };
        let note = notes.map(|notes| notes.begin(&call));
        let outcome = match self.turn().await {
            Ok(_turn) => perform(request, context).await,
            Err(problem) => answer::failure(problem).map(CallToolResponse::from),
        };
        if let Some(note) = note {
            note.end(in_a_word(&outcome));
        }
        outcome
    }

    /// Held while a call is at work.
    async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let Some((turns, patience)) = &self.turns else { return Ok(None) };
        match tokio::time::timeout(*patience, turns.acquire()).await {
            Ok(turn) => Ok(turn.ok()),
            Err(_) => Err(Problem::new(
                ProblemKind::RateLimited,
                "calls.too_many",
                "too many calls are at work already",
            )
            .with_hint("wait until some have ended; start_training with async_mode ends at once")),
        }
    }
}

/// `ok`, or the code of the problem.
fn in_a_word(outcome: &Result<CallToolResponse, ErrorData>) -> String {
    let code = |content: &Option<Value>| Some(content.as_ref()?.get("code")?.as_str()?.to_owned());
    match outcome {
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => {
            code(&result.structured_content).unwrap_or_else(|| String::from("error"))
        }
        Ok(CallToolResponse::InputRequired(_)) => String::from("input required"),
        Ok(CallToolResponse::Task(_)) => String::from("task"),
        Ok(_) => String::from("ok"),
        Err(error) => code(&error.data).unwrap_or_else(|| error.code.0.to_string()),
    }
}
