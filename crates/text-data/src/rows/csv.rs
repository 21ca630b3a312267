//! Rows of a CSV file, read one by one.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Fault, Fields, Reason, Rejection, Row,
    csv_records::{CsvRecords, Record},
    object, source, unreadable,
};
use crate::error::DataError;

/// What may stand between cells, the first with which the header names a known field.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A header, then one record per row; every cell is a text. Quoted cells may span lines.
pub(super) struct CsvRows {
    path: PathBuf,
    records: CsvRecords,
    names: Vec<String>,
}

impl CsvRows {
    /// Opens `path`, whose header must name one of `known` at least: a file without a header would lose its first
    /// record and name the columns after it.
    pub(super) fn open(path: &Path, known: &[&str]) -> Result<Self, DataError> {
        let mut header: Vec<String> = Vec::new();
        for delimiter in DELIMITERS {
            // Rows of another length than the header are told apart here, with what they have.
            let mut records = CsvRecords::new(source::open(path)?, delimiter);
            let names = names(path, &mut records)?;
            if names.iter().any(|name| known.contains(&name.as_str())) {
                repeated(path, &names)?;
                return Ok(Self { path: path.to_owned(), records, names });
            }
            if names.len() > header.len() {
                header = names;
            }
        }
        Err(DataError::Columns {
            path: path.to_owned(),
            known: known.iter().map(|name| (*name).to_owned()).collect(),
            found: header,
        })
    }

    /// The fields of the record that was just read.
    fn fields(&self) -> Result<Fields, Fault> {
        let cells = self.records.cells();
        if cells.len() != self.names.len() {
            let message = format!("the row has {} cells and the header {}", cells.len(), self.names.len());
            return Err(Fault::new(Reason::BrokenLine, "data.ragged_row", message)
                .with_hint("quote cells that hold a delimiter, a quote or a line break"));
        }
        let cell = |(name, cell): (&String, &[u8])| match str::from_utf8(cell) {
            Ok(text) => Ok((name.clone(), Value::String(text.to_owned()))),
            Err(error) => Err(object::not_utf8(&format!("column `{name}`"), cell, error)),
        };
        self.names.iter().zip(cells).map(cell).collect()
    }
}

impl Iterator for CsvRows {
    type Item = Result<Result<Row, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, fields) = match self.records.next_record().map_err(unreadable(&self.path)) {
            Ok(None) => return None,
            Ok(Some(Record::Cells { line })) => (line, self.fields()),
            Ok(Some(Record::TooLong { line })) => (line, Err(too_long())),
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(fields.map(|fields| Row { line, fields }).map_err(|fault| fault.at(&self.path, line))))
    }
}

/// The fault of a row that is too long to be one.
fn too_long() -> Fault {
    object::too_long("the row").with_hint(
        "close every quote: one that is left open takes in all rows behind it, up to the next quote",
    )
}

fn names(path: &Path, records: &mut CsvRecords) -> Result<Vec<String>, DataError> {
    let table = |reason| DataError::Table { path: path.to_owned(), format: "CSV", reason };
    match records.next_record().map_err(unreadable(path))? {
        None => return Ok(Vec::new()),
        Some(Record::TooLong { .. }) => return Err(table(object::too_long("its header").message)),
        Some(Record::Cells { .. }) => {}
    }
    let name = |cell: &[u8]| match str::from_utf8(cell) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(error) => Err(table(object::not_utf8("its header", cell, error).message)),
    };
    records.cells().map(name).collect()
}

