//! CodeCarbon's `emissions.csv`, 3.3: 38 columns, read by name and written exactly.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use greentune_core_config::emissions::EmissionsRecord;
use serde_json::{Map, Number, Value};

use crate::{CarbonError, durable};

/// The columns of CodeCarbon 3.3, in its order.
pub const COLUMNS: [&str; 38] = [
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
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
    "water_consumed",
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
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
];

/// Bytes in which the end of a file is looked through for its last row.
const LONGEST_ROW: u64 = 64 * 1024;

/// Columns without which a file is not CodeCarbon's.
const REQUIRED: [&str; 3] = ["duration", "emissions", "energy_consumed"];

/// Writes `records` to `path`, replacing what is there in one step. Missing folders are created.
pub fn write(path: &Path, records: &[EmissionsRecord]) -> Result<(), CarbonError> {
    let mut text = row(path, COLUMNS.map(String::from).to_vec())?;
    for record in records {
        text.extend(row(path, fields(path, record, &COLUMNS)?)?);
    }
    durable::replace(path, &text)
}

/// Appends `record` to `path` and flushes it to the disk; a new file gets the header.
///
/// Columns in another order are kept in theirs; a file with other columns is set aside as `.bak` (CodeCarbon does both).
/// A row that a crash cut short is dropped first. Returns the file that was set aside.
pub fn append(path: &Path, record: &EmissionsRecord) -> Result<Option<PathBuf>, CarbonError> {
    let Some(header) = read_header(path)? else {
        write(path, std::slice::from_ref(record))?;
        return Ok(None);
    };
    let (mut sorted, mut expected) = (header.clone(), COLUMNS.map(String::from).to_vec());
    sorted.sort_unstable();
    expected.sort_unstable();
    if sorted != expected {
        let aside = set_aside(path)?;
        write(path, std::slice::from_ref(record))?;
        return Ok(Some(aside));
    }
    let columns: Vec<&str> = header.iter().map(String::as_str).collect();
    let text = row(path, fields(path, record, &columns)?)?;
    append_row(path, columns.len(), &text).map_err(CarbonError::file("write", path))?;
    Ok(None)
}

/// The rows of `path`, by column name: absent columns get defaults, unknown ones are passed over, and so is a last row
/// that a crash cut short. A file that does not exist, or is empty, has no rows.
pub fn read(path: &Path) -> Result<Vec<EmissionsRecord>, CarbonError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CarbonError::file("read", path)(error)),
    };
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let header = csv::Reader::from_reader(text.as_slice())
        .headers()
        .map_err(|error| malformed_csv(path, &error))?
        .clone();
    if let Some(missing) = REQUIRED.iter().find(|column| !header.iter().any(|name| name == **column)) {
        let message = format!("has no column {missing:?}, so it is not an emissions file of CodeCarbon");
        return Err(CarbonError::malformed(path, Some(1), message));
    }
    // The values that CodeCarbon itself assumes where an older file lacks the column.
    let absent = EmissionsRecord { on_cloud: "N".into(), pue: 1.0, ..EmissionsRecord::default() };
    let defaults = values(path, &absent)?;
    csv::Reader::from_reader(whole_rows(&text, header.len()))
        .into_records()
        .map(|row| parse(path, &header, &defaults, &row.map_err(|error| malformed_csv(path, &error))?))
        .collect()
}

/// Mean carbon intensity behind a row, in g CO2-equivalent per kWh; `None` without energy.
pub fn carbon_intensity_g_per_kwh(record: &EmissionsRecord) -> Option<f64> {
    (record.energy_consumed > 0.0).then(|| record.emissions * 1000.0 / record.energy_consumed)
}

