//! From the text of a file to records.

use std::{borrow::Cow, path::Path, sync::LazyLock};

use csv::StringRecord;
use greentune_core_config::emissions::EmissionsRecord;
use serde_json::Value;

use super::{COLUMNS, REQUIRED, malformed_csv, values};
use crate::CarbonError;

/// Columns that CodeCarbon 2.3 did not have; its other 31 are in the same order. Its rows may stand under a later header,
/// and later rows under theirs.
const SINCE_2_3: [&str; 7] = [
    "experiment_id",
    "water_consumed",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "wue",
];

/// Every row under `header`. Lines are counted as if `rows` followed the header at once.
pub(super) fn all(path: &Path, header: &[u8], rows: &[u8]) -> Result<Vec<EmissionsRecord>, CarbonError> {
    let mut records = Vec::new();
    let mut parser = Parser::new(path, header)?;
    parser.each(rows, |parser, row| {
        records.push(parser.record(row)?);
        Ok(())
    })?;
    Ok(records)
}

/// The last row alone; those before it are not looked into.
pub(super) fn last(path: &Path, header: &[u8], rows: &[u8]) -> Result<Option<EmissionsRecord>, CarbonError> {
    let mut parser = Parser::new(path, header)?;
    // The other lines are needed where this one is wrong: for its number, among others.
    if let Some(row) = last_line(rows).and_then(|line| parser.split(line))
        && let Ok(record) = parser.record(&row)
    {
        return Ok(Some(record));
    }
    let mut last = None;
    parser.each(rows, |_, row| {
        last = Some(row.clone());
        Ok(())
    })?;
    last.map(|row| parser.record(&row)).transpose()
}

/// The last line where it is for sure the last row, whole and under the first header: most files.
fn last_line(rows: &[u8]) -> Option<&str> {
    let rows = str::from_utf8(rows).ok()?;
    let lines = rows.strip_suffix('\n')?;
    let line = lines.rsplit('\n').next()?;
    // A line that begins inside quotes and ends outside has an odd number of them.
    let even = |text: &str| text.matches('"').count().is_multiple_of(2);
    (!rows.contains(REQUIRED[2]) && even(line) && even(rows)).then_some(line)
}

/// The delimiter of a file by its header.
pub(super) fn delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: u8| header.split(|byte| *byte == delimiter).count();
    // The last of equals wins, so that a header without any gets the comma.
    b"\t;,".iter().copied().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// `text` without a last row that a crash cut short: one that lacks both its line's end and some of its columns.
pub(super) fn whole(text: &[u8], columns: usize, delimiter: u8) -> &[u8] {
    let (rows, last) = text.split_at(end_of_last_line(text, delimiter));
    if last.is_empty() {
        return rows;
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(last);
    let is_whole = matches!(reader.byte_records().next(), Some(Ok(row)) if row.len() == columns);
    if is_whole { text } else { rows }
}

/// Where the line after the last complete one begins; a line's end inside quotes is none.
fn end_of_last_line(text: &[u8], delimiter: u8) -> usize {
    let (mut quoted, mut at_field, mut end) = (false, true, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            // A doubled quote closes the field and opens it again.
            b'"' if quoted => (quoted, at_field) = (false, true),
            b'"' if at_field => (quoted, at_field) = (true, false),
            _ if quoted => {}
            b'\n' => (end, at_field) = (at + 1, true),
            byte => at_field = *byte == delimiter,
        }
    }
    end
}

/// What a column holds, and what CodeCarbon itself assumes where an older file lacks it.
struct Column {
    kind: Kind,
    default: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    Count,
}

static DEFAULTS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let absent = EmissionsRecord { on_cloud: "N".into(), pue: 1.0, ..EmissionsRecord::default() };
    let values = values(Path::new(""), &absent).unwrap_or_default();
    let column = |name: &&str| match values.get(*name) {
        Some(Value::String(text)) => Column { kind: Kind::Text, default: text.clone() },
        Some(count) if count.is_u64() => Column { kind: Kind::Count, default: count.to_string() },
        Some(number) if number.is_number() => Column { kind: Kind::Number, default: number.to_string() },
        _ => Column { kind: Kind::Number, default: String::new() },
    };
    COLUMNS.iter().map(column).collect()
});

