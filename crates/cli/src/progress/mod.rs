//! Live progress: follows the events of a run while work on it is under way.

mod screen;
mod tracker;
mod transfer;

use std::{
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use greentune_core_config::{
    Diagnostic, ProblemKind, Suggestion,
    manifest::RunStatus,
    port::{TransferProgress, TransferReporter},
};
use greentune_workbench::{
    AwaitedRun, Observer, Result as WorkbenchResult, Workbench, WorkbenchError,
    operation::{CancelTraining, FollowEvents, FollowEventsResponse},
};
use tokio::sync::mpsc::{self, UnboundedReceiver};

pub use self::transfer::Transfers;
use self::{screen::Screen, tracker::Tracker};
use crate::{failure::Failure, output::Output};

/// Time between two looks at the events; often enough to look live.
const LOOK: Duration = Duration::from_millis(200);

/// Follows one run.
#[derive(Debug)]
pub struct Follower {
    workbench: Workbench,
    project_path: Option<PathBuf>,
    run_id: String,
    last_seq: Option<u64>,
    tracker: Tracker,
    screen: Screen,
    begun: Arc<Begun>,
}

/// Whether the training that is awaited has begun. Until then the events of its run are somebody else's.
#[derive(Debug)]
struct Begun {
    has_begun: AtomicBool,
    output: Output,
}

impl TransferReporter for Begun {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Begun {
    fn awaits_run(&self, _: &AwaitedRun) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    fn remark(&self, text: &str) {
        self.output.note(text);
    }
}

impl Follower {
    /// Follows the run `run_id` from now on. Earlier events are read but not shown.
    pub async fn new(
        workbench: Workbench,
        project_path: Option<PathBuf>,
        run_id: String,
        output: Output,
    ) -> Result<Self, Failure> {
        let begun = Arc::new(Begun { has_begun: AtomicBool::new(false), output });
        let mut follower = Self {
            workbench: workbench.reporting(Arc::clone(&begun) as Arc<dyn Observer>),
            project_path,
            run_id,
            last_seq: None,
            tracker: Tracker::default(),
            screen: Screen::new(output),
            begun,
        };
        loop {
            let news = follower.news(0.0).await?;
            // A name may come to mean several runs while this one is followed.
            follower.run_id.clone_from(&news.run_id);
            if news.events.is_empty() {
                return Ok(follower);
            }
            news.events.iter().for_each(|event| follower.tracker.absorb(event));
        }
    }

    /// Id of the run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Shows the run's progress while `training`, an operation of the workbench that it is given, is under way. `begun` is
    /// called first, once it has begun.
    ///
    /// The first Ctrl-C asks the run to end; the second leaves at once.
    pub async fn during<T, F: Future<Output = WorkbenchResult<T>>>(
        &mut self,
        begun: impl FnOnce() -> Result<(), Failure>,
        training: impl FnOnce(Workbench) -> F,
    ) -> Result<T, Failure> {
        let mut begun = Some(begun);
        let mut training = pin!(training(self.workbench.clone()));
        let mut interrupts = interrupts();
        let mut is_ending = false;
        loop {
            tokio::select! {
                result = &mut training => {
                    if let Some(begun) = begun.take_if(|_| self.has_begun()) {
                        begun()?;
                    }
                    // A run that somebody else trains is refused, and what it did meanwhile was not asked for.
                    let is_refused = |error: &WorkbenchError| error.problem().kind == ProblemKind::Conflict;
                    if self.has_begun() || !result.as_ref().err().is_some_and(is_refused) {
                        self.look(0.0).await?;
                    }
                    self.screen.close();
                    return Ok(result?);
                }
                Some(()) = interrupts.recv() => {
                    if is_ending {
                        self.screen.close();
                        return Err(self.left());
                    }
                    is_ending = true;
                    self.ask_to_end().await;
                }
                () = tokio::time::sleep(LOOK) => {
                    if self.has_begun() {
                        if let Some(begun) = begun.take() {
                            begun()?;
                        }
                        self.look(0.0).await?;
                    }
                }
            }
        }
    }

    /// Shows the run's progress until no worker trains it.
    pub async fn until_it_ends(&mut self) -> Result<RunStatus, Failure> {
        loop {
            let news = self.show_news(LOOK.as_secs_f64()).await?;
            if news.ended {
                self.screen.close();
                return Ok(news.status);
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.begun.has_begun.load(Ordering::Relaxed)
    }

    async fn look(&mut self, wait_seconds: f64) -> Result<(), Failure> {
        while !self.show_news(wait_seconds).await?.events.is_empty() {}
        Ok(())
    }

    async fn show_news(&mut self, wait_seconds: f64) -> Result<FollowEventsResponse, Failure> {
        let news = self.news(wait_seconds).await?;
        self.tracker.seconds_left = news.remaining_seconds;
        for event in &news.events {
            self.tracker.absorb(event);
            self.screen.show(&self.tracker, event);
        }
        Ok(news)
    }

    async fn news(&mut self, wait_seconds: f64) -> Result<FollowEventsResponse, Failure> {
        let request = FollowEvents {
            project_path: self.project_path.clone(),
            run_id: self.run_id.clone(),
            after_seq: self.last_seq,
            wait_seconds: Some(wait_seconds),
            limit: None,
        };
        let news = self.workbench.follow_events(request).await?;
        self.last_seq = news.last_seq;
        Ok(news)
    }

    async fn ask_to_end(&mut self) {
        let request = CancelTraining {
            project_path: self.project_path.clone(),
            run_id: self.run_id.clone(),
            wait_seconds: Some(0.0),
        };
        // The result of the cancellation is seen when training returns.
        let said = match self.workbench.cancel_training(request).await {
            Ok(_) => "stopping at the next step with a checkpoint; Ctrl-C again leaves at once".to_owned(),
            Err(error) => format!("cannot stop the run: {error}; Ctrl-C again leaves it running"),
        };
        self.screen.say(&said);
    }

    fn left(&self) -> Failure {
        let run_id = &self.run_id;
        let message = format!(
            "left the run {run_id} before it stopped; its worker goes on without this terminal, \
             and stops at its next step"
        );
        Failure::new(ProblemKind::Cancelled, "run.left", message)
            .suggesting(
                Suggestion::new("see where it stands", "monitor_training_progress")
                    .with("run_id", run_id.as_str()),
            )
            .suggesting(Suggestion::new("go on", "resume_training").with("run_id", run_id.as_str()))
    }
}

/// Ctrl-C, as often as it is pressed.
fn interrupts() -> UnboundedReceiver<()> {
    let (tell, interrupts) = mpsc::unbounded_channel();
    tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && tell.send(()).is_ok() {} });
    interrupts
}
