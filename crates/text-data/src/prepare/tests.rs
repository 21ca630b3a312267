use std::{collections::HashSet, fs, thread};

use greentune_core_config::{Diagnostic, ProblemKind, settings::Settings};
use serde_json::json;

use super::{super::test_model::TestModel, *};

/// A model folder with data in it, and where its preparation goes.
struct Desk(TestModel);

impl Desk {
    fn new(name: &str, text: &str) -> Self {
        let model = TestModel::new();
        model.write_text(name, text);
        Self(model)
    }

    fn task(&self, names: &[&str]) -> PrepareTask {
        PrepareTask {
            settings: Settings::default(),
            base_model_path: Some(self.0.path().to_owned()),
            no_base_model: None,
            datasets: names.iter().map(|name| self.0.path().join(name)).collect(),
            out: self.0.path().join("processed"),
            reports: self.0.path().join("quality_reports"),
            seed: 42,
            deduplicate: true,
            force: false,
        }
    }

    fn lines(&self, split: &str) -> Vec<Value> {
        let text =
            fs::read_to_string(self.0.path().join(format!("processed/{split}.jsonl"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn report(&self, ending: &str) -> String {
        fs::read_to_string(self.0.path().join(format!("quality_reports/raw{ending}"))).unwrap()
    }
}

fn records(numbers: std::ops::Range<usize>) -> String {
    let record = |n: usize| {
        let quality = if n.is_multiple_of(4) { 0.9 } else { 0.3 };
        json!({"instruction": format!("Say {n}."), "output": format!("{n} it is"), "quality": quality, "source": [n]})
    };
    numbers.map(|n| record(n).to_string() + "\n").collect()
}

#[test]
fn records_are_split_without_a_base_model() {
    let desk = Desk::new("raw.jsonl", &(records(0..100) + "{broken\n"));
    let with = prepare(&desk.task(&["raw.jsonl"])).unwrap();
    let split = |name: &str| desk.lines(name);
    let before = ["train", "validation", "test"].map(split);
    let why = Some(String::from("base_model.model_id is not set"));
    let task =
        PrepareTask { base_model_path: None, no_base_model: why, force: true, ..desk.task(&["raw.jsonl"]) };
    let without = prepare(&task).unwrap();
    assert_eq!(["train", "validation", "test"].map(split), before, "the same split");
    assert_eq!((with.tokens_counted, without.tokens_counted), (true, false));
    assert_eq!(without.counts.broken_lines, 1);
    let warning = "the records were split without counting tokens: base_model.model_id is not set";
    assert!(without.warnings.iter().any(|given| given == warning), "{:?}", without.warnings);
    assert!(!desk.report(".md").contains("okens per record"), "no empty picture");
}

#[test]
fn every_record_goes_to_one_split_with_all_its_fields() {
    let desk = Desk::new("raw.jsonl", &(records(0..100) + "{broken\n"));
    let done = prepare(&desk.task(&["raw.jsonl"])).unwrap();
    let sizes: Vec<_> = done
        .splits
        .iter()
        .map(|split| (split.name.as_str(), split.records, split.high_quality_records))
        .collect();
    assert_eq!(sizes, [("train", 80, 20), ("validation", 11, 3), ("test", 9, 2)]);
    // 20 records of weight 2.5 beside 60 of weight 1.
    assert!((done.splits[0].high_quality_draws - 50.0 / 110.0).abs() < 1e-12);
    let all: Vec<Value> = SPLITS.iter().flat_map(|split| desk.lines(split)).collect();
    let sources: HashSet<u64> = all.iter().map(|record| record["source"][0].as_u64().unwrap()).collect();
    assert_eq!((all.len(), sources.len()), (100, 100));
    assert_eq!((done.counts.read, done.counts.kept, done.counts.broken_lines), (101, 100, 1));
    let encoder = Encoder::new(desk.0.path(), &Settings::default(), Timestamp::UNIX_EPOCH).unwrap();
    let (train, spill) = (desk.0.path().join("processed/train.jsonl"), desk.0.path().join("spill"));
    let train = super::super::Dataset::load(&train, &Settings::default(), &encoder, &spill).unwrap();
    assert_eq!(
        train.examples.iter().map(|example| example.unwrap().tokens.len() as u64).sum::<u64>(),
        done.splits[0].tokens
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let files = |seed: u64| {
        let desk = Desk::new("raw.jsonl", &records(0..60));
        prepare(&PrepareTask { seed, ..desk.task(&["raw.jsonl"]) }).unwrap();
        SPLITS.map(|split| desk.lines(split))
    };
    assert_eq!(files(1), files(1));
    assert_ne!(files(1), files(2));
}

#[test]
fn repeated_records_are_left_out_and_never_parted() {
    let text = records(0..40) + &records(0..40).replace("Say", "SAY ");
    let desk = Desk::new("raw.jsonl", &text);
    let done = prepare(&desk.task(&["raw.jsonl"])).unwrap();
    assert_eq!((done.duplicates, done.splits.iter().map(|split| split.records).sum::<u64>()), (40, 40));
    let desk = Desk::new("raw.jsonl", &text);
    let done = prepare(&PrepareTask { deduplicate: false, ..desk.task(&["raw.jsonl"]) }).unwrap();
    assert_eq!((done.duplicates, done.splits.iter().map(|split| split.records).sum::<u64>()), (40, 80));
    assert_eq!(done.leaks.same_record, 0);
}

#[test]
fn prompts_and_near_duplicates_in_several_splits_are_named() {
    let long = |n: usize, last: &str| {
        let words: Vec<_> = (0..40).map(|word| format!("w{}", word * 7 + n * 1000)).collect();
        json!({"instruction": format!("{} {last}", words.join(" ")), "output": "yes"}).to_string() + "\n"
    };
    let near: String = (0..30).flat_map(|n| [long(n, "one"), long(n, "two")]).collect();
    let desk = Desk::new("raw.jsonl", &near);
    let mut task = desk.task(&["raw.jsonl"]);
    (task.settings.dataset.train_split, task.settings.dataset.validation_split) = (0.5, 0.5);
    task.settings.dataset.test_split = 0.0;
    let done = prepare(&task).unwrap();
    assert!(done.leaks.near_duplicate > 5, "{:?}", done.leaks);
    assert!(done.leaks.examples[0].record.contains("raw.jsonl:"));
    assert!(done.warnings.iter().any(|warning| warning.contains("nearly repeat")));

    let same: String = (0..30)
        .map(|n| json!({"instruction": "Write a poem.", "output": format!("poem {n}")}).to_string() + "\n")
        .collect();
    let desk = Desk::new("raw.jsonl", &same);
    let done = prepare(&desk.task(&["raw.jsonl"])).unwrap();
    assert_eq!((done.leaks.same_prompt, done.leaks.near_duplicate), (6, 0));
}

#[test]
fn the_report_is_there_for_people_and_programs() {
    let desk = Desk::new("raw.jsonl", &(records(0..50) + "{\"instruction\":\"x | y\",\"output\":\"\"}\n"));
    let done = prepare(&desk.task(&["raw.jsonl"])).unwrap();
    assert!(done.report_files.iter().all(|file| file.is_file()), "{:?}", done.report_files);
    let json: DatasetPreparation = serde_json::from_str(&desk.report(".json")).unwrap();
    assert_eq!(json, done);
    let page = desk.report(".md");
    for part in ["| train | 40 |", "raw-tokens.svg", "raw-quality.svg", "1 with an empty response", ":51"] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(desk.report("-quality.svg").contains("<svg"));
    let quality = done.quality.unwrap();
    assert_eq!((quality.least, quality.most, quality.counts.iter().sum::<u64>()), (0.3, 0.9, 50));
}

#[test]
fn words_of_the_quality_field_are_counted() {
    let text = "Say 0.,0,high\nSay 1.,1,low\nSay 2.,2,High\nSay 3.,3,\n";
    let desk = Desk::new("raw.csv", &format!("instruction,output,quality\n{text}"));
    let done = prepare(&desk.task(&["raw.csv"])).unwrap();
    assert_eq!(done.quality, None);
    let words: Vec<_> = done.quality_words.iter().map(|count| (count.word.as_str(), count.records)).collect();
    assert_eq!(words, [("high", 2), ("low", 1)]);
    assert!(!desk.0.path().join("quality_reports/raw-quality.svg").exists());
    // Too few for three splits: what is not there is said, and no empty file is left.
    assert_eq!(done.splits.iter().map(|split| split.name.as_str()).collect::<Vec<_>>(), ["train"]);
    assert_eq!(done.warnings.len(), 2);
    assert!(!desk.0.path().join("processed/test.jsonl").exists());
}

#[test]
fn every_file_that_is_written_was_announced() {
    let desk = Desk::new("raw.jsonl", "");
    for datasets in [&["raw.jsonl"][..], &["raw.jsonl", "more.jsonl"]] {
        let task = desk.task(datasets);
        let announced = task.outputs();
        let output = Output::plan(&task).unwrap();
        let splits = [0, 1, 2].map(|split| output.split(split).to_owned());
        for file in splits.into_iter().chain(output.report_files(true, true)) {
            assert!(announced.contains(&file), "{file:?} of {announced:?}");
        }
    }
}

#[test]
fn nothing_is_replaced_without_force_and_inputs_never() {
    let desk = Desk::new("raw.jsonl", &records(0..30));
    prepare(&desk.task(&["raw.jsonl"])).unwrap();
    let before = desk.lines("train");
    let again = prepare(&PrepareTask { seed: 7, ..desk.task(&["raw.jsonl"]) }).unwrap_err();
    assert!(matches!(again, DataError::Exists { .. }));
    assert_eq!((again.problem().kind, desk.lines("train")), (ProblemKind::Conflict, before.clone()));
    prepare(&PrepareTask { seed: 7, force: true, ..desk.task(&["raw.jsonl"]) }).unwrap();
    assert_ne!(desk.lines("train"), before);
    let itself = PrepareTask { force: true, ..desk.task(&["processed/train.jsonl"]) };
    assert!(matches!(prepare(&itself).unwrap_err(), DataError::WritesInput { .. }));
}

#[test]
fn a_preparation_that_fails_leaves_no_file() {
    let desk = Desk::new("raw.jsonl", &records(0..30));
    fs::write(desk.0.path().join("quality_reports"), "not a folder").unwrap();
    desk.0.write_text("other.jsonl", "{\"text\":\"once\"}\n");
    let mixed = prepare(&desk.task(&["raw.jsonl", "other.jsonl"])).unwrap_err();
    assert!(mixed.to_string().contains("raw.jsonl holds records as alpaca"), "{mixed}");
    let nothing = Desk::new("raw.jsonl", "{}\n");
    assert!(matches!(prepare(&nothing.task(&["raw.jsonl"])).unwrap_err(), DataError::Empty { .. }));
    assert!(!desk.0.path().join("processed").exists() && !nothing.0.path().join("processed").exists());
}

#[test]
fn several_files_and_formats_are_prepared_as_one() {
    let desk = Desk::new("raw.jsonl", &records(0..20));
    desk.0.write_text("more.csv", "instruction,output\nSay 3.,3 it is\nSay 300.,300 it is\n");
    let done = prepare(&desk.task(&["raw.jsonl", "more.csv"])).unwrap();
    assert_eq!((done.counts.kept, done.duplicates), (22, 1));
    assert!(done.report.ends_with("raw-and-1-more.md"));
}

/// Where each record is: the numbers that `records` gave them, by split.
fn sources(desk: &Desk) -> [Vec<u64>; 3] {
    SPLITS.map(|split| desk.lines(split).iter().map(|line| line["source"][0].as_u64().unwrap()).collect())
}

#[test]
fn preparations_at_once_leave_the_splits_and_the_report_of_one() {
    let desk = Desk::new("raw.jsonl", &records(0..200));
    for round in 0..12 {
        thread::scope(|scope| {
            for seed in 0..3 {
                let mut task = desk.task(&["raw.jsonl"]);
                (task.seed, task.force, task.base_model_path) = (round * 3 + seed, true, None);
                scope.spawn(move || prepare(&task).unwrap());
            }
        });
        let all: HashSet<u64> = sources(&desk).concat().into_iter().collect();
        assert_eq!((all.len(), sources(&desk).concat().len()), (200, 200), "round {round}");
        let report: DatasetPreparation = serde_json::from_str(&desk.report(".json")).unwrap();
        let (there, other) = (sources(&desk), Desk::new("raw.jsonl", &records(0..200)));
        prepare(&PrepareTask { seed: report.seed, base_model_path: None, ..other.task(&["raw.jsonl"]) })
            .unwrap();
        assert_eq!(there, sources(&other), "the report is that of the splits");
    }
    let entries = fs::read_dir(desk.0.path().join("processed")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".replacing.lock", "test.jsonl", "train.jsonl", "validation.jsonl"]);
}

#[test]
fn of_preparations_at_once_that_replace_nothing_one_succeeds() {
    let desk = Desk::new("raw.jsonl", &records(0..200));
    let prepared = thread::scope(|scope| {
        let seeds = 0..3;
        let started: Vec<_> = seeds
            .map(|seed| {
                let task = PrepareTask { seed, base_model_path: None, ..desk.task(&["raw.jsonl"]) };
                scope.spawn(move || prepare(&task))
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let refused = |result: &Result<_, DataError>| matches!(result, Err(DataError::Exists { .. }));
    assert_eq!(prepared.iter().filter(|result| refused(result)).count(), 2);
    let done = prepared.into_iter().find_map(Result::ok).unwrap();
    let sizes: Vec<_> = done.splits.iter().map(|split| split.records as usize).collect();
    assert_eq!(sizes, sources(&desk).map(|split| split.len()));
}

#[test]
fn what_a_killed_preparation_left_is_swept() {
    let desk = Desk::new("raw.jsonl", &records(0..30));
    let left = desk.0.path().join("processed/.preparing-killed/splits");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("train.jsonl"), "half of i").unwrap();
    prepare(&desk.task(&["raw.jsonl"])).unwrap();
    assert!(!left.exists());
}

#[cfg(unix)]
#[test]
fn links_under_the_names_of_files_that_are_written_are_not_followed() {
    let desk = Desk::new("raw.jsonl", &records(0..30));
    desk.0.write_text("precious", "mine");
    fs::create_dir_all(desk.0.path().join("processed")).unwrap();
    fs::create_dir_all(desk.0.path().join("quality_reports")).unwrap();
    for name in ["processed/train.jsonl", "processed/train.jsonl.partial", "quality_reports/raw.md"] {
        std::os::unix::fs::symlink(desk.0.path().join("precious"), desk.0.path().join(name)).unwrap();
    }
    prepare(&PrepareTask { force: true, ..desk.task(&["raw.jsonl"]) }).unwrap();
    assert_eq!(fs::read_to_string(desk.0.path().join("precious")).unwrap(), "mine");
    assert_eq!(desk.lines("train").len(), 24);
}