fn repeated(path: &Path, names: &[String]) -> Result<(), DataError> {
    let mut seen = HashSet::with_capacity(names.len());
    names.iter().find(|name| !seen.insert(*name)).map_or(Ok(()), |name| {
        let reason = format!("its header names the column `{name}` twice");
        Err(DataError::Table { path: path.to_owned(), format: "CSV", reason })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 3] = ["instruction", "output", "text"];

    fn read(bytes: &[u8]) -> Result<Vec<Result<Row, Rejection>>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.csv");
        std::fs::write(&path, bytes).unwrap();
        CsvRows::open(&path, &KNOWN)?.collect()
    }

    fn cells(row: &Result<Row, Rejection>) -> Vec<&str> {
        row.as_ref().unwrap().fields.values().map(|value| value.as_str().unwrap()).collect()
    }

    #[test]
    fn quoted_empty_and_multi_line_cells() {
        let text = "\u{feff}instruction,output\r\n\"a \"\"b\"\", c\",\"one\ntwo\"\r\n\r\n,d\n";
        let rows = read(text.as_bytes()).unwrap();
        assert_eq!(rows.iter().map(cells).collect::<Vec<_>>(), [["a \"b\", c", "one\ntwo"], ["", "d"]]);
        // Lines of the file, as an editor counts them.
        assert_eq!(rows.iter().map(|row| row.as_ref().unwrap().line).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn ragged_rows_are_told_by_line_and_hide_nothing() {
        let rows = read(b"instruction,output\na,b,c\nd\ne,f\n\xff,g\n").unwrap();
        let problems: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0].problem.message, "the row has 3 cells and the header 2");
        let lines: Vec<_> =
            problems.iter().map(|row| row.problem.location.as_ref().unwrap().line.unwrap()).collect();
        assert_eq!(lines, [2, 3, 5]);
        assert!(problems[2].problem.message.starts_with("column `instruction` is not UTF-8"));
        assert_eq!(cells(&rows[2]), ["e", "f"]);
    }

    #[test]
    fn other_delimiters_are_seen_in_the_header() {
        for text in
            ["instruction;output\na,b;c\n", "instruction\toutput\na,b\tc\n", "instruction|output\na,b|c\n"]
        {
            assert_eq!(cells(&read(text.as_bytes()).unwrap()[0]), ["a,b", "c"], "{text}");
        }
    }

    #[test]
    fn a_missing_broken_or_ambiguous_header_is_an_error() {
        let reason = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(reason(b"Add.,3\nSub.,1\n").contains("found: `Add.`, `3`"));
        assert!(reason(b"").contains("found: nothing"));
        assert!(reason(b"text,text\na,b\n").contains("names the column `text` twice"));
        assert!(reason(b"text,\xff\na,b\n").contains("header is not UTF-8"));
    }

    #[test]
    fn a_record_that_is_too_long_is_told_by_line_and_hides_nothing() {
        let long = "x".repeat(object::RECORD_BYTES);
        let rows = read(format!("instruction,output\na,b\n\"q\n{long}\",c\nd,e\n").as_bytes()).unwrap();
        assert_eq!((cells(&rows[0]), cells(&rows[2])), (vec!["a", "b"], vec!["d", "e"]));
        let problem = &rows[1].as_ref().unwrap_err().problem;
        assert_eq!(problem.message, "the row is longer than 64 MiB");
        assert_eq!(problem.location.as_ref().unwrap().line, Some(3));
        assert_eq!((rows.len(), rows[2].as_ref().unwrap().line), (3, 5));
        // Of rows with nothing but commas each cell takes memory too.
        let commas = ",".repeat(object::RECORD_VALUES + 1);
        let rows = read(format!("instruction,output\n{commas}\nd,e\n").as_bytes()).unwrap();
        assert_eq!((rows[0].is_err(), cells(&rows[1])), (true, vec!["d", "e"]));
    }

    #[test]
    fn a_million_columns_are_read_and_named_once() {
        let names: Vec<_> = (0..1_000_000).map(|column| format!("c{column}")).collect();
        let header = format!("instruction,output,{}", names.join(","));
        let row = format!("a,b,{}", vec![""; names.len()].join(","));
        let rows = read(format!("{header}\n{row}\n").as_bytes()).unwrap();
        assert_eq!(rows[0].as_ref().unwrap().fields.len(), names.len() + 2);
        let twice = read(format!("{header},c999999\n{row},\n").as_bytes()).unwrap_err();
        assert!(twice.to_string().ends_with("names the column `c999999` twice"), "{twice}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(rows in prop::collection::vec((".*", ".*"), 0..8)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["instruction", "output"]).unwrap();
            for (a, b) in &rows {
                writer.write_record([a, b]).unwrap();
            }
            let read = read(&writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(read.len(), rows.len());
            for (row, (a, b)) in read.iter().zip(&rows) {
                prop_assert_eq!(cells(row), [a.as_str(), b.as_str()]);
            }
        }
    }
}
