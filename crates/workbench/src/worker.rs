//! The worker's side of a run: its folder, its trackers, its budget.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
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
use greentune_run_folder::{RunFolderError, RunWriter, json, manifest};
use greentune_tracking::Tracking;

use crate::{
    Result, TrackingConfig,
    carbon_watch::{self, CarbonWatch},
    out_of_memory::memory_now,
};

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
    folder: RunWriter,
    carbon: CarbonWatch,
    tracking: Option<Tracking>,
    stop: Option<Arc<AtomicBool>>,
    began: Instant,
}

impl WorkerSession {
    /// Takes the run in `run_folder`: locks it, repairs its events, marks it running.
    ///
    /// Errors: another worker holds it (`run.already_running`); its manifest or events are damaged.
    pub fn begin(run_folder: &Path) -> Result<Self> {
        let (folder, events) = RunWriter::begin(run_folder, memory_now)?;
        let carbon = CarbonWatch::after(&events);
        Ok(Self { folder, carbon, tracking: None, stop: None, began: Instant::now() })
    }

    /// The run's manifest.
    pub fn manifest(&self) -> &RunManifest {
        self.folder.manifest()
    }

    /// Where the run's files are.
    pub fn layout(&self) -> &RunLayout {
        self.folder.layout()
    }

    /// The stages to train now, in order: those that were asked for and are not trained yet.
    pub fn stages(&self) -> Vec<u8> {
        let manifest = self.manifest();
        let asked =
            |stage: u8| manifest.requested_stages.is_empty() || manifest.requested_stages.contains(&stage);
        let stages = manifest.stages.iter().filter(|stage| stage.status != RunStatus::Completed);
        stages.map(|stage| stage.stage).filter(|&stage| asked(stage)).collect()
    }

    /// Ends the run at its next step, with a checkpoint, once `stop` is set: the system asks this process to end.
    pub fn stop_with(&mut self, stop: Arc<AtomicBool>) {
        self.stop = Some(stop);
    }

    /// Follows the run into its trackers from now on. A tracker that cannot be started must not keep a model from being
    /// trained: it becomes a warning.
    pub fn track(&mut self, config: &TrackingConfig) -> Result<()> {
        let settings = config.settings(&self.manifest().settings);
        match Tracking::start(self.layout(), &settings, &config.credentials) {
            Ok(tracking) => self.tracking = Some(tracking),
            Err(error) => self.folder.append(warning(&error.problem()))?,
        }
        Ok(())
    }

    /// The trackers, to be ended once the run's last event is written.
    pub fn take_tracking(&mut self) -> Option<Tracking> {
        self.tracking.take()
    }

    /// Ends the attempt with its one terminal event, unless the trainer reported it already.
    pub fn finish(mut self, result: std::result::Result<Outcome, Problem>) -> Result<RunStatus> {
        let terminal = self.terminal(result);
        let written = if self.folder.has_ended() { Ok(()) } else { self.folder.append(terminal) };
        let status = self.folder.finish(written.as_ref().err().map(RunFolderError::problem))?;
        written?;
        Ok(status)
    }

    fn terminal(&self, result: std::result::Result<Outcome, Problem>) -> EventKind {
        match result {
            Ok(Outcome::Finished) => {
                EventKind::Finished { duration_seconds: self.began.elapsed().as_secs_f64() }
            }
            Ok(Outcome::Cancelled { stage, step }) => {
                let asked =
                    self.is_asked_to_stop().then(|| String::from("the system asked the worker to end"));
                let reason = asked.or_else(|| carbon_watch::budget_spent(self.manifest()));
                EventKind::Cancelled { stage, step, reason }
            }
            Err(problem) => EventKind::Failed { problem },
        }
    }

    fn is_asked_to_stop(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

impl RunReporter for WorkerSession {
    fn report(&mut self, event: EventKind) -> std::result::Result<(), Problem> {
        if self.folder.has_ended() {
            let message = "an event was reported after the terminal one";
            return Err(Problem::new(ProblemKind::Internal, "worker.ended", message));
        }
        let is_about_carbon = matches!(event, EventKind::Emissions(_) | EventKind::StageFinished { .. });
        self.folder.append(event).map_err(|error| error.problem())?;
        let manifest = self.folder.manifest();
        let mut warnings = if is_about_carbon { self.carbon.look(manifest) } else { Vec::new() };
        let has_ended = self.folder.has_ended();
        let problems = self.tracking.as_mut().filter(|_| !has_ended).map(Tracking::problems);
        warnings.extend(problems.iter().flatten().map(warning));
        let mut append = |warning| self.folder.append(warning).map_err(|error| error.problem());
        warnings.into_iter().try_for_each(&mut append)
    }

    fn cancel_requested(&self) -> bool {
        self.layout().cancel_request().exists()
            || self.is_asked_to_stop()
            || carbon_watch::budget_spent(self.manifest()).is_some()
    }
}

fn warning(problem: &Problem) -> EventKind {
    let operation = |suggestion: &Suggestion| suggestion.operation.clone();
    let hint = advice(&problem.suggestions, problem.hint.as_deref(), &operation);
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    EventKind::Warning { code: problem.code.clone(), message: format!("{}{hint}", problem.message) }
}

/// The run in `folder`, for work on it besides training.
pub fn read_run(folder: &Path) -> std::result::Result<(RunManifest, RunLayout), Problem> {
    let read = || {
        let layout = RunLayout::at(folder).ok_or_else(|| RunFolderError::NotARun(folder.to_owned()))?;
        Ok((manifest::read(&layout)?, layout))
    };
    read().map_err(|error: RunFolderError| error.problem())
}

/// Reads what a worker is asked to do.
pub fn read_task(path: &Path) -> Result<WorkerTask> {
    Ok(json::read(path)?)
}

/// Writes what a worker answers.
pub fn write_answer(path: &Path, answer: &WorkerAnswer) -> Result<()> {
    Ok(json::write(path, answer)?)
}
