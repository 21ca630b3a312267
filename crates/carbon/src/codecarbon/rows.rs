//! From the text of a file to records.

use std::path::Path;

use csv::StringRecord;
use greentune_core_config::emissions::EmissionsRecord;
use serde_json::{Map, Number, Value};

use super::{COLUMNS, REQUIRED, malformed_csv, values};
use crate::CarbonError;

/// Columns of CodeCarbon 2.3: their rows may stand under a later header, and later rows under theirs.
const COLUMNS_2_3: [&str; 31] = [
    "timestamp",
    "project_name",
    "run_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "on_cloud",
    "pue",
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
    let mut last = None;
    let mut parser = Parser::new(path, header)?;
    parser.each(rows, |_, row| {
        last = Some(row.clone());
        Ok(())
    })?;
    last.map(|row| parser.record(&row)).transpose()
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

struct Parser<'a> {
    path: &'a Path,
    header: StringRecord,
    delimiter: u8,
    /// The values that CodeCarbon itself assumes where an older file lacks the column.
    defaults: Map<String, Value>,
}

impl<'a> Parser<'a> {
    fn new(path: &'a Path, header: &[u8]) -> Result<Self, CarbonError> {
        let delimiter = delimiter(header);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(header);
        let header = reader.headers().map_err(|error| malformed_csv(path, &error))?.clone();
        if let Some(missing) = missing(&header) {
            let message = format!("has no column {missing:?}, so it is not an emissions file of CodeCarbon");
            return Err(CarbonError::malformed(path, Some(1), message));
        }
        let absent = EmissionsRecord { on_cloud: "N".into(), pue: 1.0, ..EmissionsRecord::default() };
        Ok(Self { path, header, delimiter, defaults: values(path, &absent)? })
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
        let mut values = self.defaults.clone();
        for (column, text) in names.into_iter().zip(row) {
            let Some(value) = values.get_mut(column) else { continue };
            match value {
                Value::String(known) => text.clone_into(known),
                ref default => match self.number(text, default) {
                    Some(number) => *value = number,
                    None if is_absent(text) && !REQUIRED.contains(&column) => {}
                    None => {
                        let message = format!("column {column:?} is {text:?}; allowed is a finite number");
                        return Err(malformed(message));
                    }
                },
            }
        }
        serde_json::from_value(Value::Object(values)).map_err(|error| malformed(error.to_string()))
    }

    /// The columns of a row by how many it has.
    fn names(&self, columns: usize) -> Option<Vec<&str>> {
        if columns == self.header.len() {
            return Some(self.header.iter().collect());
        }
        [&COLUMNS[..], &COLUMNS_2_3].into_iter().find(|known| known.len() == columns).map(<[_]>::to_vec)
    }

    /// A finite number of the default's kind; a count may be written as `8.0`.
    fn number(&self, text: &str, default: &Value) -> Option<Value> {
        let text = text.trim();
        let number: f64 = match self.delimiter {
            b',' => text.parse().ok()?,
            // The decimal comma of the locales whose lists need semicolons.
            _ if text.contains('.') => text.parse().ok()?,
            _ => text.replacen(',', ".", 1).parse().ok()?,
        };
        if default.is_u64() && number >= 0.0 && number.is_finite() {
            return Some(Value::Number(Number::from(number.round() as u64)));
        }
        Number::from_f64(number).map(Value::Number)
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
