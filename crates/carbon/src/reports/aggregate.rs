//! Emissions of all runs: the files of a folder of emissions, added up.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs, io,
    num::NonZero,
    panic,
    path::Path,
    thread,
};

use greentune_core_config::emissions::EmissionsRecord;
use jiff::civil::{Date, DateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError,
    files::{codecarbon, sidecar},
    reports::equivalence::{EquivalenceTable, Equivalencies},
};

/// Runs that are listed one by one.
const TOP_RUNS: usize = 10;
/// More threads would wait for the same disk.
const MOST_THREADS: usize = 8;
const EMISSIONS: &str = "_emissions.csv";

/// All runs together. Of every file the last row counts, because rows are cumulative; the files of one run's stages are
/// one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AggregateEmissions {
    /// kg CO2-equivalent.
    pub total_emissions_kg_co2: f64,
    /// Hours that were metered.
    pub total_duration_hours: f64,
    /// kWh, PUE included.
    pub total_energy_kwh: f64,
    /// The energy of the files that have provenance, with bounds; absent when none has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_with_provenance: Option<EnergyRange>,
    /// Runs.
    pub total_runs: usize,
    /// Files that were added up.
    pub total_files: usize,
    /// kg CO2-equivalent per run; 0 without runs.
    pub average_per_run_kg: f64,
    /// Trees that absorb it in one year, of the kind that the factors name.
    pub trees_to_offset_1year: f64,
    /// The total in everyday units.
    pub equivalencies: Equivalencies,
    /// The factors behind them, with their sources.
    pub equivalence_factors: EquivalenceTable,
    /// What offsetting would cost at the dear end of the usual prices, in USD.
    pub total_offset_cost_usd: f64,
    /// The same at both ends.
    pub total_offset_cost_range_usd: [f64; 2],
    /// The runs that emitted most, at most ten.
    pub top_emitting_runs: Vec<RunEmissions>,
    /// By country, those that emitted most first.
    pub by_country: Vec<Share>,
    /// By machine (processor and GPUs), those that emitted most first.
    pub by_machine: Vec<Share>,
    /// By month, in time's order.
    pub by_month: Vec<Share>,
    /// By day, in time's order.
    pub by_day: Vec<Share>,
    /// Files that could not be read and are not in any figure.
    pub skipped: Vec<SkippedFile>,
}

/// One run, over its stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunEmissions {
    /// The run.
    pub run_id: String,
    /// Its first file.
    pub file: String,
    /// Its stages; empty for a file that is not about a stage.
    pub stages: Vec<u8>,
    /// kg CO2-equivalent.
    pub emissions_kg: f64,
    /// kWh, PUE included.
    pub energy_kwh: f64,
    /// Hours that were metered.
    pub duration_hours: f64,
    /// Local time of the latest row.
    pub timestamp: String,
}

/// Part of the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The country, machine, month or day; empty where the rows do not say.
    pub name: String,
    /// kg CO2-equivalent.
    pub emissions_kg: f64,
    /// kWh, PUE included.
    pub energy_kwh: f64,
    /// Files (a run that went on in another place or month has files in both).
    pub files: usize,
}

/// Energy and where the true value is believed to lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnergyRange {
    /// kWh, PUE included.
    pub energy_kwh: f64,
    /// Bounds in kWh; half-widths add up.
    pub range_kwh: [f64; 2],
    /// Files that these figures are about.
    pub files: usize,
}

/// A file that is in no figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedFile {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What one file says.
struct FileEmissions {
    name: String,
    record: EmissionsRecord,
    range_kwh: Option<[f64; 2]>,
}

/// Adds up every `*_emissions.csv` of `folder`. A folder that is missing or empty adds up to 0; a file that cannot be read
/// is named in `skipped`; one without rows (a stage that has just begun) is passed over.
pub fn aggregate(folder: &Path, factors: &EquivalenceTable) -> Result<AggregateEmissions, CarbonError> {
    let names = names(folder)?;
    let files: Vec<&str> =
        names.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(EMISSIONS)).collect();
    let known: HashSet<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let part = files.len().div_ceil(threads).max(1);
    let known = &known;
    let parts: Vec<(Vec<FileEmissions>, Vec<SkippedFile>)> = thread::scope(|scope| {
        let readers: Vec<_> =
            files.chunks(part).map(|files| scope.spawn(move || read_all(folder, files, known))).collect();
        // If a part were lost silently, the total would look smaller.
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    });
    let (mut read, mut skipped) = (Vec::new(), Vec::new());
    for (files, unread) in parts {
        read.extend(files);
        skipped.extend(unread);
    }
    Ok(add_up(&read, skipped, factors))
}

fn add_up(
    files: &[FileEmissions],
    skipped: Vec<SkippedFile>,
    factors: &EquivalenceTable,
) -> AggregateEmissions {
    let sum = |of: fn(&EmissionsRecord) -> f64| files.iter().map(|file| of(&file.record)).sum::<f64>();
    let kg = sum(|record| record.emissions);
    let mut runs = runs(files);
    let total_runs = runs.len();
    runs.sort_by(|a, b| b.emissions_kg.total_cmp(&a.emissions_kg));
    runs.truncate(TOP_RUNS);
    let equivalencies = factors.of(kg);
    let offset_usd = factors.offset_usd(kg);
    AggregateEmissions {
        total_emissions_kg_co2: kg,
        total_duration_hours: sum(|record| record.duration) / 3600.0,
        total_energy_kwh: sum(|record| record.energy_consumed),
        energy_with_provenance: energy_range(files),
        total_runs,
        total_files: files.len(),
        average_per_run_kg: if total_runs > 0 { kg / total_runs as f64 } else { 0.0 },
        trees_to_offset_1year: equivalencies.trees_to_offset_1year,
        equivalencies,
        equivalence_factors: factors.clone(),
        total_offset_cost_usd: offset_usd[1],
        total_offset_cost_range_usd: offset_usd,
        top_emitting_runs: runs,
        by_country: by_emissions(shares(files, |record| record.country_name.clone())),
        by_machine: by_emissions(shares(files, machine)),
        by_month: shares(files, |record| {
            date(record).map_or(String::new(), |date| date.strftime("%Y-%m").to_string())
        }),
        by_day: shares(files, |record| date(record).map_or(String::new(), |date| date.to_string())),
        skipped,
    }
}

