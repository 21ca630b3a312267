//! `greentune data`: looks at data.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use greentune_core_config::task::{DatasetCounts, DatasetInspection, InspectedRecord};
use greentune_workbench::operation::InspectDataset;

use crate::{
    failure::Failure,
    figures::{count, counted, number},
    output::Paint,
    progress::Transfers,
    session::Session,
};

/// Commands of `data`.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Show what the model will see: template, labelled part, token counts
    Inspect(Inspect),
}

/// Arguments of `data inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// The data set: one JSON object per line
    file: PathBuf,
    /// Records to show in full
    #[arg(long, value_name = "N", default_value_t = 3)]
    show: usize,
    /// A setting for this look alone, such as training.max_seq_length=128
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Data {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Inspect(inspect) = self;
        let request = InspectDataset {
            project_path: session.project_or_here(),
            dataset: session.input(&inspect.file),
            show: Some(inspect.show),
            override_params: None,
        };
        let (transfers, workbench) = Transfers::of(&session.workbench_with(&inspect.set)?, session.output);
        let inspection = transfers.during(workbench.inspect_dataset(request)).await?;
        session.output.answer(&inspection, |paint| page(&inspection, paint))
    }
}

fn page(inspection: &DatasetInspection, paint: Paint) -> String {
    let DatasetInspection { counts, tokens_per_record: [least, median, p95, most], .. } = inspection;
    let mut lines = vec![
        paint.heading(inspection.dataset.display().to_string()),
        format!("template   {}", inspection.template_source),
        format!("records    {}", records(counts)),
        format!("quality    {} are drawn more often", counted(inspection.high_quality_records, "record")),
        format!("tokens     {least} to {most} per record, median {median}, 95th percentile {p95}"),
        format!(
            "labelled   {} of {} tokens: the response, on which the loss is computed",
            count(inspection.labelled_tokens),
            count(inspection.total_tokens),
        ),
    ];
    lines.extend(counts.problems.iter().map(|problem| paint.doubtful(format!("  {problem}"))));
    for record in &inspection.records {
        lines.push(String::new());
        lines.push(paint.heading(heading(record)));
        lines.push(text(record, paint));
    }
    lines.join("\n")
}

fn records(counts: &DatasetCounts) -> String {
    let dropped = [
        (counts.broken_lines, "broken lines"),
        (counts.missing_field, "without a field"),
        (counts.empty_response, "with an empty response"),
        (counts.too_long, "too long for a response"),
    ];
    let truncated = match counts.truncated {
        0 => String::new(),
        number => format!(" ({} of them truncated)", count(number)),
    };
    let dropped = dropped.into_iter().filter(|(number, _)| *number > 0);
    let dropped = dropped.map(|(number, why)| format!(", {} dropped: {why}", count(number)));
    format!(
        "{} read, {} kept{truncated}{}",
        count(counts.read),
        count(counts.kept),
        dropped.collect::<String>()
    )
}

fn heading(record: &InspectedRecord) -> String {
    let truncated = if record.truncated { ", truncated" } else { "" };
    let tokens = counted(record.tokens, "token");
    format!("line {}: {tokens}, drawn with weight {}{truncated}", record.line, number(record.weight))
}

/// The record's text, its labelled pieces green, or in brackets where there are no colours.
fn text(record: &InspectedRecord, paint: Paint) -> String {
    let piece = |text: &str, labelled: bool| match (labelled, paint.has_colours()) {
        (false, _) => text.to_owned(),
        (true, true) => paint.good(text),
        (true, false) => format!("⟦{text}⟧"),
    };
    record.pieces.iter().map(|found| piece(&found.text, found.labelled)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_dropped_is_mentioned() {
        let counts =
            DatasetCounts { read: 1220, kept: 1217, broken_lines: 1, too_long: 2, ..Default::default() };
        assert_eq!(
            records(&counts),
            "1,220 read, 1,217 kept, 1 dropped: broken lines, 2 dropped: too long for a response"
        );
        let fine = DatasetCounts { read: 3, kept: 3, ..Default::default() };
        assert_eq!(records(&fine), "3 read, 3 kept");
    }
}
