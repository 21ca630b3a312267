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
    const DESCRIPTION: &'static str = "Trains a configured run (run_id), or an image classifier in one step (dataset, model; \
        ast_config or baseline), in the background.";
    const EFFECT: Effect = Effect::Adds;

    async fn perform(self, workbench: &Workbench, progress: Option<Progress>) -> Result<Self::Response> {
        // What makes a run first is followed by that run's id.
        let request = workbench.configured(self).await?;
        let follower = match progress {
            Some(progress) if request.async_mode == Some(false) => {
                let run_id = request.run_id.clone().unwrap_or_default();
                progress.follow(workbench, request.project_path.clone(), run_id, request.stage).await
            }
            _ => None,
        };
        report_during(follower, workbench.start_training(request)).await
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
