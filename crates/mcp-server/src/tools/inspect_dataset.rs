//! The tool `inspect_dataset`.

use greentune_core_config::task::DatasetInspection;
use greentune_workbench::{Result, Workbench, operation::InspectDataset};

use crate::{
    operation::{Effect, Operation},
    progress::{Progress, Transfers},
    wording::count,
};

impl Operation for InspectDataset {
    type Response = DatasetInspection;

    const NAME: &'static str = "inspect_dataset";
    const TITLE: &'static str = "Inspect a data set";
    const DESCRIPTION: &'static str = "What the model will see of a data set: prompt form, token counts, what is dropped and why, \
        first records.";
    const EFFECT: Effect = Effect::Reads;

    const REACHES_OUT: bool = true;

    async fn perform(self, workbench: &Workbench, progress: Option<Progress>) -> Result<Self::Response> {
        let (transfers, workbench) = Transfers::of(workbench, progress);
        transfers.report_during(workbench.inspect_dataset(self)).await
    }

    fn text(response: &Self::Response) -> String {
        let counts = &response.counts;
        let [fewest, median, _, most] = response.tokens_per_record;
        format!(
            "{} of {} are used ({} truncated; dropped: {} broken, {} without a field, {} with an empty response, \
             {} too long). {fewest} to {most} tokens each, median {median}; {} of {} tokens are trained on. \
             Prompts follow: {}.",
            counts.kept,
            count(counts.read, "record"),
            counts.truncated,
            counts.broken_lines,
            counts.missing_field,
            counts.empty_response,
            counts.too_long,
            response.labelled_tokens,
            response.total_tokens,
            response.template_source
        )
    }
}
