//! The tool `start_training`.

use greentune_workbench::{
    Result, Workbench,
    operation::{StartTraining, StartTrainingResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::{Progress, report_during},
    wording::duration,
};

impl Operation for StartTraining {
    type Response = StartTrainingResponse;

    const NAME: &'static str = "start_training";
    const TITLE: &'static str = "Start training";
    const DESCRIPTION: &'static str = "Trains a configured run in the background and returns once it has begun; \
        follow it with monitor_training_progress. With async_mode false it waits for the end.";
    const EFFECT: Effect = Effect::Adds;

    async fn perform(self, workbench: &Workbench, progress: Option<Progress>) -> Result<Self::Response> {
        let follower = match progress {
            Some(progress) if self.async_mode == Some(false) => {
                progress.follow(workbench, self.project_path.clone(), self.run_id.clone(), self.stage).await
            }
            _ => None,
        };
        report_during(follower, workbench.start_training(self)).await
    }

    fn text(response: &Self::Response) -> String {
        in_words(response)
    }
}

/// What came of starting or resuming a run.
pub(super) fn in_words(response: &StartTrainingResponse) -> String {
    let estimate = response
        .estimated_duration_minutes
        .map_or_else(String::new, |minutes| format!(", for about {}", duration(60.0 * minutes)));
    format!(
        "The run {} is {} on {}{estimate}{}. Log: {}",
        response.run_id,
        response.status,
        response.platform,
        if response.resumed { ", from its last checkpoint" } else { "" },
        response.log_file.display()
    )
}
