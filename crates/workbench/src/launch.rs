//! Handing a run to its platform, and waiting for it to begin or to end.

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use greentune_core_config::{
    Problem,
    event::EventKind,
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
    platform::{Job, JobState, PlatformKind},
    port::Platform,
};
use greentune_run_folder::{
    Liveness, RunFolderError, clear_cancel_request, lock, manifest, read_after, remaining_seconds,
    without_worker,
};

use crate::{
    Result, Workbench, WorkbenchError, carbon_watch, inputs, out_of_memory,
    platform::Platforms,
    run::{Run, explain_end},
    sent_before::{Kept, SentRequest, key_of},
};

/// Time between two looks at the files of a run on this machine.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// Time between two questions to another platform.
const REMOTE_POLL: Duration = Duration::from_secs(1);
/// A worker that lives this long without an event is probably loading a large model. It counts as begun.
const BEGIN_AT_MOST: Duration = Duration::from_mins(1);

/// Which stages to train.
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
    /// Where it trains from now on; where it did when absent.
    pub platform: Option<PlatformKind>,
    /// Train although inputs are not what the run was configured with.
    pub accept_changed_inputs: bool,
}

impl Overrides {
    fn apply(self, manifest: &mut RunManifest) {
        let mut changed = Vec::new();
        if let Some(kind) = self.platform.filter(|kind| *kind != manifest.platform.kind) {
            manifest.platform = Job::on(kind);
        }
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

/// A run that was handed to its platform.
#[derive(Debug)]
pub(crate) struct Launched {
    /// The run.
    pub layout: RunLayout,
    /// Its job.
    pub job: Job,
    /// Whether it was trained before.
    pub resumed: bool,
    /// Whether an earlier request of the same key launched it.
    pub repeated: bool,
    /// Seconds it will take, when something comparable was trained.
    pub estimated_seconds: Option<f64>,
    platform: Arc<dyn Platform>,
    after_seq: Option<u64>,
}

/// A run whose lock this process holds: no worker of this machine is at work on it, but one may be about to begin.
struct Locked<'a> {
    platforms: &'a Platforms,
    _lock: &'a File,
}

impl Liveness for Locked<'_> {
    fn job_state(
        &self,
        layout: &RunLayout,
        manifest: &RunManifest,
    ) -> std::result::Result<JobState, Problem> {
        match manifest.platform.kind {
            PlatformKind::Local => Ok(without_worker(manifest)),
            _ => self.platforms.job_state(layout, manifest),
        }
    }
}

impl Workbench {
    /// Queues the run and has its platform train it. Nobody else can do the same meanwhile.
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
        if self.status_of(&layout)?.is_active() {
            return Err(lock::held(&layout).into());
        }
        self.settle_tasks_of(&layout.run_id());
        let lock = lock::take(&layout)?;
        let run = Run::read(layout, &Locked { platforms: self.platforms(), _lock: &lock })?;
        if run.manifest.status.is_active() {
            return Err(lock::held(&run.layout).into());
        }
        let queued = self.queued(&run, demand, overrides)?;
        let (job, queued) = self.submit(&run, queued)?;
        // The worker waits for the lock; explicitly, because a child may have inherited the open file.
        lock.unlock().map_err(WorkbenchError::file("unlock", run.layout.lock()))?;
        let platform = Arc::clone(self.platforms().get(job.kind)?);
        let own_pace = run.seconds_per_record().map(|pace| remaining_seconds(&queued, pace));
        let estimated = || platform.quote(&run.layout, &queued).ok()?.seconds;
        Ok(Launched {
            job,
            repeated: false,
            resumed: !run.events.is_empty(),
            estimated_seconds: own_pace.or_else(estimated),
            after_seq: run.events.last().map(|event| event.seq),
            layout: run.layout,
            platform,
        })
    }

    /// The same for a request with `key`: one that has launched the run before is answered with that, whatever became of
    /// it.
    pub(crate) fn launch_once(
        &self,
        project: Option<&Path>,
        run_id: &str,
        demand: Demand,
        overrides: Overrides,
        key: &str,
    ) -> Result<Launched> {
        let layout = self.find_run(project, run_id)?;
        let _lock = self.lock_requests()?;
        let is_of_key = || key_of(&layout).as_deref() == Some(key);
        if is_of_key() && self.status_of(&layout)? != RunStatus::NotStarted {
            return self.launched_before(layout);
        }
        // Kept before the worker begins, which tidies the folder up.
        let before = Kept::of(&layout);
        let is_new = !is_of_key() && !self.status_of(&layout)?.is_active();
        if is_new {
            SentRequest::new(Some(key), &layout.run_id())?.keep(&layout)?;
        }
        match self.launch(project, run_id, demand, overrides) {
            // Somebody with the same key was a moment faster.
            Err(WorkbenchError::RunFolder(RunFolderError::AlreadyRunning { .. })) if is_of_key() => {
                self.launched_before(layout)
            }
            launched => {
                if launched.is_err() && is_new {
                    before.restore(&layout)?;
                }
                launched
            }
        }
    }

    /// The run at `layout`, as an earlier request launched it.
    fn launched_before(&self, layout: RunLayout) -> Result<Launched> {
        let (manifest, estimated_seconds) =
            self.look(&layout, |view| (view.manifest().clone(), view.remaining_seconds()))?;
        Ok(Launched {
            platform: Arc::clone(self.platforms().get(manifest.platform.kind)?),
            job: manifest.platform,
            repeated: true,
            resumed: false,
            estimated_seconds,
            after_seq: None,
            layout,
        })
    }

    /// The manifest of `run` as its next worker is to find it.
    fn queued(&self, run: &Run, demand: Demand, overrides: Overrides) -> Result<RunManifest> {
        let requested_stages = requested_stages(run, demand)?;
        let mut queued = RunManifest { requested_stages, status: RunStatus::Queued, ..run.manifest.clone() };
        queued.pid = None;
        queued.problem = None;
        queued.last_seq = run.events.last().map(|event| event.seq);
        overrides.apply(&mut queued);
        self.platforms().get(queued.platform.kind)?;
        self.check_named_files(&queued)?;
        carbon_watch::refuse_spent(&queued)?;
        let changed = inputs::changed(&queued)?;
        if !changed.is_empty() && !overrides.accept_changed_inputs {
            return Err(inputs::refusal(&queued.run_id, demand == Demand::Again, &changed));
        }
        inputs::accept(&mut queued, changed);
        out_of_memory::refuse_too_large(&queued)?;
        Ok(queued)
    }

    /// Hands the queued run over. When the platform does not take it, the run is as it was.
    fn submit(&self, run: &Run, mut queued: RunManifest) -> Result<(Job, RunManifest)> {
        let layout = &run.layout;
        clear_cancel_request(layout)?;
        manifest::write(layout, &mut queued)?;
        let platform = self.platforms().get(queued.platform.kind)?;
        let submitted = platform.submit(layout, &queued).or_else(|problem| {
            manifest::write(layout, &mut run.manifest.clone())?;
            Err(WorkbenchError::from(problem))
        })?;
        queued.pid = submitted.pid;
        queued.platform = submitted.job.clone();
        manifest::write(layout, &mut queued)?;
        Ok((submitted.job, queued))
    }
}

