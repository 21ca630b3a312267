//! All examples of a file, and what was dropped of it.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use greentune_core_config::{
    settings::{DatasetFormat, DatasetSchema, Settings},
    task::DatasetCounts,
};

use super::{
    batch::{self, Batches},
    encode::Encoder,
    error::{DataError, describe},
    example::Example,
    record::{Record, Records},
    rows::{Reason, Rejection},
    store::Examples,
};

/// The examples of a file, in its order.
#[derive(Debug)]
pub struct Dataset {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: DatasetFormat,
    /// What its records look like.
    pub schema: DatasetSchema,
    /// At least one.
    pub examples: Examples,
    /// What was kept and dropped.
    pub counts: DatasetCounts,
}

/// Reads `path`, encodes each record (without an encoder it is an example of no tokens) and hands it to `keep` with the number of its row; what is read, used and
/// dropped is added to `counts`, by which rows are numbered.
///
/// # Errors
/// As [`Dataset::load`] but for [`DataError::Empty`], and those of `keep`.
pub(super) fn read(
    path: &Path,
    settings: &Settings,
    encoder: Option<&Encoder>,
    counts: &mut DatasetCounts,
    keep: impl FnMut(u64, &Record, Example) -> Result<(), DataError>,
) -> Result<(DatasetFormat, DatasetSchema), DataError> {
    let mut records = Records::open(path, settings)?;
    read_while(&mut records, path, encoder, counts, keep, |_| true)?;
    Ok((records.format(), records.schema()))
}

/// The same of opened records, as long as `goes_on` says so of the counts; whether all were read.
pub(super) fn read_while(
    records: &mut Records<'_>,
    path: &Path,
    encoder: Option<&Encoder>,
    counts: &mut DatasetCounts,
    mut keep: impl FnMut(u64, &Record, Example) -> Result<(), DataError>,
    goes_on: impl Fn(&DatasetCounts) -> bool,
) -> Result<bool, DataError> {
    let mut batches = Batches::new(path, encoder);
    loop {
        let (batch, end) = batch::next(records);
        let batch = Arc::new(batch);
        for (index, (record, encoded)) in batch.iter().zip(batches.encode(&batch)?).enumerate() {
            let row = counts.read;
            match (record, encoded) {
                (Err(rejection), _) => count(counts, Err(rejection)),
                (Ok(_), None) => {}
                (Ok(record), Some(encoded)) => match encoded? {
                    Ok(example) => {
                        count(counts, Ok(&example));
                        keep(row, record, example)?;
                    }
                    Err(fault) => count(counts, Err(&fault.at(path, record.line))),
                },
            }
            if !goes_on(counts) {
                return Ok(index + 1 == batch.len() && end.is_none() && records.next().is_none());
            }
        }
        match end {
            Some(error) => return Err(error),
            None if batch.is_empty() => return Ok(true),
            None => {}
        }
    }
}

/// Refuses a file without a usable record.
pub(super) fn not_empty(path: &Path, counts: &DatasetCounts) -> Result<(), DataError> {
    if counts.kept > 0 {
        return Ok(());
    }
    Err(DataError::Empty { path: path.to_owned(), counts: Box::new(counts.clone()) })
}

impl Dataset {
    /// Reads `path`, encodes each record and counts those that cannot be used. The examples go to the file `spill` when
    /// they are too many for memory; it is removed with the data set.
    ///
    /// # Errors
    /// [`DataError::NotFound`], [`DataError::Unreadable`], [`DataError::Format`], [`DataError::Table`];
    /// [`DataError::Empty`] when no record can be used; an error of the tokenizer, which no other record would fare
    /// better with; [`DataError::Unwritable`].
    pub fn load(
        path: &Path,
        settings: &Settings,
        encoder: &Encoder,
        spill: &Path,
    ) -> Result<Self, DataError> {
        let (mut examples, mut counts) = (Examples::new(spill), DatasetCounts::default());
        let keep = |_, _: &Record, example: Example| examples.push(&example);
        let (format, schema) = read(path, settings, Some(encoder), &mut counts, keep)?;
        not_empty(path, &counts)?;
        Ok(Self { path: path.to_owned(), format, schema, examples, counts })
    }

    /// What a user should know before training on it: records dropped or truncated, in one sentence.
    pub fn warning(&self) -> Option<String> {
        let DatasetCounts { read, kept, truncated, unlearnt_answers, .. } = &self.counts;
        let lossless = kept == read && *truncated == 0 && *unlearnt_answers == 0;
        (!lossless).then(|| {
            format!(
                "{}: {} records used of {}",
                self.path.display(),
                self.counts.kept,
                describe(&self.counts)
            )
        })
    }
}

