//! Work in the background. It goes on when the client that asked for it is gone. Everybody who may use this home can ask about
//! it.
//!
//! Each is a task, a folder in greentune's home, and where it stands follows from its files alone ([`folder`]). A process
//! of its own performs the operation (`greentune worker --perform FOLDER`, [`perform_task`]). Training has a worker already,
//! so its task holds only which run it is. What came of a task is kept when it is first seen, and stays when the run goes on.

mod folder;
mod performer;

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use greentune_core_config::{Diagnostic as _, Problem, ProblemKind, manifest::RunStatus};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::folder::{Outcome, State, TaskCall, TaskFolder};
use crate::{
    Result, Workbench, WorkbenchError,
    operation::{
        Answer, CancelTraining, Entry, MonitorTrainingProgress, MonitorTrainingProgressResponse,
        Operation as _, StartTraining, StartTrainingResponse, monitor_training_progress::progress_of,
    },
    platform::local::start_failed,
};

pub use self::performer::perform_task;

/// Operations that may take long and that can be done in the background.
pub const LONG_WORK: &[&str] =
    &["start_training", "evaluate_model", "export_model", "prepare_dataset", "tune_training", "sync_model"];

/// Tasks that may be at work at once: each holds a model in memory, perhaps.
const MOST_AT_WORK: usize = 4;
/// Tasks that have ended and are kept.
const MOST_KEPT: usize = 200;
/// How long a task is kept after it was begun.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Time between two looks at a task.
const POLL: Duration = Duration::from_millis(100);
/// Seconds between two questions about a task whose length is unknown.
const POLL_SECONDS: f64 = 2.0;
/// Seconds between two questions at most.
const LONGEST_POLL_SECONDS: f64 = 60.0;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Being done.
    Working,
    /// Done; its result is there.
    Completed,
    /// Not done; its problem says why.
    Failed,
    /// Stopped on request.
    Cancelled,
}

/// What is known of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its id.
    pub task_id: String,
    /// The operation.
    pub operation: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// When it was begun.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub finished_at: Option<Timestamp>,
    /// When this was found out.
    #[schemars(with = "String")]
    pub looked_at: Timestamp,
    /// Where it stands, or what came of it, in words.
    pub message: String,
    /// The run that it trains.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_id: Option<String>,
    /// What the operation answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub result: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// Seconds after which asking again is worth it, while it is at work.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub poll_seconds: Option<f64>,
}

impl Workbench {
    /// Begins `operation` with `arguments` in the background. What is wrong with the arguments is said at once.
    ///
    /// Errors: too much is at work; the process or the run cannot be started.
    pub async fn begin(&self, operation: &'static Entry, arguments: Map<String, Value>) -> Result<Task> {
        // Reads the arguments, so that mistakes are said now and not by the task.
        operation.consent(arguments.clone())?;
        self.blocking(Self::room_for_a_task).await?;
        let call = TaskCall {
            operation: operation.name.to_owned(),
            arguments,
            allowed_roots: self.config().allowed_roots.clone(),
            created_at: Timestamp::now(),
            run: None,
        };
        if operation.name == "start_training" {
            return self.begin_training(operation, call).await;
        }
        let folder = self.blocking(move |workbench| TaskFolder::make(workbench.config(), &call)).await?;
        if let Err(error) = self.spawn_performer(&folder) {
            folder.remove();
            return Err(error);
        }
        self.task(folder.id()).await
    }

    /// Starts a run; the task says which.
    async fn begin_training(&self, operation: &'static Entry, mut call: TaskCall) -> Result<Task> {
        call.arguments.insert(String::from("async_mode"), true.into());
        let Answer { content, .. } = operation.perform(self, call.arguments.clone()).await?;
        let started = serde_json::from_value(content);
        call.run = Some(started.map_err(|error| WorkbenchError::Internal(error.to_string()))?);
        let folder = self.blocking(move |workbench| TaskFolder::make(workbench.config(), &call)).await?;
        self.task(folder.id()).await
    }

