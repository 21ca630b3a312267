//! Records of a data set, read one by one.

use std::path::{Path, PathBuf};

use greentune_core_config::settings::{DatasetFormat, DatasetSchema, Settings};
use serde_json::Value;

use super::{
    error::DataError,
    rows::{self, Fields, Rejection, Rows},
    schema::{self, Body},
};

/// Words of the quality field that count as high, beside numbers at or above the threshold and `true`.
const HIGH_QUALITY_WORDS: [&str; 3] = ["high", "good", "excellent"];

/// One record as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Line in the file, or number of the row in a file without lines; from 1.
    pub(super) line: u64,
    pub(super) body: Body,
    /// The quality field's value; null when there is none.
    pub(super) quality: Value,
    pub(super) high_quality: bool,
}

/// Reads the records of a file in order.
pub(super) struct Records<'a> {
    path: PathBuf,
    rows: Rows,
    settings: &'a Settings,
    format: DatasetFormat,
    schema: DatasetSchema,
}

impl<'a> Records<'a> {
    /// Opens `path`, whose format, schema and fields `settings.dataset` names.
    ///
    /// # Errors
    /// As [`rows::format`] and [`rows::open`].
    pub(super) fn open(path: &Path, settings: &'a Settings) -> Result<Self, DataError> {
        let format = rows::format(path, settings.dataset.format)?;
        let rows = rows::open(path, format, &schema::known_fields(&settings.dataset), true)?;
        Ok(Self { path: path.to_owned(), rows, settings, format, schema: settings.dataset.schema })
    }

    /// The file's format.
    pub(super) fn format(&self) -> DatasetFormat {
        self.format
    }

    /// What records look like: as declared, or as recognised by the first row that could be read; until then `auto`.
    pub(super) fn schema(&self) -> DatasetSchema {
        self.schema
    }

    fn record(&mut self, line: u64, fields: &Fields) -> Result<Record, Rejection> {
        let names = &self.settings.dataset;
        if self.schema == DatasetSchema::Auto {
            self.schema = schema::recognise(fields, names);
        }
        let body = schema::body(fields, self.schema, names).map_err(|fault| fault.at(&self.path, line))?;
        let quality = fields.get(&names.quality_field).cloned().unwrap_or_default();
        let high_quality = is_high(&quality, self.settings.training.quality_threshold);
        Ok(Record { line, body, quality, high_quality })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Result<Record, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map(|row| row.and_then(|row| self.record(row.line, &row.fields))))
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, settings: &Settings) -> (Vec<Result<Record, Rejection>>, DatasetSchema) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        std::fs::write(&path, text).unwrap();
        let mut records = Records::open(&path, settings).unwrap();
        let all = records.by_ref().map(Result::unwrap).collect();
        (all, records.schema())
    }

    #[test]
    fn other_field_names() {
        let mut settings = Settings::default();
        settings.dataset.instruction_field = "question".into();
        settings.dataset.output_field = "answer".into();
        let (records, schema) = read(r#"{"question":"q","answer":"a","quality":"high"}"#, &settings);
        let record = records[0].as_ref().unwrap();
        assert!(matches!(&record.body, Body::Instruction { instruction, .. } if instruction == "q"));
        assert!(record.high_quality);
        assert_eq!(schema, DatasetSchema::Alpaca);
    }

    #[test]
    fn the_first_row_that_can_be_read_decides_and_the_others_follow() {
        let text = "not json\n{\"text\":\"a\"}\n{\"instruction\":\"a\",\"output\":\"b\"}\n{\"text\":\"c\"}\n";
        let (records, schema) = read(text, &Settings::default());
        assert_eq!(schema, DatasetSchema::Completion);
        assert_eq!(records.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false, true]);
        let problem = &records[2].as_ref().unwrap_err().problem;
        assert_eq!(problem.message, "there is no field `text`; found: `instruction`, `output`");
        assert_eq!(problem.location.as_ref().unwrap().line, Some(3));
    }

    #[test]
    fn a_declared_schema_is_not_guessed() {
        let mut settings = Settings::default();
        settings.dataset.schema = DatasetSchema::Completion;
        let (records, _) = read(r#"{"instruction":"a","output":"b","text":"c"}"#, &settings);
        assert!(matches!(&records[0].as_ref().unwrap().body, Body::Completion { .. }));
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
}