impl Launched {
    /// Waits until the worker has begun to train, or the run has ended already; where it stands then.
    ///
    /// Errors: the worker ended before, with the end of its log.
    pub(crate) async fn begun(&self, workbench: &Workbench) -> Result<RunStatus> {
        let deadline = Instant::now() + BEGIN_AT_MOST;
        loop {
            let status = self.status(workbench).await?;
            if self.has_begun()? || Instant::now() >= deadline {
                return Ok(status);
            }
            if !status.is_active() {
                return Err(self.unexpected_end(workbench).await?);
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Waits until no worker is at work on the run any more, and brings what it left.
    pub(crate) async fn ended(&self, workbench: &Workbench) -> Result<RunStatus> {
        loop {
            let status = self.status(workbench).await?;
            if !status.is_active() {
                let layout = self.layout.clone();
                workbench.blocking(move |workbench| workbench.fetch(&layout)).await?;
                return Ok(status);
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Returns `status`, or the error that it stands for: a failed run's problem, or a cancelled or interrupted run.
    pub(crate) async fn check(&self, workbench: &Workbench, status: RunStatus) -> Result<RunStatus> {
        match status {
            RunStatus::Failed => match self.manifest(workbench).await?.problem {
                Some(problem) => Err(problem.into()),
                None => Err(self.unexpected_end(workbench).await?),
            },
            RunStatus::Cancelled => Err(carbon_watch::end_of(&self.manifest(workbench).await?)),
            RunStatus::Interrupted => Err(self.unexpected_end(workbench).await?),
            status => Ok(status),
        }
    }

    fn pause(&self) -> Duration {
        if self.platform.kind() == PlatformKind::Local { POLL } else { REMOTE_POLL }
    }

    async fn status(&self, workbench: &Workbench) -> Result<RunStatus> {
        let layout = self.layout.clone();
        workbench.blocking(move |workbench| workbench.status_of(&layout)).await
    }

    async fn manifest(&self, workbench: &Workbench) -> Result<RunManifest> {
        let layout = self.layout.clone();
        workbench.blocking(move |workbench| workbench.look(&layout, |view| view.manifest().clone())).await
    }

    fn has_begun(&self) -> Result<bool> {
        let new = read_after(&self.layout.events(), self.after_seq, 100)?;
        Ok(new
            .iter()
            .any(|event| matches!(event.kind, EventKind::Started { .. }) || event.kind.is_terminal()))
    }

    /// The error for a worker that ended without a terminal event: the likely cause when memory is it.
    async fn unexpected_end(&self, workbench: &Workbench) -> Result<WorkbenchError> {
        let mut manifest = self.manifest(workbench).await?;
        let words = self.platform.last_words(&self.layout, &manifest);
        let is_local = manifest.platform.kind == PlatformKind::Local;
        let explained = if is_local { out_of_memory::explain(&self.layout, &words.log_tail) } else { None };
        explain_end(&self.layout, &mut manifest);
        if let Some(problem) = explained.or(manifest.problem) {
            return Ok(problem.into());
        }
        Ok(WorkbenchError::WorkerDied {
            run_id: Some(self.layout.run_id()),
            status: words.exit.unwrap_or_else(|| String::from("no exit status")),
            log_tail: words.log_tail,
        })
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
    let stages = || run.manifest.stages.iter().map(|stage| stage.stage);
    let mut pending =
        stages().filter(|stage| (requested.is_empty() || requested.contains(stage)) && !is_trained(*stage));
    match pending.next() {
        None => Err(WorkbenchError::AlreadyCompleted(run_id.clone())),
        // An image classifier without a warm-up has no stage 1.
        Some(stage) => match stages().rfind(|before| *before < stage) {
            Some(before) if !is_trained(before) => {
                let status = run.stage(before)?.status;
                let run_id = run_id.clone();
                Err(RunFolderError::StageNotTrained { run_id, stage: before, status }.into())
            }
            _ => Ok(requested),
        },
    }
}
