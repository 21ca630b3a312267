//! The worker's side of a run: lock, heartbeat, numbered events, manifest.
//!
//! Used in the worker process. `events.jsonl` has exactly one terminal event per attempt: a run that is resumed
//! after `failed` or `cancelled` goes on with a new `started` behind it, and the last terminal event is the run's.

use std::{
    fs::{self, File},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use greentune_core_config::{
    Diagnostic, Problem, ProblemKind, Suggestion,
    event::EventKind,
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
    port::RunReporter,
    suggestion::advice,
    task::{WorkerAnswer, WorkerTask},
};
use greentune_tracking::Tracking;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    Result, TrackingConfig, WorkbenchError,
    carbon_watch::{self, CarbonWatch},
    events::EventLog,
    fold::{fold, fold_all, note_artifacts},
    json_file, lock,
    out_of_memory::MemoryBeat,
};

/// Seconds between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How training ended when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every stage that was asked for is trained.
    Finished,
    /// Stopped on request, at a step boundary, with a checkpoint.
    Cancelled {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done in it.
        step: u64,
    },
}

/// A worker at work on a run. Nobody else can begin on the run until it is finished or dropped.
#[derive(Debug)]
pub struct WorkerSession {
    layout: RunLayout,
    manifest: RunManifest,
    log: EventLog,
    carbon: CarbonWatch,
    tracking: Option<Tracking>,
    stop: Option<Arc<AtomicBool>>,
    ended: bool,
    began: Instant,
    heartbeat: Heartbeat,
    _lock: File,
}

impl WorkerSession {
    /// Takes the run in `run_folder`: locks it, repairs its events, marks it running.
    ///
    /// Errors: another worker holds it ([`WorkbenchError::AlreadyRunning`]); its manifest or events are damaged.
    pub fn begin(run_folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(run_folder).map_err(WorkbenchError::file("open", run_folder))?;
        let layout = RunLayout::at(&folder).ok_or_else(|| WorkbenchError::NotAProject(folder.clone()))?;
        let lock = lock::take(&layout)?;
        greentune_durable::sweep(layout.folder());
        let mut manifest: RunManifest = json_file::read(&layout.manifest())?;
        if manifest.status != RunStatus::Queued {
            // Whoever queues a run clears old requests; a request since then is meant for this worker.
            clear_cancel_request(&layout)?;
        }
        let (log, events) = EventLog::open(&layout.events())?;
        fold_all(&mut manifest, &events);
        manifest.status = RunStatus::Running;
        manifest.problem = None;
        manifest.pid = Some(std::process::id());
        let heartbeat = Heartbeat::start(&layout)?;
        let mut session = Self {
            layout,
            manifest,
            log,
            carbon: CarbonWatch::after(&events),
            tracking: None,
            stop: None,
            ended: false,
            began: Instant::now(),
            heartbeat,
            _lock: lock,
        };
        session.write_manifest()?;
        Ok(session)
    }

    /// The run's manifest.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// Where the run's files are.
    pub fn layout(&self) -> &RunLayout {
        &self.layout
    }

    /// The stages to train now, in order: those that were asked for and are not trained yet.
    pub fn stages(&self) -> Vec<u8> {
        let asked = |stage: u8| {
            self.manifest.requested_stages.is_empty() || self.manifest.requested_stages.contains(&stage)
        };
        let stages = self.manifest.stages.iter().filter(|stage| stage.status != RunStatus::Completed);
        stages.map(|stage| stage.stage).filter(|&stage| asked(stage)).collect()
    }

    /// Ends the run at its next step, with a checkpoint, once `stop` is set: the system asks this process to end.
    pub fn stop_with(&mut self, stop: Arc<AtomicBool>) {
        self.stop = Some(stop);
    }

    /// Follows the run into its trackers from now on. A tracker that cannot be started must not keep a model from being
    /// trained: it becomes a warning.
    pub fn track(&mut self, config: &TrackingConfig) -> Result<()> {
        match Tracking::start(&self.layout, &config.settings(&self.manifest.settings), &config.credentials) {
            Ok(tracking) => self.tracking = Some(tracking),
            Err(error) => self.append(warning(&error.problem()))?,
        }
        Ok(())
    }

    /// The trackers, to be ended once the run's last event is written.
    pub fn take_tracking(&mut self) -> Option<Tracking> {
        self.tracking.take()
    }

    /// Ends the attempt with its one terminal event, unless the trainer reported it already.
    pub fn finish(mut self, result: std::result::Result<Outcome, Problem>) -> Result<RunStatus> {
        let written = if self.ended { Ok(()) } else { self.append(self.terminal(result)) };
        if let Err(error) = &written {
            self.manifest.status = RunStatus::Failed;
            self.manifest.problem = Some(error.problem());
        }
        self.heartbeat.stop();
        let cleared = clear_cancel_request(&self.layout);
        self.manifest.pid = None;
        self.write_manifest()?;
        written.and(cleared)?;
        Ok(self.manifest.status)
    }

