//! Rows of a JSONL file, read line by line.

use std::{
    io::{BufRead, Read},
    path::{Path, PathBuf},
};

use super::{Fault, Rejection, Row, object, unreadable};
use crate::error::DataError;

/// One JSON object per line; blank lines are skipped.
pub(super) struct JsonLines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: u64,
}

impl JsonLines {
    /// The lines that `reader` reads of `path`.
    pub(super) fn new(path: &Path, reader: Box<dyn BufRead>) -> Self {
        Self { path: path.to_owned(), reader, line: 0 }
    }

    /// The next line that is not blank, or the fault of one that is too long; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Result<Vec<u8>, Fault>>, DataError> {
        loop {
            let mut bytes = Vec::new();
            let mut start = (&mut self.reader).take(object::RECORD_BYTES as u64);
            let read = start.read_until(b'\n', &mut bytes).map_err(unreadable(&self.path))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if read == object::RECORD_BYTES && !bytes.ends_with(b"\n") {
                self.reader.skip_until(b'\n').map_err(unreadable(&self.path))?;
                return Ok(Some(Err(object::too_long("the line"))));
            }
            // Windows programs put a byte order mark in front of the first line; JSON allows none.
            if self.line == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
                bytes.drain(..3);
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Ok(bytes)));
            }
        }
    }
}

impl Iterator for JsonLines {
    type Item = Result<Result<Row, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line().transpose()?;
        Some(line.map(|bytes| {
            let fields = bytes.and_then(|bytes| object::fields(&bytes, self.line, "the line"));
            fields
                .map(|fields| Row { line: self.line, fields })
                .map_err(|fault| fault.at(&self.path, self.line))
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Reason, source},
        *,
    };

    fn open(path: &Path) -> Result<JsonLines, DataError> {
        Ok(JsonLines::new(path, source::open(path)?))
    }

    fn read(bytes: &[u8]) -> Vec<Result<Row, Rejection>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        std::fs::write(&path, bytes).unwrap();
        open(&path).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn blank_lines_are_skipped_and_counted() {
        let text = "\u{feff}{\"a\":1}\r\n\n  \n{\"a\":{\"k\":1}}";
        let rows: Vec<_> = read(text.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(rows[1].fields["a"]["k"], 1);
    }

    #[test]
    fn a_bad_line_does_not_hide_the_next() {
        let mut bytes = b"{\"instruction\": \"a\", \"outp\n[1]\n".to_vec();
        bytes.extend(b"{\"instruction\":\"\xff\"}\n{\"instruction\":\"a\",\"output\":\"b\"}\n");
        let lines = read(&bytes);
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
    fn deep_nesting_is_a_broken_line() {
        let rejection = read("[".repeat(100_000).as_bytes()).remove(0).unwrap_err();
        assert_eq!(rejection.reason, Reason::BrokenLine);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_and_hides_nothing() {
        let long = "x".repeat(100 << 20);
        let rows = read(format!("{{\"a\":1}}\n{{\"a\":\"{long}\"}}\n{{\"a\":2}}\n").as_bytes());
        let problem = &rows[1].as_ref().unwrap_err().problem;
        assert_eq!(problem.message, "the line is longer than 64 MiB");
        assert_eq!(problem.location.as_ref().unwrap().line, Some(2));
        assert_eq!((rows.len(), rows[2].as_ref().unwrap().line), (3, 3));
    }

    #[test]
    fn what_a_problem_quotes_of_a_record_is_cut() {
        let rows = read(format!("{{\"{}\":", "é".repeat(9999)).as_bytes());
        let fault = Fault::new(Reason::BrokenLine, "c", "é".repeat(9999));
        assert!(fault.at(Path::new("a"), 1).problem.message.len() < 1100);
        assert!(rows[0].is_err());
    }

    #[test]
    fn missing_file_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let missing = open(&folder.path().join("no.jsonl")).err().unwrap();
        assert!(matches!(missing, DataError::NotFound { .. }));
        let read = open(folder.path()).map(|mut rows| rows.next());
        assert!(matches!(
            read,
            Err(DataError::Unreadable { .. }) | Ok(Some(Err(DataError::Unreadable { .. })))
        ));
    }

    proptest! {
        #[test]
        // A text with zero bytes may be taken for UTF-16.
        fn any_bytes_give_one_outcome_per_line(lines in prop::collection::vec("[^\r\n\0]{1,40}", 0..8)) {
            let outcomes = read(lines.join("\n").as_bytes());
            let blank = |line: &&String| !line.trim_start_matches('\u{feff}').as_bytes().trim_ascii().is_empty();
            prop_assert!(outcomes.len() <= lines.len());
            prop_assert!(outcomes.len() >= lines.iter().filter(blank).count());
        }
    }
}
