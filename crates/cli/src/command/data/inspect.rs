//! `greentune data inspect`: what the model will see.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::{
    quantities::{count, counted, number},
    task::{DatasetInspection, InspectedRecord},
};
use greentune_workbench::operation::InspectDataset;

use super::records;
use crate::{failure::Failure, output::Paint, progress::Transfers, session::Session};

/// Arguments of `data inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// The data set: JSONL, CSV or Parquet
    file: PathBuf,
    /// Records to show in full
    #[arg(long, value_name = "N", default_value_t = 3)]
    show: usize,
    /// Override a setting for this inspection only, such as training.max_seq_length=128
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Inspect {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = InspectDataset {
            project_path: session.project_or_here(),
            dataset: session.input(&self.file)?,
            show: Some(self.show),
            override_params: None,
        };
        let (transfers, workbench) = Transfers::of(&session.workbench_with(&self.set)?, session.output);
        let inspection = transfers.during(workbench.inspect_dataset(request)).await?;
        session.output.answer(&inspection, |paint| page(&inspection, paint))
    }
}

fn page(inspection: &DatasetInspection, paint: Paint) -> String {
    let DatasetInspection { counts, tokens_per_record: [least, median, p95, most], .. } = inspection;
    let mut lines = vec![
        paint.heading(inspection.dataset.display().to_string()),
        format!("format     {}, records as {}", inspection.format, inspection.schema),
        format!("template   {}", inspection.template_source),
        format!("records    {}", records(counts)),
        format!("quality    {} are drawn more often", counted(inspection.high_quality_records, "record")),
        format!("tokens     {least} to {most} per record, median {median}, 95th percentile {p95}"),
        format!(
            "labelled   {} of {} tokens: the responses, on which the loss is computed",
            count(inspection.labelled_tokens),
            count(inspection.total_tokens),
        ),
    ];
    lines.extend(inspection.control_tokens.iter().map(|found| {
        paint.doubtful(format!(
            "  {} spell out the control token {}, the first on line {}",
            counted(found.records, "record"),
            found.token,
            found.first_line
        ))
    }));
    lines.extend(counts.table().iter().map(|problem| paint.doubtful(format!("  {problem}"))));
    for record in &inspection.records {
        lines.push(String::new());
        lines.push(paint.heading(heading(record)));
        lines.push(text(record, paint));
    }
    lines.join("\n")
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
