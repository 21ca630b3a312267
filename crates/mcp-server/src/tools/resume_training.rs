//! The tool `resume_training`.

use greentune_workbench::{
    Result, Workbench,
    operation::{ResumeTraining, StartTrainingResponse},
};

use super::start_training::in_words;
use crate::{
    operation::{Effect, Operation},
    progress::{Progress, report_during},
};

impl Operation for ResumeTraining {
    type Response = StartTrainingResponse;

    const NAME: &'static str = "resume_training";
    const TITLE: &'static str = "Resume training";
    const DESCRIPTION: &'static str =
        "Goes on with a cancelled, interrupted or failed run from its last checkpoint.";
    const EFFECT: Effect = Effect::Adds;

    async fn perform(self, workbench: &Workbench, progress: Option<Progress>) -> Result<Self::Response> {
        let follower = match progress {
            Some(progress) if self.async_mode == Some(false) => {
                progress.follow(workbench, self.project_path.clone(), self.run_id.clone(), None).await
            }
            _ => None,
        };
        report_during(follower, workbench.resume_training(self)).await
    }

    fn text(response: &Self::Response) -> String {
        in_words(response)
    }
}