    /// A process that performs what `folder` says and that outlives this one.
    fn spawn_performer(&self, folder: &TaskFolder) -> Result<()> {
        let config = self.config();
        let (program, arguments) = config
            .worker_command
            .split_first()
            .ok_or_else(|| WorkbenchError::Internal(String::from("no worker command was configured")))?;
        let mut command = tokio::process::Command::new(program);
        // It is a front end: it needs the environment and the current folder of this process, to which a relative home in the
        // environment is relative.
        command.args(arguments).arg("--perform").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(folder.log()?);
        // The runtime waits for it in the background, so that it leaves no zombie.
        command.spawn().map(drop).map_err(start_failed(config))
    }

    /// Makes room: removes tasks that ended long ago.
    ///
    /// Errors: [`MOST_AT_WORK`] are at work.
    fn room_for_a_task(&self) -> Result<()> {
        let mut ended = Vec::new();
        let mut at_work = 0;
        for (folder, call) in TaskFolder::all(self.config()) {
            match folder.state(&call) {
                State::Working if call.run.is_none() => at_work += 1,
                _ => ended.push((call.created_at, folder)),
            }
        }
        if at_work >= MOST_AT_WORK {
            let message = format!("{at_work} tasks are at work, and no more are begun");
            let problem = Problem::new(ProblemKind::Conflict, "task.too_many", message);
            return Err(problem.with_hint("wait for one to end, or cancel one (cancel_task)").into());
        }
        ended.sort_by_key(|(created_at, _)| std::cmp::Reverse(*created_at));
        let now = Timestamp::now();
        for (position, (created_at, folder)) in ended.iter().enumerate() {
            if position >= MOST_KEPT || now.duration_since(*created_at) > KEPT {
                folder.remove();
            }
        }
        Ok(())
    }

