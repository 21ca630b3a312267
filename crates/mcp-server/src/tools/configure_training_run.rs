//! The tool `configure_training_run`.

use std::iter;

use greentune_workbench::{
    Result, Workbench,
    operation::{ConfigureTrainingRun, ConfigureTrainingRunResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::{Progress, Transfers},
    wording::{count, figure, list},
};

impl Operation for ConfigureTrainingRun {
    type Response = ConfigureTrainingRunResponse;

    const NAME: &'static str = "configure_training_run";
    const TITLE: &'static str = "Configure a training run";
    const DESCRIPTION: &'static str = "Checks data, settings and base model (downloads one of the Hub) and makes a run of a project; \
        trains nothing yet. Answers the run_id.";
    const EFFECT: Effect = Effect::Adds;

    const REACHES_OUT: bool = true;

    async fn perform(self, workbench: &Workbench, progress: Option<Progress>) -> Result<Self::Response> {
        let (transfers, workbench) = Transfers::of(workbench, progress);
        transfers.report_during(workbench.configure_training_run(self)).await
    }

    fn text(response: &Self::Response) -> String {
        let summary = &response.configuration_summary;
        let stages = list(&summary.stages, |stage| {
            format!(
                "stage {} {} of {} at {}",
                stage.stage,
                count(stage.iterations, "step"),
                count(stage.records_per_step, "record"),
                figure(stage.learning_rate)
            )
        });
        let configured = format!(
            "Configured the run {}: {} on {} of the {} model {} (weights kept as {}), device {}; {stages}.",
            response.run_id,
            summary.adapters,
            summary.target_modules.join(", "),
            summary.architecture,
            summary.base_model.display(),
            summary.frozen_weights,
            summary.device
        );
        let warnings = summary.warnings.iter().map(|warning| format!("Warning: {warning}"));
        iter::once(configured).chain(warnings).collect::<Vec<_>>().join("\n")
    }
}
