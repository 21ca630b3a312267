//! Calls that become tasks (SEP-2663).

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CreateTaskResult},
    service::RequestContext,
    task_manager::{TaskContext, TaskExit, TaskOptions},
};
use serde_json::{Value, json};

use crate::{
    calls::{fails, says, text_of},
    fixture::Fixture,
    input,
};

/// How often a client is to ask.
const POLL_MS: u64 = 200;

/// What a task does.
enum Job {
    Compute { seconds: f64, label: String },
    Fail,
    ProtocolError,
    ConfirmDelete { filename: String },
    TwoQuestions,
    Greet { name: String },
}

/// The answer to a call of a tool that becomes a task; nothing when it is another tool.
pub async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let argument = |name: &str| request.arguments.as_ref().and_then(|arguments| arguments.get(name));
    let has_tasks = context.client_capabilities().is_some_and(|client| client.supports_tasks());
    let job = match request.name.as_ref() {
        "slow_compute" => {
            let seconds = argument("seconds").and_then(Value::as_f64).unwrap_or_default();
            let label = text_of(argument("label"));
            if !has_tasks {
                return compute(seconds, &label).await.map(|result| Some(result.into()));
            }
            Job::Compute { seconds, label }
        }
        "failing_job" => Job::Fail,
        "protocol_error_job" => Job::ProtocolError,
        "confirm_delete" => Job::ConfirmDelete { filename: text_of(argument("filename")) },
        "multi_input" => Job::TwoQuestions,
        "test_tool_with_task" => match input::name_for_task(request)? {
            Ok(name) => Job::Greet { name },
            Err(asked) => return Ok(Some(asked.into())),
        },
        _ => return Ok(None),
    };
    if !has_tasks {
        let tasks = ClientCapabilities::builder().enable_tasks().build();
        return Err(ErrorData::missing_required_client_capability(tasks));
    }
    let options = TaskOptions::new().with_poll_interval_ms(POLL_MS);
    let task = fixture.tasks.spawn(options, |task| Box::pin(perform(job, task)));
    Ok(Some(CreateTaskResult::new(task).into()))
}

async fn perform(job: Job, task: TaskContext) -> Result<CallToolResult, TaskExit> {
    match job {
        Job::Compute { seconds, label } => tokio::select! {
            () = task.cancelled() => Err(TaskExit::Cancelled),
            result = compute(seconds, &label) => Ok(result?),
        },
        Job::Fail => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(fails("The job failed, as it always does")?)
        }
        Job::ProtocolError => Err(ErrorData::internal_error("the job broke off", None).into()),
        Job::ConfirmDelete { filename } => {
            let question = input::of_task(&format!("Delete {filename}?"), "confirm", "boolean")?;
            let answer = task.request_input("confirm", question).await?;
            Ok(says(&format!("{filename}: {answer}"))?)
        }
        Job::TwoQuestions => {
            let [name, confirm] = [("name", "string"), ("confirm", "boolean")]
                .map(|(field, kind)| input::of_task(&format!("Your {field}?"), field, kind));
            let (name, confirm) =
                tokio::try_join!(task.request_input("name", name?), task.request_input("confirm", confirm?))?;
            Ok(says(&json!([name, confirm]).to_string())?)
        }
        Job::Greet { name } => Ok(says(&format!("Hello, {name}!"))?),
    }
}

async fn compute(seconds: f64, label: &str) -> Result<CallToolResult, ErrorData> {
    tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()).await;
    says(&format!("{label} took {seconds} s"))
}
