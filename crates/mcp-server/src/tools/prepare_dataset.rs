//! The tool `prepare_dataset`.

use greentune_core_config::preparation::DatasetPreparation;
use greentune_workbench::{Result, Workbench, operation::PrepareDataset};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::count,
};

impl Operation for PrepareDataset {
    type Response = DatasetPreparation;

    const NAME: &'static str = "prepare_dataset";
    const TITLE: &'static str = "Prepare a data set";
    const DESCRIPTION: &'static str = "Splits JSONL, CSV or Parquet records for training, validation and test, without \
        duplicates; reports on quality and leaks.";
    const EFFECT: Effect = Effect::Replaces;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.prepare_dataset(self).await
    }

    fn text(response: &Self::Response) -> String {
        let splits = response.splits.iter();
        let splits: Vec<_> = splits
            .map(|split| format!("{} in {}", count(split.records, "record"), split.path.display()))
            .collect();
        let duplicates = match (response.duplicates, response.deduplicated) {
            (0, _) => String::new(),
            (number, true) => format!(" {} left out.", count(number, "duplicate")),
            (number, false) => format!(" {} kept.", count(number, "duplicate")),
        };
        let warnings = response.warnings.iter().map(|warning| format!(" Look at this: {warning}."));
        format!(
            "{}.{duplicates}{} The report is {}.",
            splits.join(", "),
            warnings.collect::<String>(),
            response.report.display()
        )
    }
}
