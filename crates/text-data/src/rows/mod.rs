//! Rows of a data set's file, whatever its format: where each stands, and its fields.

mod arrow;
mod csv;
mod csv_records;
mod json;
mod jsonl;
mod object;
mod parquet;
mod source;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use greentune_core_config::{Location, Problem, ProblemKind, Suggestion, settings::DatasetFormat};
use serde_json::{Map, Value};

use super::error::DataError;

/// Bytes of a fault's message; what it quotes of a record may be as long as the record.
const MESSAGE_BYTES: usize = 1000;

/// The fields of a row by name, in the file's order.
pub(super) type Fields = Map<String, Value>;

/// A row as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Line of a text file on which it begins, else its number; from 1.
    pub(super) line: u64,
    pub(super) fields: Fields,
}

/// Why a row gives no record that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BrokenLine,
    MissingField,
    EmptyResponse,
    NothingToLearn,
    UnsupportedPart,
    UnknownRole,
    EndsWithUser,
    TemplateFailed,
    TooLong,
    GivenUp,
}

/// What is wrong with a row, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// What the row's fields are likely to mean, as a preparation takes it.
    pub(super) columns: Option<String>,
}

impl Fault {
    pub(super) fn new(reason: Reason, code: &'static str, message: impl Into<String>) -> Self {
        Self { reason, code, message: message.into(), hint: None, columns: None }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The fault of the row on `line` of `path`.
    pub(super) fn at(self, path: &Path, line: u64) -> Rejection {
        let location = Location { file: Some(path.to_owned()), line: Some(line), key: None };
        let message = in_short(self.message);
        let mut problem = Problem::new(ProblemKind::InvalidInput, self.code, message).at(location);
        problem.hint = self.hint;
        problem.suggestions.extend(self.columns.map(|columns| columns_suggestion(path, &columns)));
        Rejection { reason: self.reason, problem: Box::new(problem) }
    }
}

/// A message that may quote a record, with its middle left out where it is long.
fn in_short(message: String) -> String {
    if message.len() <= MESSAGE_BYTES {
        return message;
    }
    let head = message.floor_char_boundary(MESSAGE_BYTES / 2);
    let tail = message.ceil_char_boundary(message.len() - MESSAGE_BYTES / 2);
    format!("{} … {}", &message[..head], &message[tail..])
}

/// To read the columns of `path` so from now on.
pub(super) fn columns_suggestion(path: &Path, columns: &str) -> Suggestion {
    Suggestion::new(
        format!("read {}, and note it in the project,", columns.replace(',', ", ")),
        "prepare_dataset",
    )
    .with("datasets", vec![path.to_string_lossy().into_owned()])
    .with("columns", columns)
}

/// A row that gives no record.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) problem: Box<Problem>,
}

/// Rows in the file's order, read as they are asked for. One that is broken does not hide the next; an error ends
/// them.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Result<Row, Rejection>, DataError>>>;

/// Opens the file `path` of the format `format`, which must not be `auto`. The header of a table must name one of the
/// fields `known`; with `known_only`, columns beside them are null where they cost time to read.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::Unreadable`], [`DataError::NoText`], [`DataError::Table`],
/// [`DataError::Columns`].
pub(super) fn open(
    path: &Path,
    format: DatasetFormat,
    known: &[&str],
    known_only: bool,
) -> Result<Rows, DataError> {
    Ok(match format {
        DatasetFormat::Auto | DatasetFormat::Jsonl => json::open(path, known)?,
        DatasetFormat::Csv => Box::new(csv::CsvRows::open(path, known)?),
        DatasetFormat::Parquet => Box::new(parquet::ParquetRows::open(path, known_only.then_some(known))?),
    })
}

/// The format of the file `path`: as `declared`, or by its extension, or by its first bytes.
///
/// # Errors
/// [`DataError::Format`] when extension and declaration contradict each other; [`DataError::NotFound`],
/// [`DataError::Unreadable`].
pub(super) fn format(path: &Path, declared: DatasetFormat) -> Result<DatasetFormat, DataError> {
    let extension = |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let extension = match extension(path).as_str() {
        // What is packed is named before.
        "gz" | "gzip" => extension(&path.with_extension("")),
        own => own.to_owned(),
    };
    let found = match extension.as_str() {
        "jsonl" | "ndjson" | "json" => Some(DatasetFormat::Jsonl),
        "csv" | "tsv" => Some(DatasetFormat::Csv),
        "parquet" | "pq" => Some(DatasetFormat::Parquet),
        _ => None,
    };
    match (declared, found) {
        (DatasetFormat::Auto, Some(found)) => Ok(found),
        (DatasetFormat::Auto, None) => by_content(path),
        (declared, Some(found)) if declared != found => {
            Err(DataError::Format { path: path.to_owned(), declared, found })
        }
        (declared, _) => Ok(declared),
    }
}

fn by_content(path: &Path) -> Result<DatasetFormat, DataError> {
    let mut magic = Vec::new();
    open_file(path)?.take(4).read_to_end(&mut magic).map_err(unreadable(path))?;
    Ok(if magic == b"PAR1" { DatasetFormat::Parquet } else { DatasetFormat::Jsonl })
}

fn open_file(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::NotFound { path: path.to_owned() },
        _ => unreadable(path)(source),
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = PathBuf::from(path);
    move |source| {
        let damage = source.get_ref().and_then(|cause| cause.downcast_ref::<source::Damage>());
        match damage {
            Some(damage) => DataError::Table { path, format: damage.format, reason: damage.to_string() },
            None => DataError::Unreadable { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_declared_or_told_by_extension_or_content() {
        use DatasetFormat::{Auto, Csv, Jsonl, Parquet};
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        for (name, bytes, declared, expected) in [
            ("a.csv", &b""[..], Auto, Csv),
            ("a.TSV", b"", Auto, Csv),
            ("a.pq", b"", Auto, Parquet),
            ("a.json", b"", Auto, Jsonl),
            ("a.txt", b"{}", Auto, Jsonl),
            ("a.csv.gz", b"", Auto, Csv),
            ("a.json.GZ", b"", Auto, Jsonl),
            ("a", b"PAR1....", Auto, Parquet),
            ("a.txt", b"", Csv, Csv),
            ("a.jsonl", b"", Jsonl, Jsonl),
        ] {
            assert_eq!(format(&file(name, bytes), declared).unwrap(), expected, "{name}");
        }
        let error = format(&file("a.parquet", b""), Jsonl).unwrap_err();
        assert!(error.to_string().ends_with("is parquet by its extension, and dataset.format says `jsonl`"));
        assert!(matches!(format(&folder.path().join("none"), Auto), Err(DataError::NotFound { .. })));
    }
}
