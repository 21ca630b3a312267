//! Engine work besides training, done by a worker process: one task file in, one answer file out.

use std::process::Stdio;

use greentune_core_config::{
    generation::GenerationNote,
    task::{WorkerAnswer, WorkerTask},
};
use greentune_durable::Staging;
use greentune_run_folder::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::ChildStdout,
};

use crate::{
    Result, Workbench, WorkbenchError,
    leftovers::TASK,
    platform::local::{last_lines, start_failed, worker_command},
};

impl Workbench {
    /// Has a worker do `task`; the worker ends when this future is dropped, and when this process ends.
    ///
    /// Errors: the problem that the worker answered with; [`WorkbenchError::WorkerDied`] without an answer.
    pub(crate) async fn ask_worker(&self, task: &WorkerTask) -> Result<WorkerAnswer> {
        let home = &self.config().home;
        std::fs::create_dir_all(home).map_err(WorkbenchError::file("create", home))?;
        self.sweep_leftovers();
        let folder = Staging::new(home, TASK).map_err(WorkbenchError::file("write to", home))?;
        let (question, answer) = (folder.path().join("task.json"), folder.path().join("answer.json"));
        json::write(&question, task)?;
        let mut command = tokio::process::Command::from(worker_command(self.config())?);
        command.arg("--task").arg(&question).arg("--answer").arg(&answer).arg("--attached");
        // It meters its trials; all others only read what is perhaps hostile.
        if matches!(task, WorkerTask::Tune(_)) {
            command.envs(self.config().worker_secrets.0.iter().map(|(name, value)| (name, value)));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut worker = command.spawn().map_err(start_failed(self.config()))?;
        // Its end closes when this process ends, however it ends; the worker then ends too.
        let _attached = worker.stdin.take();
        let notes = worker.stdout.take();
        let (output, said) = tokio::join!(worker.wait_with_output(), self.pass_on(notes));
        let output = output.map_err(start_failed(self.config()))?;
        let answer = if answer.is_file() { Some(json::read(&answer)?) } else { said };
        let Some(answer) = answer else {
            return Err(WorkbenchError::WorkerDied {
                run_id: None,
                status: output.status.to_string(),
                log_tail: last_lines(&String::from_utf8_lossy(&output.stderr)),
            });
        };
        match answer {
            WorkerAnswer::Failed { problem } => Err(problem.into()),
            answer => Ok(answer),
        }
    }

    /// Tells the observer what a worker says before it answers; the answer where the worker says it, because it cannot be
    /// written.
    async fn pass_on(&self, notes: Option<ChildStdout>) -> Option<WorkerAnswer> {
        let mut answer = None;
        let mut lines = BufReader::new(notes?).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(note) = serde_json::from_str::<GenerationNote>(&line) {
                self.observer().generates(&note);
            } else if let Ok(said) = serde_json::from_str(&line) {
                answer = Some(said);
            }
        }
        answer
    }
}

/// The error for an answer of another kind than the task's.
pub(crate) fn wrong_answer(task: &str) -> WorkbenchError {
    WorkbenchError::Internal(format!("the worker gave an answer of the wrong kind ({task})"))
}