struct Parser<'a> {
    path: &'a Path,
    header: StringRecord,
    delimiter: u8,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path, header: &[u8]) -> Result<Self, CarbonError> {
        // A CSV reader takes longer to set up than a file of a run takes to read.
        if header.trim_ascii_end() == super::HEADER.as_bytes() {
            return Ok(Self { path, header: COLUMNS.to_vec().into(), delimiter: b',' });
        }
        let delimiter = delimiter(header);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(header);
        let header = reader.headers().map_err(|error| malformed_csv(path, &error))?.clone();
        if let Some(missing) = missing(&header) {
            let message = format!("has no column {missing:?}, so it is not an emissions file of CodeCarbon");
            return Err(CarbonError::malformed(path, Some(1), message));
        }
        Ok(Self { path, header, delimiter })
    }

    /// The fields of a line.
    fn split(&self, line: &str) -> Option<StringRecord> {
        if !line.contains(['"', '\r']) {
            return Some(line.split(char::from(self.delimiter)).collect::<Vec<_>>().into());
        }
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).delimiter(self.delimiter).from_reader(line.as_bytes());
        reader.into_records().next()?.ok()
    }

    fn each(
        &mut self,
        rows: &[u8],
        mut row_found: impl FnMut(&Self, &StringRecord) -> Result<(), CarbonError>,
    ) -> Result<(), CarbonError> {
        let rows = whole(rows, self.header.len(), self.delimiter);
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(rows);
        let mut row = StringRecord::new();
        while reader.read_record(&mut row).map_err(|error| malformed_csv(self.path, &error))? {
            // Files that were joined have their headers between the rows.
            if missing(&row).is_none() {
                self.header.clone_from(&row);
            } else {
                row_found(self, &row)?;
            }
        }
        Ok(())
    }

    fn record(&self, row: &StringRecord) -> Result<EmissionsRecord, CarbonError> {
        let line = row.position().map(|position| position.line() + 1);
        let malformed = |message: String| CarbonError::malformed(self.path, line, message);
        let names = self.names(row.len()).ok_or_else(|| {
            malformed(format!(
                "has {} columns where its header has {}; allowed are that many, 31 (CodeCarbon 2.3) and 38 (3.3)",
                row.len(),
                self.header.len()
            ))
        })?;
        let mut fields: Vec<Cow<str>> =
            DEFAULTS.iter().map(|column| column.default.as_str().into()).collect();
        for (at, (name, text)) in names.into_iter().zip(row).enumerate() {
            let is_here = COLUMNS.get(at).is_some_and(|column| *column == name);
            let place = if is_here { Some(at) } else { COLUMNS.iter().position(|column| *column == name) };
            let Some(place) = place else { continue };
            match self.field(text, DEFAULTS[place].kind) {
                Some(field) => fields[place] = field,
                None if is_absent(text) && !REQUIRED.contains(&name) => {}
                None => {
                    let message = format!("column {name:?} is {text:?}; allowed is a finite number");
                    return Err(malformed(message));
                }
            }
        }
        let fields: StringRecord = fields.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
        fields.deserialize(None).map_err(|error| malformed(error.to_string()))
    }

    /// The columns of a row by how many it has.
    fn names(&self, columns: usize) -> Option<Vec<&str>> {
        if columns == self.header.len() {
            return Some(self.header.iter().collect());
        }
        let of_2_3 = COLUMNS.into_iter().filter(|column| !SINCE_2_3.contains(column));
        let mut known = [COLUMNS.to_vec(), of_2_3.collect()].into_iter();
        known.find(|known| known.len() == columns)
    }

    /// The text of a field as it is read into a record; `None` for what is no finite number where there must be one.
    fn field<'t>(&self, text: &'t str, kind: Kind) -> Option<Cow<'t, str>> {
        if kind == Kind::Text {
            return Some(text.into());
        }
        let mut number: Cow<str> = text.trim().into();
        // The decimal comma of the locales whose lists need semicolons.
        if self.delimiter != b',' && !number.contains('.') {
            number = number.replacen(',', ".", 1).into();
        }
        let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite())?;
        match kind {
            Kind::Count if value < 0.0 => None,
            // A count may be written as `8.0`.
            Kind::Count => Some(value.round().to_string().into()),
            _ => Some(number),
        }
    }
}

/// pandas writes an absent number as nothing; Python's own csv as `None` or `nan`; a division by 0 gives `inf`.
fn is_absent(text: &str) -> bool {
    let text = text.trim();
    matches!(text, "" | "None" | "null" | "NA" | "N/A" | "<NA>")
        || text.parse::<f64>().is_ok_and(|number| !number.is_finite())
}

fn missing(names: &StringRecord) -> Option<&'static str> {
    REQUIRED.into_iter().find(|column| !names.iter().any(|name| name == *column))
}
