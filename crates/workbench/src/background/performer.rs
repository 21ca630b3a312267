//! The process that performs a task.

use std::{path::Path, time::Duration};

use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};

use super::folder::TaskFolder;
use crate::{Result, Workbench, WorkbenchConfig, WorkbenchError, operation};

/// Time between two looks at whether the task is to stop.
const POLL: Duration = Duration::from_millis(100);

/// Performs what the task in `folder` says and writes what came of it there. `config` is what a front end would have; the
/// home and what may be used are the task's. When `end` is ready first, the task is cancelled.
///
/// Errors: the task cannot be read, another process does it, or its answer cannot be written. What the operation says is
/// the task's answer and no error.
pub async fn perform_task(
    folder: &Path,
    mut config: WorkbenchConfig,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let task = TaskFolder::at(folder);
    let _lock = task.take()?;
    let call = task.call()?;
    if let Some(home) = folder.parent().and_then(Path::parent).filter(|home| *home != config.home) {
        // Of another account: the index of runs lies there too.
        home.clone_into(&mut config.home);
        config.state_url = None;
    }
    config.allowed_roots = call.allowed_roots;
    let operation = operation::find(&call.operation).ok_or_else(|| {
        WorkbenchError::Internal(format!("the task asks for {:?}, which is no operation", call.operation))
    })?;
    let stopped = || {
        let message = format!("{} was stopped before it was done", call.operation);
        Err(Problem::new(ProblemKind::Cancelled, "task.cancelled", message))
    };
    let answered = tokio::select! {
        answered = operation.perform(&Workbench::new(config), call.arguments) => {
            answered.map_err(|error| error.problem())
        }
        () = asked_to_stop(&task) => stopped(),
        () = end => stopped(),
    };
    task.answer(answered)
}

async fn asked_to_stop(task: &TaskFolder) {
    while !task.is_asked_to_stop() {
        tokio::time::sleep(POLL).await;
    }
}
