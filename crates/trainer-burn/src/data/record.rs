//! Records of a JSONL file, read line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Location, Problem, ProblemKind,
    settings::{DatasetFormat, Settings},
};
use serde_json::{Map, Value};

use super::error::DataError;

/// Words of the quality field that count as high, beside numbers at or above the threshold and `true`.
const HIGH_QUALITY_WORDS: [&str; 3] = ["high", "good", "excellent"];

/// One record as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Line in the file, from 1.
    pub(super) line: u64,
    pub(super) instruction: String,
    /// Empty when the record has none.
    pub(super) input: String,
    pub(super) response: String,
    pub(super) high_quality: bool,
}

/// Why a line gives no record that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BrokenLine,
    MissingField,
    EmptyResponse,
    TooLong,
}

/// A line that gives no record.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) problem: Box<Problem>,
}

/// Reads the records of a file in order; blank lines are skipped.
pub(super) struct Records<'a> {
    path: PathBuf,
    reader: BufReader<File>,
    settings: &'a Settings,
    line: u64,
}

impl<'a> Records<'a> {
    /// Opens `path`, whose fields are named by `settings.dataset`.
    ///
    /// # Errors
    /// [`DataError::Format`], [`DataError::NotFound`], [`DataError::Unreadable`].
    pub(super) fn open(path: &Path, settings: &'a Settings) -> Result<Self, DataError> {
        let format = settings.dataset.format;
        if format != DatasetFormat::Jsonl {
            return Err(DataError::Format { format });
        }
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => DataError::NotFound { path: path.to_owned() },
            _ => DataError::Unreadable { path: path.to_owned(), source },
        })?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), settings, line: 0 })
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, DataError> {
        loop {
            let mut bytes = Vec::new();
            let read = self
                .reader
                .read_until(b'\n', &mut bytes)
                .map_err(|source| DataError::Unreadable { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            // Windows programs put a byte order mark in front of the first line; JSON allows none.
            if self.line == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
                bytes.drain(..3);
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Record, Rejection> {
        let text = str::from_utf8(bytes).map_err(|error| {
            self.reject(Reason::BrokenLine, "data.broken_line", format!("the line is not UTF-8: {error}"))
        })?;
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            // serde_json counts lines within the text it is given, which is always one.
            let message = error.to_string().replace(" at line 1 column", " at column");
            self.reject(
                Reason::BrokenLine,
                "data.broken_line",
                format!("the line is no JSON object: {message}"),
            )
        })?;
        let names = &self.settings.dataset;
        let record = Record {
            line: self.line,
            instruction: self.text(&fields, &names.instruction_field, "dataset.instruction_field")?,
            input: match fields.get(&names.input_field) {
                None | Some(Value::Null) => String::new(),
                Some(_) => self.text(&fields, &names.input_field, "dataset.input_field")?,
            },
            response: self.text(&fields, &names.output_field, "dataset.output_field")?,
            high_quality: fields
                .get(&names.quality_field)
                .is_some_and(|quality| is_high(quality, self.settings.training.quality_threshold)),
        };
        if record.response.trim().is_empty() {
            let message = format!("the response (field `{}`) is empty", names.output_field);
            return Err(self.reject(Reason::EmptyResponse, "data.empty_response", message));
        }
        Ok(record)
    }

    fn text(&self, fields: &Map<String, Value>, name: &str, key: &str) -> Result<String, Rejection> {
        match fields.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            None | Some(Value::Null) => {
                let found: Vec<_> = fields.keys().take(8).map(|field| format!("`{field}`")).collect();
                let message = format!("there is no field `{name}`; found: {}", found.join(", "));
                let mut rejection = self.reject(Reason::MissingField, "data.missing_field", message);
                rejection.problem.hint = Some(format!("{key} names the field"));
                Err(rejection)
            }
            Some(other) => {
                let message = format!("field `{name}` is {}; allowed: a string", type_name(other));
                Err(self.reject(Reason::MissingField, "data.field_type", message))
            }
        }
    }

    fn reject(&self, reason: Reason, code: &str, message: String) -> Rejection {
        Rejection { reason, problem: Box::new(problem_at(&self.path, self.line, code, message)) }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Result<Record, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose().map(|line| line.map(|bytes| self.parse(&bytes)))
    }
}

/// A problem with the record on `line` of `path`.
pub(super) fn problem_at(path: &Path, line: u64, code: &str, message: String) -> Problem {
    let location = Location { file: Some(path.to_owned()), line: Some(line), key: None };
    Problem::new(ProblemKind::InvalidInput, code, message).at(location)
}

