//! Rows of a data set's file, whatever its format: where each stands, and its fields.

mod jsonl;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use greentune_core_config::{Location, Problem, ProblemKind, settings::DatasetFormat};
use serde_json::{Map, Value};

use super::error::DataError;

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
    UnknownRole,
    EndsWithUser,
    TemplateFailed,
    TooLong,
}

/// What is wrong with a row, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(reason: Reason, code: &'static str, message: impl Into<String>) -> Self {
        Self { reason, code, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The fault of the row on `line` of `path`.
    pub(super) fn at(self, path: &Path, line: u64) -> Rejection {
        let location = Location { file: Some(path.to_owned()), line: Some(line), key: None };
        let mut problem = Problem::new(ProblemKind::InvalidInput, self.code, self.message).at(location);
        problem.hint = self.hint;
        Rejection { reason: self.reason, problem: Box::new(problem) }
    }
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

/// Opens the file `path` of the format `format`.
///
/// # Errors
/// [`DataError::Format`], [`DataError::NotFound`], [`DataError::Unreadable`].
pub(super) fn open(path: &Path, format: DatasetFormat) -> Result<Rows, DataError> {
    if format != DatasetFormat::Jsonl {
        return Err(DataError::Format { format });
    }
    Ok(Box::new(jsonl::JsonLines::open(path)?))
}

fn open_file(path: &Path) -> Result<File, DataError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::NotFound { path: path.to_owned() },
        _ => unreadable(path)(source),
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> DataError {
    let path = PathBuf::from(path);
    move |source| DataError::Unreadable { path, source }
}
