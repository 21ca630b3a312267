//! From the text of a file to records.

use std::{borrow::Cow, collections::HashMap, path::Path, rc::Rc, sync::LazyLock};

use csv::StringRecord;
use greentune_core_config::{
    emissions::EmissionsRecord,
    event::{HIGHEST_FIGURE, is_possible},
};
use serde_json::Value;

use super::{COLUMNS, FileRuns, REQUIRED, malformed_csv, values};
use crate::CarbonError;

/// Columns that CodeCarbon has had since the version named beside each group; all others it has had since 2.3, in the same
/// order. Rows of one version may stand under the header of another.
const ADDED: [&[&str]; 3] = [
    // 2.5
    &["experiment_id"],
    // 3.1
    &["water_consumed", "wue"],
    // 3.2
    &["cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb"],
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

/// The last row of every run, in the order in which the runs first appear, and the rows that cannot be counted.
pub(super) fn of_runs(path: &Path, header: &[u8], rows: &[u8]) -> Result<FileRuns, CarbonError> {
    let mut parser = Parser::new(path, header)?;
    let mut groups = Groups::default();
    if let Some(lines) = plain_lines(rows) {
        for (at, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let row = line.split(char::from(parser.delimiter)).collect::<Vec<_>>().into();
            groups.add(&parser, row, at as u64 + 2);
        }
    } else {
        parser.each(rows, |parser, row| {
            let line = row.position().map_or(0, |position| position.line() + 1);
            groups.add(parser, row.clone(), line);
            Ok(())
        })?;
    }
    let mut runs = FileRuns::default();
    for LastRow { run_id, row, line, header, .. } in groups.rows {
        parser.header = header;
        match parser.record_at(&row, Some(line)).and_then(|record| parser.possible(record, line)) {
            Ok(record) => runs.rows.push(record),
            Err(error) => runs.refused.push((run_id, error)),
        }
    }
    Ok(runs)
}

/// `text`, a file with CodeCarbon's columns, with `own` in the place of the rows of `run_id`; `None` where it has none. A
/// last row that a crash cut short is left out.
pub(super) fn with_row_of(text: &[u8], run_id: &str, own: &[u8]) -> Option<Vec<u8>> {
    let rows_at = text.iter().position(|byte| *byte == b'\n')? + 1;
    let (header, rows) = text.split_at(rows_at);
    let names =
        csv::ReaderBuilder::new().has_headers(false).from_reader(header).into_byte_records().next()?.ok()?;
    let column = names.iter().position(|name| name == b"run_id")?;
    let rows = whole(rows, names.len(), b',');
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(rows);
    let (mut row, mut kept, mut place, mut begin) = (csv::ByteRecord::new(), header.to_vec(), None, 0);
    while reader.read_byte_record(&mut row).ok()? {
        let end = usize::try_from(reader.position().byte()).ok()?;
        if row.get(column) == Some(run_id.as_bytes()) {
            place.get_or_insert(kept.len());
        } else {
            kept.extend_from_slice(&rows[begin..end]);
        }
        begin = end;
    }
    let place = place?;
    if !kept.ends_with(b"\n") {
        kept.push(b'\n');
    }
    kept.splice(place..place, own.iter().copied());
    Some(kept)
}

/// The rows of several runs in one file, the last one of each.
#[derive(Default)]
struct Groups {
    rows: Vec<LastRow>,
    /// Where the newest row of a run stands in `rows`.
    newest: HashMap<String, usize>,
}

struct LastRow {
    run_id: String,
    row: StringRecord,
    line: u64,
    header: Rc<StringRecord>,
    duration: Option<f64>,
}

impl Groups {
    fn add(&mut self, parser: &Parser, row: StringRecord, line: u64) {
        let run_id = parser.cell(&row, "run_id").unwrap_or_default().trim().to_owned();
        let duration = parser.cell(&row, "duration").and_then(|text| parser.number(text));
        let header = Rc::clone(&parser.header);
        let now = LastRow { run_id: run_id.clone(), row, line, header, duration };
        // Rows of a run are cumulative. One that is shorter than the row before it is another measurement.
        let goes_on = |last: &LastRow| last.duration.zip(duration).is_none_or(|(last, now)| now >= last);
        if let Some(at) = self.newest.get(&run_id).filter(|at| goes_on(&self.rows[**at])) {
            self.rows[*at] = now;
        } else {
            self.newest.insert(run_id, self.rows.len());
            self.rows.push(now);
        }
    }
}

/// The lines of rows that need no CSV reader: without quotes, all whole and under the first header.
fn plain_lines(rows: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let rows = str::from_utf8(rows).ok()?;
    let is_plain = !rows.contains(['"', '\r']) && !rows.contains(REQUIRED[2]);
    let lines = rows.strip_suffix('\n').or_else(|| rows.is_empty().then_some(""))?;
    is_plain.then(|| lines.split('\n'))
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
    header: Rc<StringRecord>,
    delimiter: u8,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path, header: &[u8]) -> Result<Self, CarbonError> {
        // A CSV reader takes longer to set up than a file of a run takes to read.
        if header.trim_ascii_end() == super::HEADER.as_bytes() {
            return Ok(Self { path, header: Rc::new(COLUMNS.to_vec().into()), delimiter: b',' });
        }
        let delimiter = delimiter(header);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(header);
        let header = reader.headers().map_err(|error| malformed_csv(path, &error))?.clone();
        if let Some(missing) = missing(&header) {
            let message = format!("has no column {missing:?}, so it is not an emissions file of CodeCarbon");
            return Err(CarbonError::malformed(path, Some(1), message));
        }
        Ok(Self { path, header: Rc::new(header), delimiter })
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
                self.header = Rc::new(row.clone());
            } else {
                row_found(self, &row)?;
            }
        }
        Ok(())
    }

    fn record(&self, row: &StringRecord) -> Result<EmissionsRecord, CarbonError> {
        self.record_at(row, row.position().map(|position| position.line() + 1))
    }

    /// The text of a row in the column `name`.
    fn cell<'r>(&self, row: &'r StringRecord, name: &str) -> Option<&'r str> {
        // Most rows are under CodeCarbon's own columns.
        let usual = COLUMNS.iter().position(|column| *column == name)?;
        if row.len() == self.header.len() && self.header.get(usual) == Some(name) {
            return row.get(usual);
        }
        row.get(self.names(row.len())?.iter().position(|column| *column == name)?)
    }

    /// Refuses a row whose energy, emissions or time no meter measures.
    fn possible(&self, record: EmissionsRecord, line: u64) -> Result<EmissionsRecord, CarbonError> {
        let figures = [
            ("duration", record.duration),
            ("emissions", record.emissions),
            ("energy_consumed", record.energy_consumed),
            ("cpu_energy", record.cpu_energy),
            ("gpu_energy", record.gpu_energy),
            ("ram_energy", record.ram_energy),
        ];
        match figures.into_iter().find(|(_, value)| !is_possible(*value)) {
            None => Ok(record),
            Some((column, value)) => {
                let message =
                    format!("column {column:?} is {value}; allowed is a number from 0 to {HIGHEST_FIGURE:e}");
                Err(CarbonError::malformed(self.path, Some(line), message))
            }
        }
    }

    fn record_at(&self, row: &StringRecord, line: Option<u64>) -> Result<EmissionsRecord, CarbonError> {
        let malformed = |message: String| CarbonError::malformed(self.path, line, message);
        let names = self.names(row.len()).ok_or_else(|| {
            malformed(format!(
                "has {} columns where its header has {}; allowed are that many, and as CodeCarbon writes them 31 (2.3), \
                 32 (2.5), 34 (3.1) and 38 (3.2)",
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
        let layout = |groups: usize| -> Vec<&str> {
            let later = &ADDED[groups..];
            COLUMNS.into_iter().filter(|column| !later.iter().any(|added| added.contains(column))).collect()
        };
        (0..=ADDED.len()).map(layout).find(|layout| layout.len() == columns)
    }

    /// The text of a field as it is read into a record; `None` for what is no finite number where there must be one.
    fn field<'t>(&self, text: &'t str, kind: Kind) -> Option<Cow<'t, str>> {
        if kind == Kind::Text {
            return Some(text.into());
        }
        let number = self.decimal(text);
        let value = self.number(text)?;
        match kind {
            Kind::Count if value < 0.0 => None,
            // A count may be written as `8.0`.
            Kind::Count => Some(value.round().to_string().into()),
            _ => Some(number),
        }
    }
}

impl Parser<'_> {
    /// A number as Rust reads it.
    fn decimal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let number: Cow<str> = text.trim().into();
        // The decimal comma of the locales whose lists need semicolons.
        if self.delimiter != b',' && !number.contains('.') {
            number.replacen(',', ".", 1).into()
        } else {
            number
        }
    }

    /// A finite number; `None` for anything else.
    fn number(&self, text: &str) -> Option<f64> {
        self.decimal(text).parse().ok().filter(|value: &f64| value.is_finite())
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
