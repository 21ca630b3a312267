//! Rows of a JSON file that is no file of lines: a list of records, an object that holds one, or records written over
//! several lines. They are read one by one, never the whole file.

use std::{
    io::{BufRead, Cursor, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Rejection, Row, Rows, jsonl::JsonLines, object, source, unreadable};
use crate::error::DataError;

/// Keys under which a file may hold its list of records, in any case.
const LIST_KEYS: [&str; 20] = [
    "data",
    "train",
    "training",
    "validation",
    "valid",
    "val",
    "dev",
    "test",
    "testing",
    "eval",
    "rows",
    "records",
    "examples",
    "instances",
    "items",
    "samples",
    "entries",
    "dataset",
    "questions",
    "results",
];

/// Bytes of a file that are looked at to tell what it holds.
const START_BYTES: u64 = 64 << 10;

/// How a file holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One per line.
    Lines,
    /// In a list.
    List,
    /// In a list that an object holds.
    ListInObject,
    /// One behind the other, over several lines each.
    Objects,
}

/// Opens the JSON file `path`; `known` are the fields that a record may have.
pub(super) fn open(path: &Path, known: &[&str]) -> Result<Rows, DataError> {
    let mut reader = source::open(path)?;
    let mut start = Vec::new();
    (&mut reader).take(START_BYTES).read_to_end(&mut start).map_err(unreadable(path))?;
    let layout = layout(&start, (start.len() as u64) < START_BYTES, known);
    let reader: Box<dyn BufRead> = Box::new(Cursor::new(start).chain(reader));
    Ok(match layout {
        Layout::Lines => Box::new(JsonLines::new(path, reader)),
        layout => Box::new(JsonValues::new(path, reader, layout)),
    })
}

fn layout(start: &[u8], is_whole: bool, known: &[&str]) -> Layout {
    let text = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    let line_end = text.iter().position(|byte| *byte == b'\n');
    let (line, behind) = text.split_at(line_end.unwrap_or(text.len()));
    let behind = behind.trim_ascii_start();
    let has_one_line = is_whole && behind.is_empty();
    let line_is_whole = (line_end.is_some() || is_whole) && serde_json::from_slice::<Value>(line).is_ok();
    match text.first() {
        Some(b'[') if line_is_whole && !behind.is_empty() => Layout::Lines,
        Some(b'[') => match first_letters(&text[1..]) {
            [b'{' | b']', _] | [b'[', b'{'] => Layout::List,
            _ => Layout::Lines,
        },
        Some(b'{') if line_is_whole && !has_one_line => Layout::Lines,
        Some(b'{') if holds_list(text, known) => Layout::ListInObject,
        Some(b'{') if line_end.is_some() && !line_is_whole && goes_on(line, behind) => Layout::Objects,
        _ => Layout::Lines,
    }
}

/// The first two bytes but for white space; zeros where there are none.
fn first_letters(text: &[u8]) -> [u8; 2] {
    let mut letters = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    [letters.next().unwrap_or_default(), letters.next().unwrap_or_default()]
}

/// Whether an object that begins with this line is written over several lines, as what is behind the line shows.
fn goes_on(line: &[u8], behind: &[u8]) -> bool {
    matches!(
        (line.trim_ascii_end().last(), behind.first()),
        (Some(b'{' | b','), Some(b'"'))
            | (Some(b'['), Some(b'{' | b'[' | b']' | b'"'))
            | (Some(b':'), Some(_))
    )
}

/// Whether the object at the beginning of `text` holds a list of records under one of the usual keys, and is no record.
fn holds_list(text: &[u8], known: &[&str]) -> bool {
    let (mut depth, mut key, mut at, mut found) = (0_usize, None, 0, false);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let Some(length) = string_length(&text[at..]) else { return found };
                let string = &text[at + 1..at + length - 1];
                if depth == 1 && text[at + length..].trim_ascii_start().first() == Some(&b':') {
                    let name = String::from_utf8_lossy(string).into_owned();
                    if known.contains(&name.as_str()) {
                        return false;
                    }
                    key = Some(name);
                }
                at += length;
                continue;
            }
            b'[' if depth == 1 && key.as_deref().is_some_and(is_list_key) => {
                found |= matches!(first_letters(&text[at + 1..]), [b'{' | b']', _] | [b'[', b'{']);
                depth += 1;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return found;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_list_key(key: &str) -> bool {
    LIST_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// Bytes of the string with which `text` begins, its quotes included; `None` when it does not end.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().enumerate().skip(1).find_map(|(at, byte)| match byte {
        _ if escaped => {
            escaped = false;
            None
        }
        b'\\' => {
            escaped = true;
            None
        }
        b'"' => Some(at + 1),
        _ => None,
    })
}

