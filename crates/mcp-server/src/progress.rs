//! Progress of a training or a download that a call waits for.

use std::{path::PathBuf, pin::pin, sync::Arc, time::Duration};

use greentune_core_config::{
    event::{EventKind, StepMetrics},
    port::{TransferProgress, TransferReporter},
};
use greentune_workbench::{
    Workbench,
    operation::{FollowEvents, MonitorTrainingProgress},
};
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};
use tokio::sync::watch;

use crate::wording::figure;

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

    /// A follower of `stage` of a run, or of all its stages; none when the run cannot be read, which the operation
    /// itself will say.
    pub(crate) async fn follow(
        self,
        workbench: &Workbench,
        project_path: Option<PathBuf>,
        run_id: String,
        stage: Option<u8>,
    ) -> Option<Follower> {
        let request = MonitorTrainingProgress {
            project_path: project_path.clone(),
            run_id: run_id.clone(),
            include_emissions: Some(false),
        };
        let now = workbench.monitor_training_progress(request).await.ok()?;
        let wanted = now.stages.iter().filter(|record| stage.is_none_or(|stage| record.stage == stage));
        Some(Follower {
            progress: self,
            workbench: workbench.clone(),
            position: FollowEvents {
                project_path,
                run_id,
                after_seq: now.last_seq,
                ..FollowEvents::default()
            },
            stages: wanted.map(|record| (record.stage, record.total_steps)).collect(),
        })
    }
}

/// Awaits `training`; a follower tells the client of the steps meanwhile.
pub(crate) async fn report_during<T>(follower: Option<Follower>, training: impl Future<Output = T>) -> T {
    let Some(mut follower) = follower else { return training.await };
    let mut training = pin!(training);
    loop {
        tokio::select! {
            outcome = &mut training => {
                follower.report().await;
                return outcome;
            }
            () = tokio::time::sleep(INTERVAL) => follower.report().await,
        }
    }
}

/// Tells the client how far the downloads of one operation are.
pub(crate) struct Transfers {
    progress: Option<Progress>,
    newest: watch::Receiver<TransferProgress>,
}

/// Passes on how far a download is; only the newest counts.
#[derive(Debug)]
struct Teller(watch::Sender<TransferProgress>);

impl TransferReporter for Teller {
    fn report(&self, progress: &TransferProgress) {
        self.0.send_replace(progress.clone());
    }
}

impl Transfers {
    /// Downloads are told when the client wants progress; what is returned beside is `workbench` telling of them.
    pub(crate) fn of(workbench: &Workbench, progress: Option<Progress>) -> (Self, Workbench) {
        let (teller, newest) = watch::channel(TransferProgress::default());
        (Self { progress, newest }, workbench.reporting(Arc::new(Teller(teller))))
    }

    /// Awaits `operation` and tells the client of its downloads meanwhile.
    pub(crate) async fn report_during<T>(mut self, operation: impl Future<Output = T>) -> T {
        let Some(progress) = self.progress.take() else { return operation.await };
        let mut operation = pin!(operation);
        let mut told = 0;
        loop {
            let outcome = tokio::select! {
                outcome = &mut operation => Some(outcome),
                () = tokio::time::sleep(INTERVAL) => None,
            };
            let now = self.newest.borrow_and_update().clone();
            // The protocol wants figures that grow.
            if now.bytes_done > told {
                told = now.bytes_done;
                let _ = progress.peer.notify_progress(transferred(&progress, &now)).await;
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }
}

fn transferred(progress: &Progress, now: &TransferProgress) -> ProgressNotificationParam {
    let megabytes = |bytes: u64| figure(bytes as f64 / 1e6);
    ProgressNotificationParam::new(progress.token.clone(), now.bytes_done as f64)
        .with_total(now.bytes_total as f64)
        .with_message(format!(
            "downloading {}: {} of {} MB ({})",
            now.what,
            megabytes(now.bytes_done),
            megabytes(now.bytes_total),
            now.file
        ))
}

/// Follows a run from its last event on and tells the client of its steps.
pub(crate) struct Follower {
    progress: Progress,
    workbench: Workbench,
    position: FollowEvents,
    /// Stage and its optimizer steps, in order.
    stages: Vec<(u8, u64)>,
}

impl Follower {
    /// Tells the client of the newest step, when there is a new one. Progress that cannot be told is not missed.
    async fn report(&mut self) {
        let Ok(news) = self.workbench.follow_events(self.position.clone()).await else { return };
        self.position.after_seq = news.last_seq.or(self.position.after_seq);
        let newest = news.events.iter().rev().find_map(|event| match &event.kind {
            EventKind::Step(step) => Some(step),
            _ => None,
        });
        if let Some(step) = newest {
            let _ = self.progress.peer.notify_progress(self.notification(step)).await;
        }
    }

    fn notification(&self, step: &StepMetrics) -> ProgressNotificationParam {
        let before: u64 =
            self.stages.iter().filter(|(stage, _)| *stage < step.stage).map(|(_, steps)| steps).sum();
        let total: u64 = self.stages.iter().map(|(_, steps)| steps).sum();
        ProgressNotificationParam::new(self.progress.token.clone(), (before + step.step) as f64)
            .with_total(total as f64)
            .with_message(format!(
                "stage {}, step {} of {}, loss {}, {}",
                step.stage,
                step.step,
                step.total_steps,
                figure(step.train_loss),
                match step.samples.as_ref().filter(|_| step.tokens == 0) {
                    Some(samples) => format!("{} samples/s", figure(samples.per_second)),
                    None => format!("{} tokens/s", figure(step.tokens_per_second)),
                }
            ))
    }
}
