//! Handing a run to a local worker, and waiting for it to begin or to end.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use greentune_core_config::{
    event::EventKind,
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
};
use jiff::Timestamp;

use crate::{
    Result, Workbench, WorkbenchError, carbon_watch, events, json_file,
    local::LocalWorker,
    lock, out_of_memory, progress,
    run::{Run, is_active, status_of},
    worker::clear_cancel_request,
};

/// Time between two looks at a run's files.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// A worker that lives this long without an event is loading a large model and counts as begun.
const BEGIN_AT_MOST: Duration = Duration::from_mins(1);

/// What is to be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// All stages of the project.
    All,
    /// This stage.
    Stage(u8),
    /// What the last start asked for; there must have been one.
    Again,
}

/// Settings of a run that its start may change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Overrides {
    /// `training.memory_check`.
    pub memory_check: Option<bool>,
    /// `carbon.budget_kg`.
    pub budget_kg: Option<f64>,
    /// `carbon.budget_kwh`.
    pub budget_kwh: Option<f64>,
}

impl Overrides {
    fn apply(self, manifest: &mut RunManifest) {
        let mut changed = Vec::new();
        if let Some(memory_check) = self.memory_check {
            manifest.settings.training.memory_check = memory_check;
            changed.push("training.memory_check");
        }
        if self.budget_kg.is_some() {
            manifest.settings.carbon.budget_kg = self.budget_kg;
            changed.push("carbon.budget_kg");
        }
        if self.budget_kwh.is_some() {
            manifest.settings.carbon.budget_kwh = self.budget_kwh;
            changed.push("carbon.budget_kwh");
        }
        let source = String::from("start of training");
        manifest.sources.extend(changed.into_iter().map(|key| (key.to_owned(), source.clone())));
    }
}

/// A run that was handed to a worker.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The run.
    pub layout: RunLayout,
    /// Where it trains.
    pub platform: String,
    /// Whether it was trained before.
    pub resumed: bool,
    /// Seconds it will take, when something comparable was trained.
    pub estimated_seconds: Option<f64>,
    worker: LocalWorker,
    after_seq: Option<u64>,
}

impl Workbench {
    /// Queues the run and starts a worker on it. Nobody else can do the same meanwhile.
    ///
    /// `overrides` change the run's settings from now on.
    pub(crate) fn launch(
        &self,
        project: Option<&Path>,
        run_id: &str,
        demand: Demand,
        overrides: Overrides,
    ) -> Result<Launched> {
        let layout = self.find_run(project, run_id)?;
        if is_active(status_of(&layout)?) {
            return Err(lock::held(&layout));
        }
        let lock = lock::take(&layout)?;
        let run = Run::read_locked(layout, &lock)?;
        if is_active(run.manifest.status) {
            return Err(lock::held(&run.layout));
        }
        let requested_stages = requested_stages(&run, demand)?;
        clear_cancel_request(&run.layout)?;
        let mut queued = RunManifest { requested_stages, status: RunStatus::Queued, ..run.manifest.clone() };
        queued.pid = None;
        queued.problem = None;
        overrides.apply(&mut queued);
        carbon_watch::refuse_spent(&queued)?;
        out_of_memory::refuse_too_large(&queued)?;
        write(&run.layout, &mut queued)?;
        let worker = LocalWorker::spawn(self.config(), &run.layout).or_else(|error| {
            write(&run.layout, &mut run.manifest.clone())?;
            Err(error)
        })?;
        queued.pid = Some(worker.pid);
        write(&run.layout, &mut queued)?;
        // The worker waits for the lock; explicitly, because a child may have inherited the open file.
        lock.unlock().map_err(WorkbenchError::file("unlock", run.layout.lock()))?;
        let pace = progress::pace(&run).or_else(|| progress::earlier_pace(&run));
        Ok(Launched {
            platform: queued.platform.clone(),
            resumed: !run.events.is_empty(),
            estimated_seconds: pace.map(|pace| progress::remaining_seconds(&queued, pace)),
            after_seq: run.events.last().map(|event| event.seq),
            layout: run.layout,
            worker,
        })
    }
}

impl Launched {
    /// Waits until the worker has begun to train, or the run has ended already.
    ///
    /// Errors: the worker ended before, with the end of its log.
    pub(crate) async fn begun(&mut self) -> Result<()> {
        let deadline = Instant::now() + BEGIN_AT_MOST;
        loop {
            // The exit is looked at first: what the worker wrote before it is in the files then.
            let exited = self.worker.has_exited();
            if self.has_begun()? || Instant::now() >= deadline {
                return Ok(());
            }
            if exited {
                return Err(self.worker.died(&self.layout));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until no worker is at work on the run any more.
    pub(crate) async fn ended(&mut self) -> Result<RunStatus> {
        loop {
            let exited = self.worker.has_exited();
            let status = status_of(&self.layout)?;
            if !is_active(status) {
                return Ok(status);
            }
            if exited && !lock::is_taken(&self.layout)? {
                return Ok(RunStatus::Interrupted);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The status that `status` is an error for: a failed run's problem, a cancelled or interrupted run.
    pub(crate) fn check(&mut self, status: RunStatus) -> Result<RunStatus> {
        match status {
            RunStatus::Failed => {
                let problem = Run::read(self.layout.clone())?.manifest.problem;
                Err(problem.map_or_else(|| self.worker.died(&self.layout), WorkbenchError::from))
            }
            RunStatus::Cancelled => Err(carbon_watch::end_of(&Run::read(self.layout.clone())?.manifest)),
            RunStatus::Interrupted => {
                self.worker.has_exited();
                Err(self.worker.died(&self.layout))
            }
            status => Ok(status),
        }
    }

    fn has_begun(&self) -> Result<bool> {
        let new = events::read_after(&self.layout.events(), self.after_seq, 100)?;
        Ok(new
            .iter()
            .any(|event| matches!(event.kind, EventKind::Started { .. }) || event.kind.is_terminal()))
    }
}

/// The stages to ask the worker for; empty for all.
fn requested_stages(run: &Run, demand: Demand) -> Result<Vec<u8>> {
    let run_id = &run.manifest.run_id;
    let requested = match demand {
        Demand::All => Vec::new(),
        Demand::Stage(stage) => vec![run.stage(stage)?.stage],
        Demand::Again if run.events.is_empty() && run.manifest.status == RunStatus::NotStarted => {
            return Err(WorkbenchError::NotStarted(run_id.clone()));
        }
        Demand::Again => run.manifest.requested_stages.clone(),
    };
    let is_trained = |stage: u8| run.trained_stage(stage).is_ok();
    let stages = run.manifest.stages.iter().map(|stage| stage.stage);
    let mut pending =
        stages.filter(|stage| (requested.is_empty() || requested.contains(stage)) && !is_trained(*stage));
    match pending.next() {
        None => Err(WorkbenchError::AlreadyCompleted(run_id.clone())),
        Some(stage) if stage > 1 && !is_trained(stage - 1) => {
            Err(WorkbenchError::StageNotTrained { run_id: run_id.clone(), stage: stage - 1 })
        }
        Some(_) => Ok(requested),
    }
}

fn write(layout: &RunLayout, manifest: &mut RunManifest) -> Result<()> {
    manifest.updated_at = Timestamp::now();
    json_file::write(&layout.manifest(), manifest)
}
