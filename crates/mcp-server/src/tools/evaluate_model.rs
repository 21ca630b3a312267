//! The tool `evaluate_model`.

use greentune_workbench::{
    Result, Workbench,
    operation::{EvaluateModel, EvaluateModelResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::figure,
};

impl Operation for EvaluateModel {
    type Response = EvaluateModelResponse;

    const NAME: &'static str = "evaluate_model";
    const TITLE: &'static str = "Evaluate a model";
    const DESCRIPTION: &'static str = "Evaluates a trained stage of a run on a data set, the base model beside it: token \
        accuracy, perplexity, exact match.";
    const EFFECT: Effect = Effect::Settles;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.evaluate_model(self).await
    }

    fn text(response: &Self::Response) -> String {
        let results = &response.evaluation_results;
        let beside_base = |name: &str| {
            results
                .custom_metrics
                .get(name)
                .map_or_else(String::new, |base| format!(" (base {})", figure(*base)))
        };
        format!(
            "Stage {} of {}: token accuracy {}{}, perplexity {}{}; the threshold {} is {}. Reports: {}",
            response.stage,
            response.run_id,
            figure(results.accuracy),
            beside_base("base_accuracy"),
            figure(results.perplexity),
            beside_base("base_perplexity"),
            figure(response.threshold),
            if response.passed_thresholds { "reached" } else { "missed" },
            response.results_file.display()
        )
    }
}