/// Where the next record is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Before the first record.
    Begin(Layout),
    /// Among the records of a list, which stands under this key of an object or by itself.
    InList(Option<String>),
    /// Behind the list that stands under this key of an object.
    BehindList(String),
    /// Behind a list that stands by itself.
    End,
    Objects,
    Done,
}

/// Values that are records.
struct JsonValues {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: u64,
    state: State,
}

/// The text of a value, and the line on which it begins.
struct Captured {
    bytes: Vec<u8>,
    line: u64,
    is_too_long: bool,
}

impl JsonValues {
    fn new(path: &Path, reader: Box<dyn BufRead>, layout: Layout) -> Self {
        Self { path: path.to_owned(), reader, line: 1, state: State::Begin(layout) }
    }

    fn next_row(&mut self) -> Result<Option<Result<Row, Rejection>>, DataError> {
        loop {
            match self.state.clone() {
                State::Begin(layout) => {
                    while self.peek()?.is_some_and(|byte| !matches!(byte, b'[' | b'{')) {
                        self.take()?;
                    }
                    match layout {
                        Layout::List => {
                            self.take()?;
                            self.state = State::InList(None);
                        }
                        Layout::ListInObject => {
                            self.take()?;
                            self.enter_list(None)?;
                        }
                        Layout::Lines | Layout::Objects => self.state = State::Objects,
                    }
                }
                State::InList(key) => {
                    if self.after_space_and_commas()? == Some(b']') {
                        self.take()?;
                        self.state = key.map_or(State::End, State::BehindList);
                        continue;
                    }
                    return self.value().map(|value| Some(self.row(&value)));
                }
                State::BehindList(key) => self.enter_list(Some(&key))?,
                State::End => {
                    self.state = State::Done;
                    if self.after_space_and_commas()?.is_some() {
                        return Err(self
                            .broken(format!("something follows the end of its list on line {}", self.line)));
                    }
                }
                State::Objects => {
                    if self.after_space_and_commas()?.is_none() {
                        self.state = State::Done;
                        continue;
                    }
                    return self.value().map(|value| Some(self.row(&value)));
                }
                State::Done => return Ok(None),
            }
        }
    }

    /// Goes to the next list of records in the object; there must not be one when `read` is a list's key.
    fn enter_list(&mut self, read: Option<&str>) -> Result<(), DataError> {
        loop {
            if self.after_space_and_commas()? == Some(b'}') {
                self.state = State::Done;
                return Ok(());
            }
            let name = self.value()?;
            let name: String = serde_json::from_slice(&name.bytes)
                .map_err(|_| self.broken(format!("a key is expected on line {}", name.line)))?;
            if self.after_space_and_commas()? != Some(b':') {
                return Err(self.broken(format!("`:` is expected on line {}", self.line)));
            }
            self.take()?;
            if !is_list_key(&name) || self.after_space_and_commas()? != Some(b'[') {
                self.value()?;
                continue;
            }
            if let Some(read) = read {
                return Err(self.broken(format!("it holds several lists of records, `{read}` and `{name}`")));
            }
            self.take()?;
            self.state = State::InList(Some(name));
            return Ok(());
        }
    }

    fn row(&self, value: &Captured) -> Result<Row, Rejection> {
        let what = "the record";
        let fields = if value.is_too_long {
            Err(object::too_long(what))
        } else {
            object::fields(&value.bytes, value.line, what)
        };
        let mut fields = fields.map_err(|fault| fault.at(&self.path, value.line))?;
        // The Hub's data server wraps each record.
        if fields.contains_key("row_idx")
            && let Some(Value::Object(row)) = fields.get_mut("row")
        {
            fields = std::mem::take(row);
        }
        Ok(Row { line: value.line, fields })
    }

    /// The value that begins here.
    fn value(&mut self) -> Result<Captured, DataError> {
        let mut captured = Captured { bytes: Vec::new(), line: self.line, is_too_long: false };
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        loop {
            let Some(byte) = self.peek()? else {
                return Err(
                    self.broken(format!("the value that begins on line {} does not end", captured.line))
                );
            };
            let is_bare = depth == 0 && !in_string && !captured.bytes.is_empty();
            if is_bare && (byte.is_ascii_whitespace() || matches!(byte, b',' | b':' | b']' | b'}')) {
                return Ok(captured);
            }
            self.take()?;
            if captured.bytes.len() < object::RECORD_BYTES {
                captured.bytes.push(byte);
            } else {
                captured.is_too_long = true;
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !in_string && matches!(byte, b'}' | b']' | b'"') {
                return Ok(captured);
            }
        }
    }

    fn after_space_and_commas(&mut self) -> Result<Option<u8>, DataError> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() || byte == b',' => self.take()?,
                byte => return Ok(byte),
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        self.reader.fill_buf().map(|bytes| bytes.first().copied()).map_err(unreadable(&self.path))
    }

