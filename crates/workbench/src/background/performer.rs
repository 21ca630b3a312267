//! The process that performs a task.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_core_config::{Diagnostic as _, Problem, ProblemKind};
use jiff::Timestamp;

use super::folder::{Outcome, TaskFolder};
use crate::{
    Result, Workbench, WorkbenchConfig, WorkbenchError,
    operation::{self, Answer},
};

/// Time between two looks at whether the task is to stop.
const POLL: Duration = Duration::from_millis(100);

/// Performs what the task in `folder` says and writes what came of it there. `config` is what a front end would have; the
/// home and what may be used are the task's. When `end` is ready first, the task is cancelled.
///
/// Errors: the task cannot be read, another process does it, or its answer cannot be written. What the operation says is
/// the task's answer and no error.
pub async fn perform_task(
    folder: &Path,
    config: WorkbenchConfig,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let task = TaskFolder::at(folder);
    let _lock = task.take()?;
    let call = task.call()?;
    let config = config_of(config, folder, call.allowed_roots);
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
    let answered = answered.map(|Answer { content, text, .. }| (content, text));
    task.keep(&Outcome { finished_at: Timestamp::now(), answered })
}

/// `config` for the task in `folder`. One of an account has what the account has, and none of the user's credentials.
fn config_of(config: WorkbenchConfig, folder: &Path, allowed_roots: Option<Vec<PathBuf>>) -> WorkbenchConfig {
    let home = folder.parent().and_then(Path::parent).unwrap_or(folder);
    let config = if home == config.home { config } else { config.for_account(home, &[]) };
    WorkbenchConfig { allowed_roots, ..config }
}

async fn asked_to_stop(task: &TaskFolder) {
    while !task.is_asked_to_stop() {
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    #[test]
    fn a_task_of_an_account_has_no_credentials_of_the_user() {
        let mut user = WorkbenchConfig::new("/home", Vec::new());
        user.hub.token = Token::new("secret", "HF_TOKEN");
        let roots = Some(vec![PathBuf::from("/data")]);
        let of = |folder: &str| config_of(user.clone(), Path::new(folder), roots.clone());
        let own = of("/home/tasks/export_model-1");
        assert_eq!((own.home.as_path(), &own.allowed_roots), (Path::new("/home"), &roots));
        assert!(own.hub.token.is_some());
        let account = of("/home/accounts/ada/tasks/export_model-1");
        assert_eq!(
            (account.home.as_path(), &account.allowed_roots),
            (Path::new("/home/accounts/ada"), &roots)
        );
        assert!(account.hub.token.is_none());
    }
}
