//! Progress of a training or a download that a call waits for.

use std::{pin::pin, sync::Arc, time::Duration};

use greentune_core_config::{
    event::{EventKind, StepMetrics},
    port::{TransferProgress, TransferReporter},
    quantities::plain,
};
use greentune_workbench::{
    AwaitedRun, Observer, Workbench,
    operation::{FollowEvents, MonitorTrainingProgress},
};
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use tokio::sync::{mpsc, watch};

/// At most one notification in this time, however fast the steps are.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where a call's progress goes.
pub(crate) struct Progress {
    peer: Peer<RoleServer>,
    token: ProgressToken,
}

impl Progress {
    /// The client's wish in a request's `_meta.progressToken`.
    pub(crate) fn asked_for(context: &RequestContext<RoleServer>) -> Option<Self> {
        Some(Self { peer: context.peer.clone(), token: context.meta.get_progress_token()? })
    }

    async fn tell(&self, notice: Notice) {
        let Notice { done, total, message } = notice;
        let told = ProgressNotificationParam::new(self.token.clone(), done);
        let _ = self.peer.notify_progress(told.with_total(total).with_message(message)).await;
    }
}

/// Awaits an operation of `workbench` and tells the client meanwhile of downloads, and of the steps of a run that the
/// operation waits for.
pub(crate) async fn report_during<T, F: Future<Output = T>>(
    progress: Option<Progress>,
    workbench: Workbench,
    operation: impl FnOnce(&Workbench) -> F,
) -> T {
    let Some(progress) = progress else { return operation(&workbench).await };
    let (teller, transfers, mut runs) = ProgressSender::new();
    let mut operation = pin!(operation(&workbench.reporting(Arc::new(teller))));
    let mut reports = Reports { progress, transfers, told: 0, follower: None };
    loop {
        let outcome = tokio::select! {
            outcome = &mut operation => Some(outcome),
            Some(run) = runs.recv() => {
                reports.follower = Follower::of(&workbench, run).await;
                None
            }
            () = tokio::time::sleep(INTERVAL) => None,
        };
        reports.report().await;
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
}

/// Passes on what an operation does; of downloads only the newest counts.
#[derive(Debug)]
struct ProgressSender {
    transfers: watch::Sender<TransferProgress>,
    runs: mpsc::UnboundedSender<AwaitedRun>,
}

impl ProgressSender {
    fn new() -> (Self, watch::Receiver<TransferProgress>, mpsc::UnboundedReceiver<AwaitedRun>) {
        let (transfers, newest) = watch::channel(TransferProgress::default());
        let (runs, awaited) = mpsc::unbounded_channel();
        (Self { transfers, runs }, newest, awaited)
    }
}

/// Writes what the user should know to the server's log.
#[derive(Debug)]
pub(crate) struct LoggedRemarks;

impl TransferReporter for LoggedRemarks {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for LoggedRemarks {
    fn remark(&self, text: &str) {
        tracing::warn!("{text}");
    }
}

impl TransferReporter for ProgressSender {
    fn report(&self, progress: &TransferProgress) {
        self.transfers.send_replace(progress.clone());
    }
}

impl Observer for ProgressSender {
    fn awaits_run(&self, run: &AwaitedRun) {
        // Nobody listens any more when the call has ended.
        let _ = self.runs.send(run.clone());
    }

    fn remark(&self, text: &str) {
        LoggedRemarks.remark(text);
    }
}

/// What the client is told. Progress that cannot be told is not missed.
struct Reports {
    progress: Progress,
    transfers: watch::Receiver<TransferProgress>,
    /// Bytes that the client knows of.
    told: u64,
    follower: Option<Follower>,
}

impl Reports {
    async fn report(&mut self) {
        let now = self.transfers.borrow_and_update().clone();
        // The protocol wants figures that grow.
        if now.bytes_done > self.told {
            self.told = now.bytes_done;
            self.progress.tell(transferred(&now)).await;
        }
        let Some(follower) = &mut self.follower else { return };
        if let Some(step) = follower.newest_step().await {
            self.progress.tell(follower.stepped(&step)).await;
        }
    }
}

/// How far something is, how far it will go, and what it is.
struct Notice {
    done: f64,
    total: f64,
    message: String,
}

fn transferred(now: &TransferProgress) -> Notice {
    let megabytes = |bytes: u64| plain(bytes as f64 / 1e6);
    Notice {
        done: now.bytes_done as f64,
        total: now.bytes_total as f64,
        message: format!(
            "{} {}: {} of {} MB ({})",
            now.direction.doing(),
            now.what,
            megabytes(now.bytes_done),
            megabytes(now.bytes_total),
            now.file
        ),
    }
}

/// Follows a run from its last event on.
struct Follower {
    workbench: Workbench,
    position: FollowEvents,
    /// Stage and its optimizer steps, in order.
    stages: Vec<(u8, u64)>,
}

impl Follower {
    /// A follower of a run's stage, or of all its stages; none when the run cannot be read, which the operation itself
    /// will say.
    async fn of(workbench: &Workbench, run: AwaitedRun) -> Option<Self> {
        let AwaitedRun { project_path, run_id, stage } = run;
        let request = MonitorTrainingProgress {
            project_path: Some(project_path.clone()),
            run_id: run_id.clone(),
            include_emissions: Some(false),
        };
        let now = workbench.monitor_training_progress(request).await.ok()?;
        let wanted = now.stages.iter().filter(|record| stage.is_none_or(|stage| record.stage == stage));
        Some(Self {
            workbench: workbench.clone(),
            position: FollowEvents {
                project_path: Some(project_path),
                run_id,
                after_seq: now.last_seq,
                ..FollowEvents::default()
            },
            stages: wanted.map(|record| (record.stage, record.total_steps)).collect(),
        })
    }

    /// The newest step, when there is a new one.
    async fn newest_step(&mut self) -> Option<StepMetrics> {
        let news = self.workbench.follow_events(self.position.clone()).await.ok()?;
        self.position.after_seq = news.last_seq.or(self.position.after_seq);
        news.events.into_iter().rev().find_map(|event| match event.kind {
            EventKind::Step(step) => Some(step),
            _ => None,
        })
    }

    fn stepped(&self, step: &StepMetrics) -> Notice {
        let before: u64 =
            self.stages.iter().filter(|(stage, _)| *stage < step.stage).map(|(_, steps)| steps).sum();
        let total: u64 = self.stages.iter().map(|(_, steps)| steps).sum();
        Notice {
            done: (before + step.step) as f64,
            total: total as f64,
            message: format!(
                "stage {}, step {} of {}, loss {}, {}",
                step.stage,
                step.step,
                step.total_steps,
                plain(step.train_loss),
                match step.samples.as_ref().filter(|_| step.tokens == 0) {
                    Some(samples) => format!("{} samples/s", plain(samples.per_second)),
                    None => format!("{} tokens/s", plain(step.tokens_per_second)),
                }
            ),
        }
    }
}
