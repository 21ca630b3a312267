//! The tool `create_model_card`.

use greentune_workbench::{
    Result, Workbench,
    operation::{CreateModelCard, CreateModelCardResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
};

impl Operation for CreateModelCard {
    type Response = CreateModelCardResponse;

    const NAME: &'static str = "create_model_card";
    const TITLE: &'static str = "Create a model card";
    const DESCRIPTION: &'static str = "The model card of a completed run: Hub metadata, results, what training cost, savings against \
         baseline_run_id. Written to output_path when given.";
    const EFFECT: Effect = Effect::Replaces;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.create_model_card(self).await
    }

    fn text(response: &Self::Response) -> String {
        match &response.path {
            Some(path) => {
                format!("Wrote the card to {}. Badges: {}", path.display(), response.badges.join(", "))
            }
            None => response.markdown.clone(),
        }
    }
}
