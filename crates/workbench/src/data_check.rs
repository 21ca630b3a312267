//! Whether a run's data sets can be trained on, asked of a worker before the run is made.

use std::{collections::BTreeSet, path::Path};

use greentune_core_config::{
    manifest::RunData,
    quantities::{count, counted},
    settings::Settings,
    task::{CheckDataTask, CheckedDataset, WorkerAnswer, WorkerTask},
};

use crate::{Result, Workbench, WorkbenchError, engine::wrong_answer};

/// Records of each data set that are read and encoded: enough to know what it is, and soon done.
const RECORDS: u64 = 10_000;

impl Workbench {
    /// What a user should know of the data: records that are left out or cut.
    ///
    /// Errors: everything that is wrong with data sets of which no record can be used.
    pub(crate) async fn check_data(
        &self,
        settings: &Settings,
        base_model: &Path,
        data: &RunData,
    ) -> Result<Vec<String>> {
        let optional = [&data.test, &data.stage2_train, &data.stage2_validation].into_iter().flatten();
        let files: BTreeSet<_> =
            [&data.train, &data.validation].into_iter().chain(optional).cloned().collect();
        let task = CheckDataTask {
            settings: settings.clone(),
            base_model_path: base_model.to_owned(),
            datasets: files.into_iter().collect(),
            records: RECORDS,
        };
        let WorkerAnswer::DataChecked { datasets } =
            self.ask_worker(&WorkerTask::CheckData(Box::new(task))).await?
        else {
            return Err(wrong_answer("check data"));
        };
        let problems: Vec<_> = datasets.iter().filter_map(|checked| checked.problem.clone()).collect();
        if problems.is_empty() {
            return Ok(datasets.iter().filter_map(warning).collect());
        }
        Err(WorkbenchError::all("data.unusable", "data sets cannot be trained on", problems))
    }
}

/// What is left out and cut of a data set, and the most frequent reason.
fn warning(checked: &CheckedDataset) -> Option<String> {
    let counts = &checked.counts;
    let left_out = counts.read - counts.kept;
    if left_out == 0 && counts.truncated == 0 {
        return None;
    }
    let read = if checked.is_complete { "its" } else { "its first" };
    let mut parts = vec![format!("of {read} {}", counted(counts.read, "record"))];
    if left_out > 0 {
        parts.push(format!("{} cannot be used", count(left_out)));
    }
    if counts.truncated > 0 {
        parts.push(format!("{} are cut at their end", count(counts.truncated)));
    }
    let name = checked.dataset.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reason = counts.table().first().map(|problem| format!("; {}", problem.message)).unwrap_or_default();
    Some(format!("{name}: {}{reason}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use greentune_core_config::{Location, Problem, ProblemKind, task::DatasetCounts};

    use super::*;

    #[test]
    fn what_is_left_out_is_one_sentence() {
        let mut counts = DatasetCounts { read: 1200, kept: 1197, truncated: 2, ..DatasetCounts::default() };
        for line in [3, 4, 9] {
            let at = Location { file: Some("train.jsonl".into()), line: Some(line), key: None };
            counts.note(
                &Problem::new(ProblemKind::InvalidInput, "data.empty_response", "nothing is said").at(at),
            );
        }
        let mut checked =
            CheckedDataset { dataset: "data/train.jsonl".into(), is_complete: false, counts, problem: None };
        let said = "train.jsonl: of its first 1,200 records, 3 cannot be used, 2 are cut at their end; \
                    3 records: nothing is said (also on lines 4, 9)";
        assert_eq!(warning(&checked).as_deref(), Some(said));
        checked.counts = DatasetCounts { read: 3, kept: 3, ..DatasetCounts::default() };
        assert_eq!(warning(&checked), None);
    }
}