/// Counts a record that is used, or why it is not.
fn count(counts: &mut DatasetCounts, example: Result<&Example, &Rejection>) {
    counts.read += 1;
    let Rejection { reason, problem } = match example {
        Ok(example) => {
            counts.kept += 1;
            counts.truncated += u64::from(example.truncated);
            counts.unlearnt_answers += example.unlearnt_answers;
            return;
        }
        Err(rejection) => rejection,
    };
    *match reason {
        Reason::BrokenLine => &mut counts.broken_lines,
        Reason::MissingField => &mut counts.missing_field,
        Reason::EmptyResponse => &mut counts.empty_response,
        Reason::NothingToLearn => &mut counts.nothing_to_learn,
        Reason::UnsupportedPart => &mut counts.unsupported_part,
        Reason::UnknownRole => &mut counts.unknown_role,
        Reason::EndsWithUser => &mut counts.ends_with_user,
        Reason::TemplateFailed => &mut counts.template_failed,
        Reason::TooLong => &mut counts.too_long,
        Reason::GivenUp => &mut counts.given_up,
    } += 1;
    counts.note(problem);
}

/// Validation examples that the model sees in `train` too: what is measured on them is memory.
///
/// # Errors
/// As [`Examples::get`].
pub fn overlap(train: &Examples, validation: &Examples) -> Result<u64, DataError> {
    // A hash per example; two different ones among a billion records share one with a chance of 1 in 30.
    let hash = |example: Result<Example, DataError>| -> Result<u64, DataError> {
        let mut hasher = DefaultHasher::new();
        example?.tokens.hash(&mut hasher);
        Ok(hasher.finish())
    };
    let seen: HashSet<_> = validation.iter().map(hash).collect::<Result<_, _>>()?;
    let mut shared: HashSet<u64> = HashSet::new();
    for example in train.iter() {
        shared.extend(seen.get(&hash(example)?));
    }
    validation.iter().map(hash).try_fold(0, |number, hash| Ok(number + u64::from(shared.contains(&hash?))))
}

#[cfg(test)]
mod tests {
    use greentune_core_config::Diagnostic;
    use jiff::Timestamp;

    use super::{super::test_model::TestModel, *};

    fn load(text: &str, settings: &Settings) -> Result<Dataset, DataError> {
        let model = TestModel::new();
        model.write_text("train.jsonl", text);
        let encoder = Encoder::new(model.path(), settings, Timestamp::UNIX_EPOCH).unwrap();
        Dataset::load(&model.path().join("train.jsonl"), settings, &encoder, &model.path().join("spill"))
    }

    fn line(instruction: &str, output: &str) -> String {
        serde_json::json!({"instruction": instruction, "output": output}).to_string() + "\n"
    }

    #[test]
    fn every_line_is_counted_once() {
        let mut settings = Settings::default();
        settings.training.max_seq_length = 60;
        let text = [
            line("a", "b"),
            "{broken\n\n".to_owned(),
            "{\"instruction\":\"a\"}\n".to_owned(),
            line("a", " "),
            line(&"long ".repeat(20), "b"),
            line("a", &"long ".repeat(20)),
            "{\"instruction\":\"a\",\"output\":\"c\",\"quality\":\"high\"}".to_owned(),
        ]
        .concat();
        let dataset = load(&text, &settings).unwrap();
        let counts = &dataset.counts;
        assert_eq!(
            [counts.read, counts.kept, counts.truncated, counts.broken_lines, counts.missing_field],
            [7, 3, 1, 1, 1]
        );
        assert_eq!([counts.empty_response, counts.too_long], [1, 1]);
        assert_eq!(dataset.examples.weights(), [1.0, 1.0, 2.5]);
        let lines: Vec<_> =
            counts.problems.iter().map(|problem| problem.location.as_ref().unwrap().line.unwrap()).collect();
        assert_eq!(lines, [2, 4, 5, 6]);
        assert_eq!(counts.problems[3].code, "data.too_long");
        let warning = dataset.warning().unwrap();
        let told = "3 records used of 7 records read, 1 that cannot be read, 1 with a missing or wrong \
                    field, 1 with an empty response, 1 whose prompt fills the context, 1 with their end cut off";
        assert!(warning.ends_with(told), "{warning}");
        assert_eq!(load(&line("a", "b"), &settings).unwrap().warning(), None);
    }

    #[test]
    fn nothing_usable_is_an_error_with_the_counts() {
        let text = "[1]\n".repeat(30) + "{}\n";
        let error = load(&text, &Settings::default()).err().unwrap();
        assert!(matches!(&error, DataError::Empty { counts, .. } if counts.broken_lines == 30));
        let problem = error.problem();
        assert_eq!(problem.code, "data.empty");
        assert!(problem.message.contains("31 records read, 30 that cannot be read, 1 with a missing"));
        // Each kind of fault once, with how many records have it.
        assert_eq!(problem.problems.len(), 2);
        let many = &problem.problems[0].message;
        assert!(many.starts_with("30 records: the line is no JSON object"), "{many}");
        assert!(many.ends_with("(also on lines 2, 3, 4, 5, …)"), "{many}");
        assert!(matches!(load("\n\n", &Settings::default()), Err(DataError::Empty { .. })));
    }

