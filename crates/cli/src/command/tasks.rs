//! `greentune tasks`: work that an assistant began in the background.

use clap::{Args, Subcommand};
use greentune_workbench::operation::{CancelTask, GetTask, Operation as _};

use crate::{failure::Failure, session::Session};

/// The commands under `tasks`.
#[derive(Debug, Subcommand)]
pub enum Tasks {
    /// Show what became of a task, or the newest tasks
    Show(Show),
    /// Stop a task; what is half done is dropped, a training keeps a checkpoint
    Cancel(Cancel),
}

/// Arguments of `tasks show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The task's id [default: the newest tasks]
    task: Option<String>,
    /// Seconds to wait for its end
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
}

/// Arguments of `tasks cancel`.
#[derive(Args, Debug)]
pub struct Cancel {
    /// The task's id
    task: String,
}

impl Tasks {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Show(_) => GetTask::NAME,
            Self::Cancel(_) => CancelTask::NAME,
        }
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let workbench = session.workbench()?;
        match self {
            Self::Show(Show { task, wait }) => {
                let request = GetTask { task_id: task, wait_seconds: wait };
                let response = workbench.get_task(request).await?;
                session.output.answer(&response, |_| GetTask::in_words(&response))
            }
            Self::Cancel(Cancel { task }) => {
                let response = workbench.cancel_task(CancelTask { task_id: task }).await?;
                session.output.answer(&response, |_| CancelTask::in_words(&response))
            }
        }
    }
}
