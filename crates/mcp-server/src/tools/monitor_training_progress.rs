//! The tool `monitor_training_progress`.

use std::iter;

use greentune_workbench::{
    Result, Workbench,
    operation::{MonitorTrainingProgress, MonitorTrainingProgressResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{duration, emissions, figure},
};

impl Operation for MonitorTrainingProgress {
    type Response = MonitorTrainingProgressResponse;

    const NAME: &'static str = "monitor_training_progress";
    const TITLE: &'static str = "Monitor training progress";
    const DESCRIPTION: &'static str = "Status, step, loss, time left and emissions of a run. Ask again after some seconds while \
        it is queued or running.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.monitor_training_progress(self).await
    }

    fn text(response: &Self::Response) -> String {
        let progress = format!(
            "The run {} is {}: stage {}, step {} of {}, {:.1} % of all steps",
            response.run_id,
            response.status,
            response.current_stage,
            response.current_iteration,
            response.total_iterations,
            response.progress_percentage
        );
        let progress = iter::once(progress).chain(figures(response)).collect::<Vec<_>>().join(", ") + ".";
        let failure = response.problem.as_ref().map(|problem| format!("It failed: {problem}"));
        let hint = response.hint.as_ref().map(|hint| format!("Hint: {hint}"));
        iter::once(progress).chain(failure).chain(hint).collect::<Vec<_>>().join("\n")
    }
}

/// The figures that are known, in words.
fn figures(response: &MonitorTrainingProgressResponse) -> impl Iterator<Item = String> {
    let metrics = &response.metrics;
    [
        metrics.train_loss.map(|loss| format!("loss {}", figure(loss))),
        metrics.validation_loss.map(|loss| format!("validation loss {}", figure(loss))),
        metrics.learning_rate.map(|rate| format!("learning rate {}", figure(rate))),
        metrics.accuracy.map(|share| format!("accuracy {:.1} %", 100.0 * share)),
        metrics.samples_per_second.map(|rate| format!("{} samples/s", figure(rate))),
        metrics.tokens_per_second.map(|rate| format!("{} tokens/s", figure(rate))),
        response.carbon_emissions_kg.map(|kg| format!("{} so far", emissions(kg))),
        response.remaining_seconds.map(|seconds| format!("about {} left", duration(seconds))),
    ]
    .into_iter()
    .flatten()
}