    /// What is known of the task `id`.
    ///
    /// Errors: no task is called so.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let id = id.to_owned();
        self.blocking(move |workbench| {
            let (folder, call) = TaskFolder::find(workbench.config(), &id)?;
            Ok(workbench.report(&folder, &call))
        })
        .await
    }

    /// The same, once it has ended or `seconds` have passed.
    ///
    /// Errors: no task is called so.
    pub async fn awaited_task(&self, id: &str, seconds: f64) -> Result<Task> {
        let deadline = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or_default();
        loop {
            let task = self.task(id).await?;
            if task.status != TaskStatus::Working || Instant::now() >= deadline {
                return Ok(task);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// All tasks that are kept, the newest first.
    pub(crate) async fn tasks(&self) -> Result<Vec<Task>> {
        self.blocking(|workbench| {
            let folders = TaskFolder::all(workbench.config()).into_iter();
            let mut tasks: Vec<_> = folders.map(|(folder, call)| workbench.report(&folder, &call)).collect();
            tasks.sort_by(|one, other| {
                other.created_at.cmp(&one.created_at).then_with(|| one.task_id.cmp(&other.task_id))
            });
            Ok(tasks)
        })
        .await
    }

    /// Keeps what came of the tasks of the run `run_id`, which is about to begin again.
    pub(crate) fn settle_tasks_of(&self, run_id: &str) {
        for (folder, call) in TaskFolder::all(self.config()) {
            if call.run.as_ref().is_some_and(|run| run.run_id == run_id) {
                self.report(&folder, &call);
            }
        }
    }

    /// Asks the task `id` to stop: what it has half done is gone then, and a run stops with a checkpoint.
    ///
    /// Errors: no task is called so.
    pub(crate) async fn stop_task(&self, id: &str, wait_seconds: f64) -> Result<Task> {
        let task = self.task(id).await?;
        if task.status != TaskStatus::Working {
            return Ok(task);
        }
        let named = id.to_owned();
        let (folder, call) =
            self.blocking(move |workbench| TaskFolder::find(workbench.config(), &named)).await?;
        match task.run_id {
            Some(run_id) => {
                let (project_path, wait_seconds) = (call.project_path(), Some(wait_seconds));
                self.cancel_training(CancelTraining { project_path, run_id, wait_seconds }).await?;
            }
            None => self.blocking(move |_| folder.ask_to_stop()).await?,
        }
        self.awaited_task(id, wait_seconds).await
    }

    /// What is known of the task in `folder`. What came of it is kept there.
    fn report(&self, folder: &TaskFolder, call: &TaskCall) -> Task {
        let task = Task {
            task_id: folder.id().to_owned(),
            operation: call.operation.clone(),
            status: TaskStatus::Working,
            created_at: call.created_at,
            finished_at: None,
            looked_at: Timestamp::now(),
            message: format!("{} is at work", call.operation),
            run_id: call.run.as_ref().map(|run| run.run_id.clone()),
            result: None,
            problem: None,
            poll_seconds: Some(POLL_SECONDS),
        };
        let outcome = match (folder.state(call), call.run.clone()) {
            (State::Ended(outcome), _) => return task.ended(*outcome),
            (State::Died(outcome), _) => *outcome,
            (State::Working, None) => return task,
            (State::Working, Some(started)) => match self.outcome_of_run(call, started) {
                Ok(outcome) => outcome,
                Err(progress) => return task.follows(&progress),
            },
        };
        // Where that cannot be written, it is found out again.
        let _ = folder.keep(&outcome);
        task.ended(outcome)
    }

    /// What came of the run that `call` started, or where it stands.
    fn outcome_of_run(
        &self,
        call: &TaskCall,
        started: StartTrainingResponse,
    ) -> std::result::Result<Outcome, Box<MonitorTrainingProgressResponse>> {
        // What the task may use, whatever the client that asks says of its roots.
        let mut config = self.config().clone();
        config.allowed_roots.clone_from(&call.allowed_roots);
        let allowed = self.with_config(config);
        let seen = allowed
            .find_run(call.project_path().as_deref(), &started.run_id)
            .and_then(|run| allowed.look(&run, |view| (progress_of(view, true), view.ended_at())));
        match seen {
            Ok((progress, _)) if progress.status.is_active() => Err(Box::new(progress)),
            Ok((progress, ended_at)) => Ok(Outcome {
                finished_at: ended_at.unwrap_or_else(Timestamp::now),
                answered: answer_of_run(progress, started),
            }),
            Err(error) => Ok(Outcome::failed(error.problem())),
        }
    }
}

impl Task {
    fn ended(mut self, outcome: Outcome) -> Self {
        self.finished_at = Some(outcome.finished_at);
        self.poll_seconds = None;
        match outcome.answered {
            Ok((content, text)) => {
                self.status = TaskStatus::Completed;
                (self.message, self.result) = (text, Some(content));
            }
            Err(problem) => {
                let is_cancelled = problem.kind == ProblemKind::Cancelled;
                self.status = if is_cancelled { TaskStatus::Cancelled } else { TaskStatus::Failed };
                self.message = problem.to_string();
                self.problem = Some(problem).filter(|_| !is_cancelled);
            }
        }
        self
    }

    /// The task of a run that stands at `progress`.
    fn follows(mut self, progress: &MonitorTrainingProgressResponse) -> Self {
        self.message = MonitorTrainingProgress::in_words(progress);
        let twentieth = progress.remaining_seconds.map(|seconds| seconds / 20.0);
        let pause = twentieth.unwrap_or(POLL_SECONDS).clamp(POLL_SECONDS, LONGEST_POLL_SECONDS);
        self.poll_seconds = Some(pause.round());
        self
    }
}

/// What the task of a run answers that ended at `progress`.
fn answer_of_run(
    progress: MonitorTrainingProgressResponse,
    started: StartTrainingResponse,
) -> std::result::Result<(Value, String), Problem> {
    let message = MonitorTrainingProgress::in_words(&progress);
    match progress.status {
        RunStatus::Cancelled => Err(Problem::new(ProblemKind::Cancelled, "run.cancelled", message)),
        RunStatus::Failed | RunStatus::Interrupted => Err(progress.problem.unwrap_or_else(|| {
            Problem::new(ProblemKind::Unavailable, "run.interrupted", message)
                .with_hint("resume_training goes on from the last checkpoint")
        })),
        status => {
            let content = serde_json::to_value(StartTrainingResponse { status, ..started });
            Ok((content.unwrap_or_default(), message))
        }
    }
}

impl TaskCall {
    /// The project that the call names.
    fn project_path(&self) -> Option<PathBuf> {
        let named: Option<StartTraining> = serde_json::from_value(Value::Object(self.arguments.clone())).ok();
        named.and_then(|request| request.project_path)
    }
}
