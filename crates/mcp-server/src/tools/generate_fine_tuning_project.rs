//! The tool `generate_fine_tuning_project`.

use greentune_workbench::{
    Result, Workbench,
    operation::{GenerateFineTuningProject, GenerateFineTuningProjectResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::count,
};

impl Operation for GenerateFineTuningProject {
    type Response = GenerateFineTuningProjectResponse;

    const NAME: &'static str = "generate_fine_tuning_project";
    const TITLE: &'static str = "Generate a fine-tuning project";
    const DESCRIPTION: &'static str =
        "Makes a project folder: configuration, scripts, README. The first step of a fine-tuning.";
    const EFFECT: Effect = Effect::Adds;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.generate_fine_tuning_project(self).await
    }

    fn text(response: &Self::Response) -> String {
        let made = format!(
            "Made the project {} ({}); emissions will {}be metered.",
            response.project_path.display(),
            count(response.project_structure.len() as u64, "file or folder"),
            if response.carbon_tracking_configured { "" } else { "not " }
        );
        let missing = match response.not_available_yet.as_slice() {
            [] => String::new(),
            missing => format!(" Not available yet: {}.", missing.join("; ")),
        };
        format!("{made}{missing} Next: {}", response.next_steps.join("; "))
    }
}
