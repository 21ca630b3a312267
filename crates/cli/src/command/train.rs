//! `greentune train`: trains a run.

use clap::Args;
use greentune_core_config::manifest::RunStatus;
use greentune_workbench::{
    Result as WorkbenchResult, Workbench,
    operation::{ShowRun, StartTraining, StartTrainingResponse},
};

use crate::{comparison, failure::Failure, figures::duration, progress::Follower, session::Session};

/// Arguments of `train`.
#[derive(Args, Debug)]
pub struct Train {
    /// Id of the run [default: the newest one that is not completed]
    run: Option<String>,
    /// Train this stage alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    stage: Option<u8>,
    /// Return once training has begun; it goes on without this terminal
    #[arg(long)]
    detach: bool,
    /// Train even what does not seem to fit into memory
    #[arg(long)]
    no_memory_check: bool,
}

impl Train {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let open = |status| status != RunStatus::Completed;
        let project_path =
            if self.run.is_some() { session.project() } else { Some(session.project_or_here()) };
        let run_id = session.run_or_newest(self.run, open, "not completed").await?;
        let request = StartTraining {
            project_path,
            run_id: run_id.clone(),
            stage: self.stage,
            async_mode: Some(self.detach),
            platform: None,
            memory_check: self.no_memory_check.then_some(false),
        };
        let workbench = session.workbench()?;
        let training = workbench.start_training(request);
        answer(session, &workbench, run_id, self.detach, training).await
    }
}

/// Answers for `training` on the run `run_id`: once it has begun when `detach`, else at its end with live progress.
pub async fn answer(
    session: &Session,
    workbench: &Workbench,
    run_id: String,
    detach: bool,
    training: impl Future<Output = WorkbenchResult<StartTrainingResponse>>,
) -> Result<(), Failure> {
    if detach {
        let response = training.await?;
        return session.output.answer(&response, |_| begun(&response));
    }
    let mut follower =
        Follower::new(workbench.clone(), session.project(), run_id.clone(), session.output).await?;
    let response = follower.during(training).await?;
    let run = workbench.show_run(ShowRun { project_path: session.project(), run_id }).await?;
    session.output.answer(&response, |paint| {
        let stages = &run.manifest.stages;
        let seconds = stages.iter().filter_map(|stage| stage.duration_seconds).sum();
        let done =
            format!("the run {} is {}, trained for {}", response.run_id, response.status, duration(seconds));
        let folder = format!("its files are in {}", run.run_directory.display());
        [Some(paint.heading(done)), comparison::of_run(&run.manifest), Some(folder)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn begun(response: &StartTrainingResponse) -> String {
    let estimate = response.estimated_duration_minutes.map(|minutes| duration(minutes * 60.0));
    let estimate = estimate.map(|time| format!(", about {time} to go")).unwrap_or_default();
    format!(
        "the run {} is training{estimate}\n  follow  {}\n  stop    greentune cancel {}\n  log     {}",
        response.run_id,
        response.monitor_command,
        response.run_id,
        response.log_file.display(),
    )
}
