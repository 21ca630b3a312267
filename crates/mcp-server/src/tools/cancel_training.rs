//! The tool `cancel_training`.

use greentune_workbench::{
    Result, Workbench,
    operation::{CancelTraining, CancelTrainingResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
};

impl Operation for CancelTraining {
    type Response = CancelTrainingResponse;

    const NAME: &'static str = "cancel_training";
    const TITLE: &'static str = "Cancel training";
    const DESCRIPTION: &'static str =
        "Ends a running training at its next step, with a checkpoint; nothing trained is lost.";
    const EFFECT: Effect = Effect::Settles;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.cancel_training(self).await
    }

    fn text(response: &Self::Response) -> String {
        format!("{} The run {} is {}.", response.message, response.run_id, response.status)
    }
}
