//! The local platform: a worker process of its own on a run folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use greentune_core_config::layout::RunLayout;
use jiff::Timestamp;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{Result, WorkbenchConfig, WorkbenchError, out_of_memory};

/// Bytes at the end of a log that a problem quotes.
const TAIL_BYTES: u64 = 4096;
/// Lines at the end of a log that a problem quotes.
const TAIL_LINES: usize = 20;

/// A worker that was started.
#[derive(Debug)]
pub(crate) struct LocalWorker {
    /// Its process id.
    pub pid: u32,
    exit: oneshot::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    run_id: String,
    log: PathBuf,
    log_start: u64,
}

impl LocalWorker {
    /// Starts a worker on the run at `layout`. It begins a session of its own (`setsid`, which the leader of a process
    /// group may not), so that it outlives this process and its terminal.
    pub(crate) fn spawn(config: &WorkbenchConfig, layout: &RunLayout) -> Result<Self> {
        let log = layout.log();
        fs::create_dir_all(layout.project().logs())
            .map_err(WorkbenchError::file("create", layout.project().logs()))?;
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(WorkbenchError::file("open", &log))?;
        let log_start = file.metadata().map(|log| log.len()).unwrap_or_default();
        let mut command = worker_command(config)?;
        command.arg(layout.folder()).stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(WorkbenchError::file("open", &log))?).stderr(file);
        command.current_dir(layout.project().root());
        command.envs(config.worker_environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(start_failed(config))?;
        let pid = child.id();
        let (tell, exit) = oneshot::channel();
        // Without somebody who waits, a worker that ended would stay behind as a zombie of a long-lived server.
        let wait = move || {
            if let Ok(status) = child.wait() {
                let _ = tell.send(status);
            }
        };
        thread::Builder::new().name(String::from("worker-exit")).spawn(wait).map_err(|error| {
            WorkbenchError::Internal(format!("no thread to wait for the worker: {error}"))
        })?;
        Ok(Self { pid, exit, status: None, run_id: layout.run_id(), log, log_start })
    }

    /// Whether it has ended.
    pub(crate) fn has_exited(&mut self) -> bool {
        match self.exit.try_recv() {
            Ok(status) => self.status = Some(status),
            Err(TryRecvError::Closed) => {}
            Err(TryRecvError::Empty) => return false,
        }
        true
    }

    /// The error for a worker that ended without a terminal event: the likely cause when memory is it.
    pub(crate) fn died(&self, layout: &RunLayout) -> WorkbenchError {
        let log_tail = log_tail(&self.log, self.log_start);
        if let Some(problem) = out_of_memory::explain(layout, &log_tail) {
            return problem.into();
        }
        WorkbenchError::WorkerDied {
            run_id: Some(self.run_id.clone()),
            status: self.status.map_or_else(|| String::from("no exit status"), |status| status.to_string()),
            log_tail,
        }
    }
}

/// The worker's program with its first arguments.
pub(crate) fn worker_command(config: &WorkbenchConfig) -> Result<Command> {
    let (program, arguments) = config
        .worker_command
        .split_first()
        .ok_or_else(|| WorkbenchError::Internal(String::from("no worker command was configured")))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// The error for a worker that could not be started, for `map_err`.
pub(crate) fn start_failed(config: &WorkbenchConfig) -> impl FnOnce(std::io::Error) -> WorkbenchError {
    let program = config.worker_command.first().cloned().unwrap_or_default();
    move |source| WorkbenchError::WorkerStart { command: program.to_string_lossy().into_owned(), source }
}

/// The last lines of `text`.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The last lines of `log`, when something was written to it `since` then; else they are an earlier worker's.
pub(crate) fn last_words(log: &Path, since: Timestamp) -> String {
    let written = fs::metadata(log).and_then(|log| log.modified()).ok();
    let written = written.and_then(|at| Timestamp::try_from(at).ok());
    if written.is_some_and(|at| at >= since) { log_tail(log, 0) } else { String::new() }
}

fn log_tail(log: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    last_lines(&String::from_utf8_lossy(&read().unwrap_or_default()))
}
