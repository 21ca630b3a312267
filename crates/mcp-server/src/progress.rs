//! Progress of a training that a call waits for.

use std::{path::PathBuf, pin::pin, time::Duration};

use greentune_core_config::event::{EventKind, StepMetrics};
use greentune_workbench::{
    Workbench,
    operation::{FollowEvents, MonitorTrainingProgress},
};
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::RequestContext,
};

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
                "stage {}, step {} of {}, loss {}, {} tokens/s",
                step.stage,
                step.step,
                step.total_steps,
                figure(step.train_loss),
                figure(step.tokens_per_second)
            ))
    }
}