fn parse(
    path: &Path,
    header: &csv::StringRecord,
    defaults: &Map<String, Value>,
    row: &csv::StringRecord,
) -> Result<EmissionsRecord, CarbonError> {
    let line = row.position().map(csv::Position::line);
    let mut values = defaults.clone();
    for (column, text) in header.iter().zip(row) {
        let Some(value) = values.get_mut(column) else { continue };
        *value = match value {
            Value::String(_) => Value::String(text.to_owned()),
            // pandas writes an absent number as nothing; Python's own csv as `None` or `nan`.
            _ if matches!(text, "" | "nan" | "NaN" | "None") => continue,
            ref default => number(text, default).ok_or_else(|| {
                let message = format!("column {column:?} is {text:?}; allowed is a finite number");
                CarbonError::malformed(path, line, message)
            })?,
        };
    }
    serde_json::from_value(Value::Object(values))
        .map_err(|error| CarbonError::malformed(path, line, error.to_string()))
}

/// A finite number of the default's kind; a count may be written as `8.0`.
fn number(text: &str, default: &Value) -> Option<Value> {
    let number: f64 = text.trim().parse().ok()?;
    if default.is_u64() && number >= 0.0 {
        return Some(Value::Number(Number::from(number.round() as u64)));
    }
    Number::from_f64(number).map(Value::Number)
}

/// The fields of a record by column name, in the columns' order (serde writes the struct's names).
fn values(path: &Path, record: &EmissionsRecord) -> Result<Map<String, Value>, CarbonError> {
    match serde_json::to_value(record) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(CarbonError::malformed(path, None, error.to_string())),
    }
}

fn fields(path: &Path, record: &EmissionsRecord, columns: &[&str]) -> Result<Vec<String>, CarbonError> {
    let values = values(path, record)?;
    let text = |column: &&str| match values.get(*column) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(value) => value.to_string(),
    };
    Ok(columns.iter().map(text).collect())
}

fn row(path: &Path, fields: Vec<String>) -> Result<Vec<u8>, CarbonError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|error| malformed_csv(path, &error))?;
    writer.into_inner().map_err(|error| CarbonError::file("write", path)(error.into_error()))
}

/// The column names of `path`; `None` when there is no file or no complete header in it.
fn read_header(path: &Path) -> Result<Option<Vec<String>>, CarbonError> {
    let mut line = Vec::new();
    match File::open(path).and_then(|file| BufReader::new(file).read_until(b'\n', &mut line)) {
        Ok(_) if line.ends_with(b"\n") => {
            let mut reader = csv::Reader::from_reader(line.as_slice());
            let header = reader.headers().map_err(|error| malformed_csv(path, &error))?;
            Ok(Some(header.iter().map(String::from).collect()))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CarbonError::file("read", path)(error)),
    }
}

/// Renames `path` to `{name}.bak`, or `{name}_0.bak` and so on where that exists, as CodeCarbon's `backup` does.
fn set_aside(path: &Path) -> Result<PathBuf, CarbonError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = (0..).map(|number: u64| format!("{name}_{number}.bak"));
    let mut candidates =
        std::iter::once(format!("{name}.bak")).chain(numbered).map(|name| path.with_file_name(name));
    let aside =
        candidates.find(|candidate| !candidate.exists()).unwrap_or_else(|| path.with_extension("bak"));
    fs::rename(path, &aside).map_err(CarbonError::file("rename", path))?;
    Ok(aside)
}

fn append_row(path: &Path, columns: usize, row: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let tail_at = file.metadata()?.len().saturating_sub(LONGEST_ROW);
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = whole_rows(&tail, columns);
    file.set_len(tail_at + whole.len() as u64)?;
    file.seek(SeekFrom::End(0))?;
    let newline: &[u8] = if whole.ends_with(b"\n") { b"" } else { b"\n" };
    file.write_all(&[newline, row].concat())?;
    file.sync_data()
}

/// `text` without a last row that a crash cut short: one that lacks both its line's end and some of its columns.
fn whole_rows(text: &[u8], columns: usize) -> &[u8] {
    let (rows, last) = text.split_at(text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(last);
    let is_whole = matches!(reader.records().next(), Some(Ok(row)) if row.len() == columns);
    if is_whole { text } else { rows }
}

fn malformed_csv(path: &Path, error: &csv::Error) -> CarbonError {
    CarbonError::malformed(path, error.position().map(csv::Position::line), error.to_string())
}
