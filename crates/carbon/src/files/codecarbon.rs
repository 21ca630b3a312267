//! CodeCarbon's `emissions.csv`, 3.3: 38 columns, read by name and written exactly.
//!
//! Writers of one folder take turns by a lock on `.emissions.lock` in it. CodeCarbon takes none, so a row is appended by
//! one write at the file's end, which no other writer can come between.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use greentune_core_config::{emissions::EmissionsRecord, quantities};
use serde_json::{Map, Value};

use crate::{
    CarbonError,
    files::{
        durable,
        machine_time::{self, Span},
        sidecar,
    },
};

mod file;
mod rows;

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

/// The columns as a file has them, without the line's end.
static HEADER: LazyLock<String> = LazyLock::new(|| COLUMNS.join(","));

/// Columns without which a file is not CodeCarbon's, and without whose figures a row says nothing.
const REQUIRED: [&str; 3] = ["duration", "emissions", "energy_consumed"];

/// Writes `records` to `path`, replacing what is there in one step. Missing folders are created.
pub fn write(path: &Path, records: &[EmissionsRecord]) -> Result<(), CarbonError> {
    write_locked(path, records, &durable::lock(path)?)
}

/// Appends `record` to `path` and flushes it to the disk; a new file gets the header.
///
/// Columns in another order are kept in theirs; a file with other columns, or that is no CSV at all, is set aside as
/// `.bak` (CodeCarbon does both). A row that a crash cut short is dropped first. Returns the file that was set aside.
/// After an error, a full disk's among them, the file holds the rows that it held before.
pub fn append(path: &Path, record: &EmissionsRecord) -> Result<Option<PathBuf>, CarbonError> {
    let lock = durable::lock(path)?;
    let aside = match file::state(path)? {
        file::State::Ours(columns) => {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            let text = row(path, fields(path, record, &columns)?)?;
            file::append_row(path, columns.len(), &text).map_err(CarbonError::file("write", path))?;
            return Ok(None);
        }
        file::State::Empty => None,
        file::State::Foreign => Some(file::set_aside(path)?),
    };
    write_locked(path, std::slice::from_ref(record), &lock)?;
    Ok(aside)
}

/// Puts `record` in the place of the rows with its `run_id`, or appends it, as CodeCarbon's `on_csv_write="update"` does:
/// a program that adds up the rows of a file counts each run once.
///
/// The file is replaced in one step, so that a program that is killed leaves either the old row or the new one. As
/// [`append`] otherwise. Rows of others are kept byte for byte; only one that CodeCarbon, which takes no lock, appends in
/// the very moment of the replacement could be lost.
pub fn update(path: &Path, record: &EmissionsRecord) -> Result<Option<PathBuf>, CarbonError> {
    let lock = durable::lock(path)?;
    if let file::State::Ours(columns) = file::state(path)? {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let own = row(path, fields(path, record, &columns)?)?;
        let text = fs::read(path).map_err(CarbonError::file("read", path))?;
        if let Some(replaced) = rows::with_row_of(&text, &record.run_id, &own) {
            durable::replace(path, &replaced)?;
            return Ok(None);
        }
    }
    drop(lock);
    append(path, record)
}

/// The rows of `path`, by column name, in the file's order. A file that does not exist, or is empty, has no rows.
///
/// Read are: files of older and newer versions (absent columns get CodeCarbon's defaults, unknown ones are passed over),
/// also one after another in one file; commas, semicolons or tabs between columns, with semicolons and tabs a comma as
/// decimal point; a byte order mark; both ends of lines. A last row that a crash cut short is passed over. Absent and
/// infinite numbers count as the default, except in the three columns that a row is about: there they are an error.
pub fn read(path: &Path) -> Result<Vec<EmissionsRecord>, CarbonError> {
    match file::contents(path, u64::MAX)? {
        Some(text) => rows::all(path, &text.header, &text.rows),
        None => Ok(Vec::new()),
    }
}

/// The last row of `path`, which sums up a stage. Of a long file only its first line and its end are read.
pub fn last(path: &Path) -> Result<Option<EmissionsRecord>, CarbonError> {
    match file::contents(path, file::END_BYTES)? {
        Some(text) => rows::last(path, &text.header, &text.rows),
        None => Ok(None),
    }
}

/// What one file says of the runs in it.
#[derive(Debug, Default)]
pub struct FileRuns {
    /// The last row of every run, because rows are cumulative, in the order in which the runs first appear. A run whose
    /// time went back (it was metered anew under the same id) has several.
    pub rows: Vec<EmissionsRecord>,
    /// Runs whose last row cannot be counted, by id, and why: a figure that is missing or below 0.
    pub refused: Vec<(String, CarbonError)>,
}

/// The last row of every run in `path`: programs may share one file, and each may write several cumulative rows.
///
/// # Errors
/// The file cannot be read, or is not CodeCarbon's. A row that is wrong is in [`FileRuns::refused`].
pub fn runs(path: &Path) -> Result<FileRuns, CarbonError> {
    match file::contents(path, u64::MAX)? {
        Some(text) => rows::of_runs(path, &text.header, &text.rows),
        None => Ok(FileRuns::default()),
    }
}