    fn terminal(&self, result: std::result::Result<Outcome, Problem>) -> EventKind {
        match result {
            Ok(Outcome::Finished) => {
                EventKind::Finished { duration_seconds: self.began.elapsed().as_secs_f64() }
            }
            Ok(Outcome::Cancelled { stage, step }) => {
                let asked =
                    self.is_asked_to_stop().then(|| String::from("the system asked the worker to end"));
                let reason = asked.or_else(|| carbon_watch::budget_spent(&self.manifest));
                EventKind::Cancelled { stage, step, reason }
            }
            Err(problem) => EventKind::Failed { problem },
        }
    }

    fn is_asked_to_stop(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn append(&mut self, kind: EventKind) -> Result<()> {
        let weight = Weight::of(&kind);
        let event = self.log.append(kind, weight >= Weight::Durable)?;
        self.ended |= event.kind.is_terminal();
        fold(&mut self.manifest, &event);
        if weight == Weight::Manifest && !event.kind.is_terminal() { self.write_manifest() } else { Ok(()) }
    }

    fn write_manifest(&mut self) -> Result<()> {
        note_artifacts(&mut self.manifest, &self.layout);
        self.manifest.updated_at = Timestamp::now();
        json_file::write(&self.layout.manifest(), &self.manifest)
    }
}

impl RunReporter for WorkerSession {
    fn report(&mut self, event: EventKind) -> std::result::Result<(), Problem> {
        if self.ended {
            let message = "an event was reported after the terminal one";
            return Err(Problem::new(ProblemKind::Internal, "worker.ended", message));
        }
        let is_about_carbon = matches!(event, EventKind::Emissions(_) | EventKind::StageFinished { .. });
        self.append(event).map_err(|error| error.problem())?;
        let mut warnings = if is_about_carbon { self.carbon.look(&self.manifest) } else { Vec::new() };
        let problems = self.tracking.as_mut().filter(|_| !self.ended).map(Tracking::problems);
        warnings.extend(problems.iter().flatten().map(warning));
        warnings.into_iter().try_for_each(|warning| self.append(warning)).map_err(|error| error.problem())
    }

    fn cancel_requested(&self) -> bool {
        self.layout.cancel_request().exists()
            || self.is_asked_to_stop()
            || carbon_watch::budget_spent(&self.manifest).is_some()
    }
}

fn warning(problem: &Problem) -> EventKind {
    let operation = |suggestion: &Suggestion| suggestion.operation.clone();
    let hint = advice(&problem.suggestions, problem.hint.as_deref(), &operation);
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    EventKind::Warning { code: problem.code.clone(), message: format!("{}{hint}", problem.message) }
}

/// How much is done for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is handed to the operating system.
    Flushed,
    /// The disk has it.
    Durable,
    /// And the manifest says so too.
    Manifest,
}

impl Weight {
    fn of(kind: &EventKind) -> Self {
        match kind {
            EventKind::Step(_) | EventKind::Emissions(_) | EventKind::Evaluated { .. } => Self::Flushed,
            EventKind::Started { .. } | EventKind::Warning { .. } => Self::Durable,
            _ => Self::Manifest,
        }
    }
}

/// Reads what a worker is asked to do.
pub fn read_task(path: &Path) -> Result<WorkerTask> {
    json_file::read(path)
}

/// Writes what a worker answers.
pub fn write_answer(path: &Path, answer: &WorkerAnswer) -> Result<()> {
    json_file::write(path, answer)
}

/// Takes back a request to cancel.
pub(crate) fn clear_cancel_request(layout: &RunLayout) -> Result<()> {
    let path = layout.cancel_request();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(WorkbenchError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// A thread that rewrites `heartbeat.json`.
#[derive(Debug)]
struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Serialize)]
struct Beat {
    pid: u32,
    at: Timestamp,
    memory: MemoryBeat,
}

impl Heartbeat {
    fn start(layout: &RunLayout) -> Result<Self> {
        let path = layout.heartbeat();
        let (stop, stopped) = mpsc::channel();
        let beat = move || {
            loop {
                // A full disk stops the trainer through its events; a missed beat alone is no reason to.
                let beat = Beat { pid: std::process::id(), at: Timestamp::now(), memory: MemoryBeat::now() };
                let _ = json_file::write(&path, &beat);
                if stopped.recv_timeout(HEARTBEAT) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name(String::from("heartbeat"))
            .spawn(beat)
            .map_err(|error| WorkbenchError::Internal(format!("no thread for the heartbeat: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop();
    }
}
