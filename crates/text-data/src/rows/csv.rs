//! Rows of a CSV file, read one by one.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::Value;

use super::{Fault, Fields, Reason, Rejection, Row, object, source, unreadable};
use crate::error::DataError;

/// What may stand between cells, the first with which the header names a known field.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A header, then one record per row; every cell is a text. Quoted cells may span lines.
pub(super) struct CsvRows {
    path: PathBuf,
    reader: Reader<WatchedFile>,
    names: Vec<String>,
    /// Line breaks that were read from the file and not yet reached by the rows.
    line_breaks: LineBreaks,
    /// Line breaks behind the last row.
    passed: u64,
}

/// Offsets in a file.
type LineBreaks = Rc<RefCell<VecDeque<u64>>>;

/// A file whose line breaks are noted as they are read. The reader's own count of lines is that of records: it
/// leaves out blank lines, and half of what Windows programs write.
struct WatchedFile {
    file: Box<dyn BufRead>,
    offset: u64,
    line_breaks: LineBreaks,
}

impl Read for WatchedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let mut breaks = self.line_breaks.borrow_mut();
        let offsets = (self.offset..).zip(&buffer[..read]);
        breaks.extend(offsets.filter(|(_, byte)| **byte == b'\n').map(|(offset, _)| offset));
        self.offset += read as u64;
        Ok(read)
    }
}

impl CsvRows {
    /// Opens `path`, whose header must name one of `known` at least: a file without a header would lose its first
    /// record and name the columns after it.
    pub(super) fn open(path: &Path, known: &[&str]) -> Result<Self, DataError> {
        let mut header: Vec<String> = Vec::new();
        for delimiter in DELIMITERS {
            // Rows of another length than the header are told apart here, with what they have.
            let mut builder = ReaderBuilder::new();
            let line_breaks = LineBreaks::default();
            let file =
                WatchedFile { file: source::open(path)?, offset: 0, line_breaks: Rc::clone(&line_breaks) };
            let mut reader = builder.delimiter(delimiter).flexible(true).from_reader(file);
            let names = names(path, &mut reader)?;
            if names.iter().any(|name| known.contains(&name.as_str())) {
                repeated(path, &names)?;
                return Ok(Self { path: path.to_owned(), reader, names, line_breaks, passed: 0 });
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

    /// The line on which the row that was just read begins.
    fn line(&mut self, record: &ByteRecord) -> u64 {
        let end = self.reader.position().byte();
        let mut breaks = self.line_breaks.borrow_mut();
        let mut ends_with_break = false;
        while let Some(offset) = breaks.pop_front_if(|offset| *offset < end) {
            self.passed += 1;
            ends_with_break = offset + 1 == end;
        }
        let within = record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
        (self.passed + 1).saturating_sub(u64::from(ends_with_break) + within)
    }

    fn fields(&self, record: &ByteRecord) -> Result<Fields, Fault> {
        if record.len() != self.names.len() {
            let message = format!("the row has {} cells and the header {}", record.len(), self.names.len());
            return Err(Fault::new(Reason::BrokenLine, "data.ragged_row", message)
                .with_hint("quote cells that hold a delimiter, a quote or a line break"));
        }
        let cell = |(name, cell): (&String, &[u8])| match str::from_utf8(cell) {
            Ok(text) => Ok((name.clone(), Value::String(text.to_owned()))),
            Err(error) => Err(object::not_utf8(&format!("column `{name}`"), cell, error)),
        };
        self.names.iter().zip(record).map(cell).collect()
    }
}

impl Iterator for CsvRows {
    type Item = Result<Result<Row, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.line(&record);
                let fields = self.fields(&record).map_err(|fault| fault.at(&self.path, line));
                Some(Ok(fields.map(|fields| Row { line, fields })))
            }
            Err(error) => Some(Err(csv_error(&self.path, error))),
        }
    }
}

fn names(path: &Path, reader: &mut Reader<WatchedFile>) -> Result<Vec<String>, DataError> {
    let header = reader.byte_headers().map_err(|error| csv_error(path, error))?;
    let name = |cell: &[u8]| match str::from_utf8(cell) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(error) => {
            let reason = object::not_utf8("its header", cell, error).message;
            Err(DataError::Table { path: path.to_owned(), format: "CSV", reason })
        }
    };
    header.iter().map(name).collect()
}

fn repeated(path: &Path, names: &[String]) -> Result<(), DataError> {
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    twice.map_or(Ok(()), |(_, name)| {
        let reason = format!("its header names the column `{name}` twice");
        Err(DataError::Table { path: path.to_owned(), format: "CSV", reason })
    })
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let reason = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => unreadable(path)(source),
        _ => DataError::Table { path: path.to_owned(), format: "CSV", reason },
    }
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