/// What the file of a run's stage says of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRow {
    /// Its row. Several measurements are added up, and a machine that several meters counted at the same time (the ranks
    /// of a job) is counted once.
    pub record: EmissionsRecord,
    /// The energies of all meters as they were recorded, in kWh; more than the record's where meters counted one machine.
    pub recorded_energy_kwh: f64,
    /// Rows that went into it.
    pub rows: usize,
}

impl OwnRow {
    /// In a sentence, that meters counted one machine at the same time; `None` where none did.
    pub fn shared_machine(&self) -> Option<String> {
        let recorded = self.recorded_energy_kwh;
        let unit = quantities::energy_unit(recorded);
        (recorded > self.record.energy_consumed * (1.0 + 1e-9)).then(|| {
            format!(
                "{} of one run metered the same machine at the same time, and each has the whole machine in its row ({} in \
                 all): it is counted once ({}); machines that only look alike would have used the former",
                quantities::counted(self.rows as u64, "meter"),
                unit.text(recorded),
                unit.text(self.record.energy_consumed),
            )
        })
    }
}

/// What `path`, the file of a stage of the run `run_id`, says of the run: its last row. Where no row has this id (another
/// program wrote the file), all rows are the run's.
///
/// # Errors
/// As [`runs`]; a row that cannot be counted is one too, and so is a sidecar that cannot be read.
pub fn of_run(path: &Path, run_id: &str) -> Result<Option<OwnRow>, CarbonError> {
    let FileRuns { mut rows, refused } = runs(path)?;
    if let Some((_, error)) = refused.into_iter().next() {
        return Err(error);
    }
    if rows.iter().any(|row| row.run_id == run_id) {
        rows.retain(|row| row.run_id == run_id);
    }
    let recorded_energy_kwh = quantities::sum(rows.iter().map(|row| row.energy_consumed));
    let count = rows.len();
    if count > 1 {
        let provenance = sidecar::read(&sidecar::of_file(path))?;
        let spans: Vec<_> = rows.iter().map(|row| (row, Span::of(row, provenance.as_ref()))).collect();
        let shares = machine_time::shares(&spans);
        rows.iter_mut().zip(shares).for_each(|(row, share)| take_share(row, share));
    }
    let whole = rows.into_iter().reduce(|sum, row| added(&sum, row));
    Ok(whole.map(|record| OwnRow { record, recorded_energy_kwh, rows: count }))
}

/// Leaves `share` of what `row` sums up; means stay.
fn take_share(row: &mut EmissionsRecord, share: f64) {
    for sum in [
        &mut row.duration,
        &mut row.emissions,
        &mut row.cpu_energy,
        &mut row.gpu_energy,
        &mut row.ram_energy,
        &mut row.energy_consumed,
        &mut row.water_consumed,
    ] {
        *sum *= share;
    }
}

/// Two measurements as one row: sums, means over time, and the rest from the later one.
fn added(a: &EmissionsRecord, b: EmissionsRecord) -> EmissionsRecord {
    let duration = a.duration + b.duration;
    let mean = |a_mean: f64, b_mean: f64| {
        if duration > 0.0 { (a_mean * a.duration + b_mean * b.duration) / duration } else { b_mean }
    };
    EmissionsRecord {
        duration,
        emissions: a.emissions + b.emissions,
        emissions_rate: mean(a.emissions_rate, b.emissions_rate),
        cpu_power: mean(a.cpu_power, b.cpu_power),
        gpu_power: mean(a.gpu_power, b.gpu_power),
        ram_power: mean(a.ram_power, b.ram_power),
        cpu_energy: a.cpu_energy + b.cpu_energy,
        gpu_energy: a.gpu_energy + b.gpu_energy,
        ram_energy: a.ram_energy + b.ram_energy,
        energy_consumed: a.energy_consumed + b.energy_consumed,
        water_consumed: a.water_consumed + b.water_consumed,
        cpu_utilization_percent: mean(a.cpu_utilization_percent, b.cpu_utilization_percent),
        gpu_utilization_percent: mean(a.gpu_utilization_percent, b.gpu_utilization_percent),
        ram_utilization_percent: mean(a.ram_utilization_percent, b.ram_utilization_percent),
        ram_used_gb: mean(a.ram_used_gb, b.ram_used_gb),
        ..b
    }
}

/// Mean carbon intensity behind a row, in g CO2-equivalent per kWh; `None` without energy.
pub fn carbon_intensity_g_per_kwh(record: &EmissionsRecord) -> Option<f64> {
    (record.energy_consumed > 0.0).then(|| record.emissions * 1000.0 / record.energy_consumed)
}

/// Takes the lock as proof that it is held.
fn write_locked(path: &Path, records: &[EmissionsRecord], _lock: &File) -> Result<(), CarbonError> {
    let mut text = row(path, COLUMNS.map(String::from).to_vec())?;
    for record in records {
        text.extend(row(path, fields(path, record, &COLUMNS)?)?);
    }
    durable::replace(path, &text)
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

fn malformed_csv(path: &Path, error: &csv::Error) -> CarbonError {
    CarbonError::malformed(path, error.position().map(csv::Position::line), error.to_string())
}
