//! Whether data sets can be trained on, before a run is made of them.

use std::path::Path;

use greentune_core_config::{
    Diagnostic,
    task::{CheckDataTask, CheckedDataset, DatasetCounts},
};
use jiff::Timestamp;

use super::{
    dataset::{not_empty, read_while},
    encode::Encoder,
    error::DataError,
    record::Records,
};

/// Reads and encodes the beginning of each data set as training would.
///
/// # Errors
/// As [`Encoder::new`]. What is wrong with a data set is said of it.
pub fn check(task: &CheckDataTask) -> Result<Vec<CheckedDataset>, DataError> {
    let encoder = Encoder::new(&task.base_model_path, &task.settings, Timestamp::now())?;
    Ok(task.datasets.iter().map(|dataset| checked(dataset, task, &encoder)).collect())
}

fn checked(dataset: &Path, task: &CheckDataTask, encoder: &Encoder) -> CheckedDataset {
    let mut counts = DatasetCounts::default();
    let goes_on = |counts: &DatasetCounts| counts.kept == 0 || counts.read < task.records;
    let read = Records::open(dataset, &task.settings).and_then(|mut records| {
        read_while(&mut records, dataset, Some(encoder), &mut counts, |_, _, _| Ok(()), goes_on)
    });
    let usable = read.and_then(|is_complete| not_empty(dataset, &counts).map(|()| is_complete));
    let (is_complete, problem) = match usable {
        Ok(is_complete) => (is_complete, None),
        Err(error) => (true, Some(error.problem())),
    };
    CheckedDataset { dataset: dataset.to_owned(), is_complete, counts, problem }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::Settings;

    use super::{super::test_model::TestModel, *};

    #[test]
    fn each_data_set_is_judged_by_its_beginning() {
        let model = TestModel::new();
        let good = "{\"instruction\":\"a\",\"output\":\"b\"}\n";
        model.write_text("good.jsonl", &good.repeat(30));
        model.write_text("late.jsonl", &("{\"question\":\"a\"}\n".repeat(20) + good + "{\n"));
        model.write_text("other.jsonl", &"{\"question\":\"a\"}\n".repeat(20));
        let mut settings = Settings::default();
        settings.training.max_seq_length = 64;
        model.write_text(
            "long.jsonl",
            &format!("{{\"instruction\":\"{}\",\"output\":\"b\"}}\n", "x".repeat(99)).repeat(9),
        );
        let names = ["good", "late", "other", "long", "none"];
        let datasets = names.iter().map(|name| model.path().join(format!("{name}.jsonl"))).collect();
        let task =
            CheckDataTask { settings, base_model_path: model.path().to_owned(), datasets, records: 10 };
        let [good, late, other, long, none] = &check(&task).unwrap()[..] else { panic!("five data sets") };
        assert_eq!((good.counts.read, good.is_complete, &good.problem), (10, false, &None));
        assert_eq!((late.counts.read, late.counts.kept, &late.problem), (21, 1, &None));
        let problem = |checked: &CheckedDataset| checked.problem.clone().unwrap();
        assert_eq!((problem(other).code.as_str(), problem(other).problems.len()), ("data.empty", 1));
        assert!(
            problem(other).problems[0].message.starts_with("20 records: there is no field `instruction`")
        );
        assert!(problem(long).problems[0].message.starts_with("9 records: the prompt has"));
        assert_eq!(problem(none).code, "data.missing");
    }
}
