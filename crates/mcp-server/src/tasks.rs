//! Long calls: in the background with a handle (`async_mode`), or as tasks of the protocol's tasks extension
//! (`io.modelcontextprotocol/tasks`) where the client has it. Both are the workbench's tasks, so they outlive this server.

use greentune_core_config::{Diagnostic as _, Suggestion};
use greentune_workbench::{
    Workbench, WorkbenchError,
    background::{KEPT, LONG_WORK, Task, TaskStatus},
    operation::{Advice, Answer, CancelTask, Entry, GetTask, Operation as _},
};
use rmcp::{
    ErrorData,
    model::{
        CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask, JsonObject, Task as ProtocolTask,
        TaskPayload, TaskStatus as ProtocolStatus,
    },
};
use serde::Serialize;
use serde_json::Value;

use crate::{answer, tools};

/// A call that ends within this time is answered as if it had been waited for.
const QUICK_SECONDS: f64 = 1.0;

/// How a call is performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The client waits for the answer.
    Waiting,
    /// It is answered with a handle, which `get_task` takes.
    Handle,
    /// It is answered with a task of the protocol.
    ProtocolTask,
}

/// How a call of `operation` is performed for a client that asks for `async_mode`, or not, and that has tasks, or not.
pub(crate) fn mode(operation: &Entry, async_mode: Option<bool>, has_tasks: bool) -> Mode {
    let is_long = LONG_WORK.contains(&operation.name);
    // A training that is started in the background has its run as a handle.
    let has_handle = operation.name == "start_training";
    match async_mode {
        _ if !is_long => Mode::Waiting,
        Some(true) if has_handle => Mode::Waiting,
        Some(true) => Mode::Handle,
        Some(false) | None if has_tasks => Mode::ProtocolTask,
        Some(false) | None => Mode::Waiting,
    }
}

/// Begins `operation` and answers with its handle, or with what came of it when it ended at once.
pub(crate) async fn begin(
    operation: &'static Entry,
    workbench: &Workbench,
    arguments: JsonObject,
    mode: Mode,
) -> Result<CallToolResponse, ErrorData> {
    let begun = async {
        let task = workbench.begin(operation, arguments).await?;
        workbench.awaited_task(&task.task_id, QUICK_SECONDS).await
    };
    let task = match begun.await {
        Ok(task) => task,
        Err(error) => return answer::failure(error.problem()).map(CallToolResponse::from),
    };
    match (task.status, mode) {
        (TaskStatus::Working, Mode::ProtocolTask) => Ok(CreateTaskResult::new(protocol_task(&task)).into()),
        (TaskStatus::Working, _) => Ok(handle(&task).into()),
        _ => result_of(task).map(CallToolResponse::from),
    }
}

/// The task `id` as the protocol tells of it.
pub(crate) async fn get(workbench: &Workbench, id: &str) -> Result<DetailedTask, ErrorData> {
    let task = workbench.task(id).await.map_err(unknown)?;
    let told = protocol_task(&task);
    let payload = match task.status {
        TaskStatus::Working => TaskPayload::Working,
        TaskStatus::Cancelled => TaskPayload::Cancelled,
        TaskStatus::Completed | TaskStatus::Failed => match result_of(task).map(object) {
            Ok(result) => TaskPayload::Completed { result },
            Err(error) => TaskPayload::Failed { error: object(error) },
        },
    };
    Ok(DetailedTask::new(told, payload))
}

/// Asks the task `id` to stop.
pub(crate) async fn cancel(workbench: &Workbench, id: &str) -> Result<(), ErrorData> {
    workbench.cancel_task(CancelTask { task_id: id.to_owned() }).await.map(drop).map_err(unknown)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn unknown(error: WorkbenchError) -> ErrorData {
    ErrorData::invalid_params(error.problem().to_string(), None)
}

fn object(value: impl Serialize) -> JsonObject {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => JsonObject::new(),
    }
}

fn protocol_task(task: &Task) -> ProtocolTask {
    let status = match task.status {
        TaskStatus::Working => ProtocolStatus::Working,
        TaskStatus::Completed | TaskStatus::Failed => ProtocolStatus::Completed,
        TaskStatus::Cancelled => ProtocolStatus::Cancelled,
    };
    let seen_at = task.finished_at.unwrap_or(task.looked_at);
    let told = ProtocolTask::new(&task.task_id, status, task.created_at.to_string(), seen_at.to_string())
        .with_status_message(&task.message)
        .with_ttl_ms(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX));
    match task.poll_seconds {
        Some(seconds) => told.with_poll_interval_ms((seconds * 1e3) as u64),
        None => told,
    }
}

/// The result of a call whose task has ended.
fn result_of(task: Task) -> Result<CallToolResult, ErrorData> {
    match (task.problem, task.result) {
        (Some(problem), _) => answer::failure(problem),
        (None, Some(content)) => {
            Ok(answer::success(Answer { content, text: task.message, advice: Advice::default() }))
        }
        (None, None) => Ok(CallToolResult::error(vec![rmcp::model::ContentBlock::text(task.message)])),
    }
}

/// The answer to a call that goes on in the background.
fn handle(task: &Task) -> CallToolResult {
    let ask = Suggestion::new("ask", GetTask::NAME).with("task_id", task.task_id.as_str());
    let text = format!(
        "{} goes on in the background as the task {}, also without this connection. Ask what became of it with {}.",
        task.operation,
        task.task_id,
        tools::call_in_words(&ask)
    );
    let content = serde_json::to_value(task).unwrap_or_default();
    answer::success(Answer { content, text, advice: Advice::default() })
}