/// Names of the files of `folder` in order, so that sums do not hang on the order of a folder.
fn names(folder: &Path) -> Result<Vec<OsString>, CarbonError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CarbonError::file("read", folder)(error)),
    };
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names.map_err(CarbonError::file("read", folder))?;
    names.sort_unstable();
    Ok(names)
}

fn read_all(folder: &Path, files: &[&str], known: &HashSet<&str>) -> (Vec<FileEmissions>, Vec<SkippedFile>) {
    let (mut read, mut skipped) = (Vec::with_capacity(files.len()), Vec::new());
    for name in files {
        match read_file(folder, name, known) {
            Ok(Some(file)) => read.push(file),
            Ok(None) => {}
            Err(error) => skipped.push(SkippedFile { file: (*name).to_owned(), reason: error.to_string() }),
        }
    }
    (read, skipped)
}

fn read_file(folder: &Path, name: &str, known: &HashSet<&str>) -> Result<Option<FileEmissions>, CarbonError> {
    let path = folder.join(name);
    let Some(record) = codecarbon::last(&path)? else { return Ok(None) };
    for (column, value) in [
        ("emissions", record.emissions),
        ("duration", record.duration),
        ("energy_consumed", record.energy_consumed),
    ] {
        if value < 0.0 {
            let message = format!("column {column:?} of its last row is {value}; allowed is a number from 0");
            return Err(CarbonError::malformed(&path, None, message));
        }
    }
    let provenance = name.strip_suffix(EMISSIONS).map(|stem| format!("{stem}_provenance.json"));
    let provenance = match provenance.filter(|provenance| known.contains(provenance.as_str())) {
        Some(provenance) => sidecar::read(&folder.join(provenance))?,
        None => None,
    };
    let range_kwh = provenance.map(|provenance| provenance.energy_interval_kwh());
    Ok(Some(FileEmissions { name: name.to_owned(), record, range_kwh }))
}

/// `{run_id}_stage{N}_emissions.csv`, else `{run_id}_emissions.csv`.
fn run_of(file: &str) -> (&str, Option<u8>) {
    let stem = file.strip_suffix(EMISSIONS).unwrap_or(file);
    let stage = stem.rsplit_once("_stage").and_then(|(run, stage)| Some((run, stage.parse().ok()?)));
    stage.map_or((stem, None), |(run, stage)| (run, Some(stage)))
}

fn runs(files: &[FileEmissions]) -> Vec<RunEmissions> {
    let mut runs: BTreeMap<&str, RunEmissions> = BTreeMap::new();
    for FileEmissions { name, record, .. } in files {
        let (run_id, stage) = run_of(name);
        let run = runs.entry(run_id).or_insert_with(|| RunEmissions {
            run_id: run_id.to_owned(),
            file: name.clone(),
            stages: Vec::new(),
            emissions_kg: 0.0,
            energy_kwh: 0.0,
            duration_hours: 0.0,
            timestamp: String::new(),
        });
        run.stages.extend(stage);
        run.emissions_kg += record.emissions;
        run.energy_kwh += record.energy_consumed;
        run.duration_hours += record.duration / 3600.0;
        run.timestamp = run.timestamp.as_str().max(&record.timestamp).to_owned();
    }
    runs.into_values().collect()
}

fn shares(files: &[FileEmissions], name: impl Fn(&EmissionsRecord) -> String) -> Vec<Share> {
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for FileEmissions { record, .. } in files {
        let name = name(record);
        let share = shares.entry(name).or_insert_with_key(|name| Share {
            name: name.clone(),
            emissions_kg: 0.0,
            energy_kwh: 0.0,
            files: 0,
        });
        share.emissions_kg += record.emissions;
        share.energy_kwh += record.energy_consumed;
        share.files += 1;
    }
    shares.into_values().collect()
}

fn by_emissions(mut shares: Vec<Share>) -> Vec<Share> {
    shares.sort_by(|a, b| b.emissions_kg.total_cmp(&a.emissions_kg));
    shares
}

/// CodeCarbon names no host; processor and GPUs are what its rows know of a machine.
fn machine(record: &EmissionsRecord) -> String {
    let parts = [record.cpu_model.as_str(), record.gpu_model.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn date(record: &EmissionsRecord) -> Option<Date> {
    record.timestamp.parse::<DateTime>().ok().map(DateTime::date)
}

fn energy_range(files: &[FileEmissions]) -> Option<EnergyRange> {
    let mut range = EnergyRange { energy_kwh: 0.0, range_kwh: [0.0, 0.0], files: 0 };
    for file in files {
        let Some([low, high]) = file.range_kwh else { continue };
        range.energy_kwh += file.record.energy_consumed;
        range.range_kwh = [range.range_kwh[0] + low, range.range_kwh[1] + high];
        range.files += 1;
    }
    (range.files > 0).then_some(range)
}
