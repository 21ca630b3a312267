//! Stops work in the background.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Result, Workbench,
    background::{Task, TaskStatus},
};

/// Seconds that are waited for the end.
const WAIT_SECONDS: f64 = 10.0;

/// Ask a task to stop.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CancelTask {
    /// Id of the task.
    pub task_id: String,
}

/// The result of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelTaskResponse {
    /// Whether the task is no longer at work.
    pub success: bool,
    /// The task as it stands now.
    pub task: Task,
}

impl Workbench {
    /// Asks the task to stop and waits for it, for a bounded time. One that has ended is left as it is.
    ///
    /// Errors: no task is called so.
    pub async fn cancel_task(&self, request: CancelTask) -> Result<CancelTaskResponse> {
        let task = self.stop_task(&request.task_id, WAIT_SECONDS).await?;
        Ok(CancelTaskResponse { success: task.status != TaskStatus::Working, task })
    }
}
