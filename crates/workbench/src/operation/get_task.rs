//! What became of work in the background.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, background::Task};

/// Seconds that a caller may wait at most.
const LONGEST_WAIT_SECONDS: f64 = 600.0;
/// Tasks that are told of at once.
const MOST_TOLD: usize = 20;

/// Ask what became of work in the background.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetTask {
    /// Id of the task; the newest tasks when absent.
    pub task_id: Option<String>,
    /// Seconds to wait for its end; 0 when absent.
    pub wait_seconds: Option<f64>,
}

/// The task, or the newest tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GetTaskResponse {
    /// The tasks, the newest first. What a task answered is told when it is asked for by its id.
    pub tasks: Vec<Task>,
    /// Tasks that are not told of.
    pub more: u64,
}

impl Workbench {
    /// What became of a task, or where the newest tasks stand.
    ///
    /// Errors: no task is called so.
    pub async fn get_task(&self, request: GetTask) -> Result<GetTaskResponse> {
        if let Some(id) = request.task_id {
            let seconds = request.wait_seconds.unwrap_or(0.0).clamp(0.0, LONGEST_WAIT_SECONDS);
            return Ok(GetTaskResponse { tasks: vec![self.awaited_task(&id, seconds).await?], more: 0 });
        }
        let mut tasks = self.tasks().await?;
        let more = tasks.len().saturating_sub(MOST_TOLD) as u64;
        tasks.truncate(MOST_TOLD);
        for task in &mut tasks {
            task.result = None;
        }
        Ok(GetTaskResponse { tasks, more })
    }
}