fn is_high(quality: &Value, threshold: f64) -> bool {
    match quality {
        Value::Bool(high) => *high,
        Value::Number(number) => number.as_f64().is_some_and(|number| number >= threshold),
        Value::String(word) => {
            let word = word.trim();
            HIGH_QUALITY_WORDS.iter().any(|high| word.eq_ignore_ascii_case(high))
                || word.parse::<f64>().is_ok_and(|number| number >= threshold)
        }
        _ => false,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(bytes: &[u8], settings: &Settings) -> Vec<Result<Record, Rejection>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        std::fs::write(&path, bytes).unwrap();
        Records::open(&path, settings).unwrap().map(Result::unwrap).collect()
    }

    fn rejection(line: &str) -> Rejection {
        read(line.as_bytes(), &Settings::default()).remove(0).unwrap_err()
    }

    #[test]
    fn reads_fields_and_line_numbers() {
        let text = "\u{feff}{\"instruction\":\"a\",\"output\":\"b\"}\r\n\n  \n{\"instruction\":\"c\",\"input\":\"d\",\"output\":\"e\",\"metadata\":{\"k\":1}}";
        let records: Vec<_> =
            read(text.as_bytes(), &Settings::default()).into_iter().map(Result::unwrap).collect();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].line, records[0].input.as_str()), (1, ""));
        assert_eq!((records[1].line, records[1].input.as_str(), records[1].response.as_str()), (4, "d", "e"));
    }

    #[test]
    fn other_field_names() {
        let mut settings = Settings::default();
        settings.dataset.instruction_field = "question".into();
        settings.dataset.output_field = "answer".into();
        let records = read(br#"{"question":"q","answer":"a"}"#, &settings);
        assert_eq!(records[0].as_ref().unwrap().instruction, "q");
    }

    #[test]
    fn a_bad_line_does_not_hide_the_next() {
        let mut bytes = b"{\"instruction\": \"a\", \"outp\n[1]\n".to_vec();
        bytes.extend(b"{\"instruction\":\"\xff\"}\n{\"instruction\":\"a\",\"output\":\"b\"}\n");
        let lines = read(&bytes, &Settings::default());
        assert_eq!(lines.len(), 4);
        for (index, line) in lines[..3].iter().enumerate() {
            let rejection = line.as_ref().unwrap_err();
            assert_eq!(rejection.reason, Reason::BrokenLine);
            assert_eq!(rejection.problem.location.as_ref().unwrap().line, Some(index as u64 + 1));
        }
        assert!(lines[2].as_ref().unwrap_err().problem.message.contains("UTF-8"));
        assert_eq!(lines[3].as_ref().unwrap().line, 4);
    }

    #[test]
    fn says_which_field_and_what_was_found() {
        let missing = rejection(r#"{"prompt":"a","output":"b"}"#);
        assert_eq!(missing.reason, Reason::MissingField);
        assert_eq!(missing.problem.message, "there is no field `instruction`; found: `prompt`, `output`");
        assert_eq!(missing.problem.hint.as_deref(), Some("dataset.instruction_field names the field"));

        let wrong = rejection(r#"{"instruction":"a","output":3}"#);
        assert_eq!(wrong.reason, Reason::MissingField);
        assert_eq!(wrong.problem.code, "data.field_type");
        assert_eq!(wrong.problem.message, "field `output` is a number; allowed: a string");

        assert_eq!(
            rejection(r#"{"instruction":"a","input":[],"output":"b"}"#).problem.code,
            "data.field_type"
        );
        assert_eq!(rejection(r#"{"instruction":"a","output":" \n"}"#).reason, Reason::EmptyResponse);
        assert_eq!(rejection(r#"{"instruction":"a","output":null}"#).reason, Reason::MissingField);
    }

    #[test]
    fn deep_nesting_is_a_broken_line() {
        assert_eq!(rejection(&"[".repeat(100_000)).reason, Reason::BrokenLine);
    }

    #[test]
    fn quality_by_number_word_and_flag() {
        for high in [
            json!(0.7),
            json!(1),
            json!("high"),
            json!("Good"),
            json!(" EXCELLENT"),
            json!("0.9"),
            json!(true),
        ] {
            assert!(is_high(&high, 0.7), "{high}");
        }
        for low in
            [json!(0.69), json!("low"), json!("0.1"), json!("nan"), json!(false), json!(null), json!([1])]
        {
            assert!(!is_high(&low, 0.7), "{low}");
        }
    }

    #[test]
    fn missing_file_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let missing = Records::open(&folder.path().join("no.jsonl"), &settings).err().unwrap();
        assert!(matches!(missing, DataError::NotFound { .. }));
        let read = Records::open(folder.path(), &settings).map(|mut records| records.next());
        assert!(matches!(
            read,
            Err(DataError::Unreadable { .. }) | Ok(Some(Err(DataError::Unreadable { .. })))
        ));
    }

    #[test]
    fn formats_without_a_reader_are_refused() {
        let mut settings = Settings::default();
        settings.dataset.format = DatasetFormat::Parquet;
        let error = Records::open(Path::new("x.parquet"), &settings).err().unwrap();
        assert!(matches!(error, DataError::Format { format: DatasetFormat::Parquet }));
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_outcome_per_line(lines in prop::collection::vec("[^\r\n]{1,40}", 0..8)) {
            let outcomes = read(lines.join("\n").as_bytes(), &Settings::default());
            let blank = |line: &&String| !line.trim_start_matches('\u{feff}').as_bytes().trim_ascii().is_empty();
            prop_assert!(outcomes.len() <= lines.len());
            prop_assert!(outcomes.len() >= lines.iter().filter(blank).count());
        }
    }
}