    fn take(&mut self) -> Result<(), DataError> {
        if let Some(byte) = self.peek()? {
            self.line += u64::from(byte == b'\n');
            self.reader.consume(1);
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> DataError {
        DataError::Table { path: self.path.clone(), format: "JSON", reason }
    }
}

impl Iterator for JsonValues {
    type Item = Result<Result<Row, Rejection>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_row();
        if row.is_err() {
            self.state = State::Done;
        }
        row.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["instruction", "output", "messages"];

    fn read(text: &str) -> Result<Vec<Result<Row, Rejection>>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        std::fs::write(&path, text).unwrap();
        open(&path, &KNOWN)?.collect()
    }

    /// Line and `n` of each record.
    fn numbers(text: &str) -> Vec<(u64, u64)> {
        let rows = read(text).unwrap();
        rows.into_iter()
            .map(Result::unwrap)
            .map(|row| (row.line, row.fields["n"].as_u64().unwrap()))
            .collect()
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn lists_objects_and_lines_give_the_same_records() {
        for (text, lines) in [
            ("{\"n\":1}\n{\"n\":2}\n", [1, 2]),
            ("[{\"n\":1},{\"n\":2}]", [1, 1]),
            ("\u{feff}\n[\n  {\n    \"n\": 1\n  },\n  {\n    \"n\": 2\n  }\n]\n", [3, 6]),
            ("[{\"n\":1},\n{\"n\":2}]\n", [1, 2]),
            ("{\"data\":[{\"n\":1},{\"n\":2}]}", [1, 1]),
            (
                "{\"version\": \"1\", \"Train\": [\n{\"n\":1},\n{\"n\":2}\n], \"info\": {\"a\": [1]}}\n",
                [2, 3],
            ),
            (
                "{\n  \"rows\": [\n    {\"row_idx\": 0, \"row\": {\"n\":1}},\n    {\"row_idx\": 1, \"row\": {\"n\":2}}]}",
                [3, 4],
            ),
            ("{\n  \"n\": 1\n}\n{\n  \"n\": 2\n}\n", [1, 4]),
            ("{\"n\": 1,\n \"m\": 2}\n{\"n\": 2}\n", [1, 3]),
        ] {
            assert_eq!(numbers(text), [(lines[0], 1), (lines[1], 2)], "{text}");
        }
        assert_eq!(read("[]").unwrap().len(), 0);
    }

    #[test]
    fn a_list_longer_than_what_is_looked_at_is_read_whole() {
        let records: Vec<_> = (0..20_000).map(|n| format!("{{\"n\":{n},\"t\":\"[{{]\\\"\"}}")).collect();
        for text in [format!("[{}]", records.join(",")), format!("{{\"data\":[{}]}}", records.join(",\n"))] {
            assert_eq!(numbers(&text).len(), 20_000);
        }
    }

    #[test]
    fn records_that_hold_lists_are_records() {
        let turn = "[{\"role\":\"user\"}]";
        for text in [
            format!("{{\"messages\":{turn},\"n\":1}}\n"),
            format!("{{\"instruction\":\"a\",\"data\":{turn},\"n\":1}}"),
            format!("{{\"data\":{turn},\"n\":1}}\n{{\"n\":2}}\n"),
        ] {
            assert!(numbers(&text).starts_with(&[(1, 1)]), "{text}");
        }
        assert_eq!(read(&format!("{turn}\n{turn}\n")).unwrap().len(), 2);
        assert_eq!(read(&format!("[{turn},{turn}]")).unwrap().len(), 2);
    }

    #[test]
    fn a_broken_record_does_not_hide_the_next_and_is_told_by_line() {
        let rows = read("[\n{\"n\":1},\n{\"n\" 2},\n3,\n{\"n\":NaN},\n{\"n\":4}\n]").unwrap();
        assert_eq!(rows.len(), 5);
        let lines: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
        let lines: Vec<_> =
            lines.iter().map(|row| row.problem.location.as_ref().unwrap().line.unwrap()).collect();
        assert_eq!(lines, [3, 4]);
    }

    #[test]
    fn a_file_that_is_cut_or_holds_several_lists_is_refused() {
        assert!(error("[\n{\"n\":1},\n{\"n\":").contains("begins on line 3 does not end"));
        assert!(error("[{\"n\":1}").contains("does not end"));
        let several = error("{\"train\":[{\"n\":1}],\"test\":[{\"n\":2}]}");
        assert!(several.ends_with("several lists of records, `train` and `test`"), "{several}");
        assert!(error("[{\"n\":1}]]").contains("follows the end of its list on line 1"));
    }
}
