//! This machine as a platform: a worker process of its own on a run folder.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
};

use greentune_core_config::{
    Diagnostic as _, Problem,
    layout::RunLayout,
    manifest::RunManifest,
    platform::{Capabilities, Job, JobState, LastWords, PlatformKind, Quote, Submitted},
    port::Platform,
};
use greentune_run_folder::{locally_active, overall_pace, remaining_seconds, request_cancel};
use jiff::Timestamp;

use crate::{Result, WorkbenchConfig, WorkbenchError, job_store::runs_of};

/// Bytes at the end of a log that a problem quotes.
const TAIL_BYTES: u64 = 4096;
/// Lines at the end of a log that a problem quotes.
const TAIL_LINES: usize = 20;

/// This machine.
#[derive(Debug)]
pub(crate) struct LocalPlatform {
    config: Arc<WorkbenchConfig>,
    /// Workers that this process started, by the folder of their run.
    workers: Mutex<HashMap<PathBuf, LocalWorker>>,
}

impl LocalPlatform {
    pub(crate) fn new(config: Arc<WorkbenchConfig>) -> Self {
        Self { config, workers: Mutex::default() }
    }

    fn with_workers<T>(&self, of: impl FnOnce(&mut HashMap<PathBuf, LocalWorker>) -> T) -> T {
        of(&mut self.workers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Platform for LocalPlatform {
    fn kind(&self) -> PlatformKind {
        PlatformKind::Local
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { cancel: true, resume: true, follow: true }
    }

    fn quote(&self, run: &RunLayout, manifest: &RunManifest) -> std::result::Result<Quote, Problem> {
        let earlier = earlier_pace(run, manifest);
        Ok(Quote {
            seconds: earlier.as_ref().map(|(_, pace)| remaining_seconds(manifest, *pace)),
            price_usd: Some(0.0),
            basis: earlier.map_or_else(
                || String::from("nothing comparable was trained here yet"),
                |(run_id, _)| format!("the pace of the run {run_id} on this machine"),
            ),
        })
    }

    fn submit(&self, run: &RunLayout, _: &RunManifest) -> std::result::Result<Submitted, Problem> {
        let worker = LocalWorker::spawn(&self.config, run).map_err(|error| error.problem())?;
        let pid = worker.pid;
        self.with_workers(|workers| {
            // Those that ended and whose end nobody asked for.
            workers.retain(|_, worker| !worker.has_exited());
            workers.insert(run.folder().to_owned(), worker);
        });
        Ok(Submitted { job: Job::on(PlatformKind::Local), pid: Some(pid) })
    }

    fn status(&self, run: &RunLayout, manifest: &RunManifest) -> std::result::Result<JobState, Problem> {
        locally_active(run, manifest)
    }

    /// The worker writes into the run's folder itself.
    fn follow(&self, _: &RunLayout, _: &RunManifest) -> std::result::Result<(), Problem> {
        Ok(())
    }

    fn cancel(&self, run: &RunLayout, _: &RunManifest) -> std::result::Result<(), Problem> {
        request_cancel(run).map_err(|error| error.problem())
    }

    /// Everything is here.
    fn fetch(&self, _: &RunLayout, _: &RunManifest) -> std::result::Result<Vec<PathBuf>, Problem> {
        Ok(Vec::new())
    }

    fn last_words(&self, run: &RunLayout, _: &RunManifest) -> LastWords {
        self.with_workers(|workers| match workers.get_mut(run.folder()) {
            Some(worker) => {
                worker.has_exited();
                LastWords {
                    exit: worker.status.map(|status| status.to_string()),
                    log_tail: log_tail(&run.log(), worker.log_start),
                }
            }
            None => LastWords { exit: None, log_tail: log_tail(&run.log(), 0) },
        })
    }
}

/// Seconds per record of the newest other run of the project on the same base model, and its id.
fn earlier_pace(run: &RunLayout, manifest: &RunManifest) -> Option<(String, f64)> {
    let mut others: Vec<_> = runs_of(run.project()).into_iter().filter(|other| other != run).collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.run_id()));
    others.into_iter().filter_map(|other| greentune_run_folder::manifest::read(&other).ok()).find_map(
        |other| {
            let same = other.base_model_path == manifest.base_model_path
                && other.settings.training.device == manifest.settings.training.device
                && other.settings.vision == manifest.settings.vision;
            same.then(|| Some((other.run_id.clone(), overall_pace(&other)?))).flatten()
        },
    )
}

/// A worker that was started.
#[derive(Debug)]
struct LocalWorker {
    pid: u32,
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    /// Where its own words begin in the run's log.
    log_start: u64,
}

impl LocalWorker {
    /// Starts a worker on the run at `layout`. It begins a session of its own (`setsid`, which the leader of a process
    /// group may not), so that it outlives this process and its terminal.
    fn spawn(config: &WorkbenchConfig, layout: &RunLayout) -> Result<Self> {
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
        command.envs(config.worker_secrets.0.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(start_failed(config))?;
        let pid = child.id();
        let (tell, exit) = mpsc::channel();
        // A worker that ended and that nobody waits for would stay behind as a zombie of a long-lived server.
        let wait = move || {
            if let Ok(status) = child.wait() {
                let _ = tell.send(status);
            }
        };
        thread::Builder::new().name(String::from("worker-exit")).spawn(wait).map_err(|error| {
            WorkbenchError::Internal(format!("no thread to wait for the worker: {error}"))
        })?;
        Ok(Self { pid, exit, status: None, log_start })
    }

    /// Whether it has ended.
    fn has_exited(&mut self) -> bool {
        match self.exit.try_recv() {
            Ok(status) => self.status = Some(status),
            Err(TryRecvError::Disconnected) => {}
            Err(TryRecvError::Empty) => return false,
        }
        true
    }
}

/// The worker's program with its first arguments, and nothing of this process's environment but what it needs.
pub(crate) fn worker_command(config: &WorkbenchConfig) -> Result<Command> {
    let (program, arguments) = config
        .worker_command
        .split_first()
        .ok_or_else(|| WorkbenchError::Internal(String::from("no worker command was configured")))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.envs(config.worker_environment.iter().map(|(name, value)| (name, value)));
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

/// The last lines of `log` if it was written to after `since`; otherwise they belong to an earlier worker.
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
