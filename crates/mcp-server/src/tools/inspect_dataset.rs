//! The tool `inspect_dataset`.

use greentune_core_config::task::{DatasetCounts, DatasetInspection};
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
            "{} of {} ({}, as {}) are used{}. {fewest} to {most} tokens each, median {median}; {} of {} tokens are \
             trained on. Prompts follow: {}.",
            counts.kept,
            count(counts.read, "record"),
            response.format,
            response.schema,
            losses(counts),
            response.labelled_tokens,
            response.total_tokens,
            response.template_source
        )
    }
}

/// What was cut or dropped: `, 2 truncated; dropped: 1 too long`.
fn losses(counts: &DatasetCounts) -> String {
    let words = |losses: &[(u64, &str)]| {
        let losses = losses.iter().filter(|(number, _)| *number > 0);
        losses.map(|(number, why)| format!("{number} {why}")).collect::<Vec<_>>().join(", ")
    };
    let truncated = words(&[(counts.truncated, "truncated")]);
    let dropped = words(&[
        (counts.broken_lines, "broken"),
        (counts.missing_field, "without a field"),
        (counts.empty_response, "with an empty response"),
        (counts.unknown_role, "with an unknown role"),
        (counts.ends_with_user, "without an answer at the end"),
        (counts.template_failed, "refused by the template"),
        (counts.too_long, "too long"),
    ]);
    let truncated = if truncated.is_empty() { truncated } else { format!(", {truncated}") };
    if dropped.is_empty() { truncated } else { format!("{truncated}; dropped: {dropped}") }
}