    #[test]
    fn overlap_needs_prompt_and_response() {
        let settings = Settings::default();
        let train = load(&[line("a", "b"), line("c", "d")].concat(), &settings).unwrap().examples;
        let validation = [line("a", "b"), line("a", "d"), line("c", "d"), line("e", "b")].concat();
        let validation = load(&validation, &settings).unwrap().examples;
        assert_eq!(overlap(&train, &validation).unwrap(), 2);
        assert_eq!(overlap(&train, &Examples::new(Path::new("spill"))).unwrap(), 0);
    }

    #[test]
    fn a_table_is_learnt_as_the_same_records_in_lines_are() {
        let model = TestModel::new();
        let settings = Settings::default();
        let encoder = Encoder::new(model.path(), &settings, Timestamp::UNIX_EPOCH).unwrap();
        let load = |path: &Path| Dataset::load(path, &settings, &encoder, Path::new("spill")).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data");
        let parquet = load(&fixtures.join("alpaca-snappy.parquet"));
        let (mut lines, mut csv) = (Vec::new(), vec![String::from("output,quality,instruction,input\n")]);
        for n in 0..12_u32 {
            let input = if n % 3 == 0 { format!("input {n}") } else { String::new() };
            let (output, quality) = (n.to_string().repeat(n as usize + 1), f64::from(n) / 10.0);
            csv.push(format!("{output},{quality},Say {n}.,{input}\n"));
            let record = serde_json::json!({"instruction": format!("Say {n}."), "input": input, "output": output,
                "quality": quality});
            lines.push(format!("{record}\n"));
        }
        model.write_text("a.csv", &csv.concat());
        model.write_text("a.jsonl", &lines.concat());
        let (csv, lines) = (load(&model.path().join("a.csv")), load(&model.path().join("a.jsonl")));
        assert_eq!([parquet.format, csv.format], [DatasetFormat::Parquet, DatasetFormat::Csv]);
        let seen = |dataset: &Dataset| -> Vec<_> {
            let seen =
                |example: &Example| (example.tokens.clone(), example.labels.clone(), example.high_quality);
            dataset.examples.iter().map(|example| seen(&example.unwrap())).collect()
        };
        assert_eq!(seen(&csv), seen(&lines));
        assert_eq!(seen(&parquet), seen(&lines));

        let conversations = load(&fixtures.join("messages.parquet"));
        assert_eq!(conversations.schema, DatasetSchema::Messages);
        assert_eq!((conversations.counts.kept, conversations.counts.ends_with_user), (3, 1));
        assert_eq!(conversations.counts.problems[0].location.as_ref().unwrap().line, Some(4));
        assert_eq!(
            conversations.examples.iter().map(|e| e.unwrap().labels.len()).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn columns_of_other_names_or_types_are_named() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data");
        let mut settings = Settings::default();
        settings.dataset.output_field = "answer".into();
        let encoder = Encoder::new(TestModel::new().path(), &settings, Timestamp::UNIX_EPOCH).unwrap();
        let problem = |path: &str, settings: &Settings| {
            let error =
                Dataset::load(&fixtures.join(path), settings, &encoder, Path::new("spill")).err().unwrap();
            error.problem().problems[0].message.clone()
        };
        assert_eq!(
            problem("alpaca-snappy.parquet", &settings),
            "12 records: there is no field `answer`; found: `instruction`, `input`, `output`, `quality`, `topic` (also \
             on lines 2, 3, 4, 5, …)"
        );
        settings.dataset.output_field = "quality".into();
        assert_eq!(
            problem("alpaca-snappy.parquet", &settings),
            "12 records: field `quality` is a number; allowed: a string (also on lines 2, 3, 4, 5, …)"
        );
    }

    #[test]
    fn conversations_that_cannot_be_learnt_are_counted_by_reason() {
        let line = |turns: &[(&str, &str)]| {
            let turn = |(role, content): &(&str, &str)| serde_json::json!({"role": role, "content": content});
            let turns: Vec<_> = turns.iter().map(turn).collect();
            serde_json::json!({"messages": turns}).to_string() + "\n"
        };
        let text = [
            line(&[("user", "a"), ("assistant", "b")]),
            line(&[("user", "a"), ("assistant", "b"), ("user", "c")]),
            line(&[("user", "a"), ("critic", "b")]),
            line(&[("user", "a"), ("assistant", "")]),
        ]
        .concat();
        let dataset = load(&text, &Settings::default()).unwrap();
        assert_eq!(dataset.schema, DatasetSchema::Messages);
        let counts = &dataset.counts;
        assert_eq!(
            [counts.read, counts.kept, counts.ends_with_user, counts.unknown_role, counts.empty_response],
            [4, 1, 1, 1, 1]
        );
        let codes: Vec<_> = counts.problems.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(codes, ["data.ends_with_user", "data.unknown_role", "data.empty_response"]);
    }
}
