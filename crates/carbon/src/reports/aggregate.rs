//! Emissions of all runs: the files of a folder of emissions, added up.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use greentune_core_config::{emissions::EmissionsRecord, quantities};
use jiff::civil::{Date, DateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError,
    files::machine_time,
    reports::{
        equivalence::{EquivalenceTable, Equivalencies},
        overlap::{self, SharedMachine},
        rows::{self, Rows, RunRow},
    },
};

pub use super::rows::{files_of_project, note_file};

/// Runs that are listed one by one.
const TOP_RUNS: usize = 10;

/// All runs together. Of every run in a file the last row counts, because rows are cumulative; the files of one run's stages
/// are one run. A machine that several meters counted at the same time is counted once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AggregateEmissions {
    /// kg CO2-equivalent.
    pub total_emissions_kg_co2: f64,
    /// Hours of machines that were metered.
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
    /// Machines that several runs counted at the same time: in all figures they are counted once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shared_machines: Vec<SharedMachine>,
    /// What else a reader should know of the files.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// Files that could not be read, and runs in files, that are not in any figure.
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

/// Adds up every `*_emissions.csv` and `emissions.csv` of `folder`. A folder that is missing or empty adds up to 0; a file
/// that cannot be read is named in `skipped`; one without rows (a stage that has just begun) is passed over.
pub fn aggregate(folder: &Path, factors: &EquivalenceTable) -> Result<AggregateEmissions, CarbonError> {
    Ok(add_up(rows::of_folder(folder)?, factors))
}

/// The same of `paths`: files of any name, and folders.
///
/// # Errors
/// A path that is missing.
pub fn aggregate_paths(
    paths: &[PathBuf],
    factors: &EquivalenceTable,
) -> Result<AggregateEmissions, CarbonError> {
    Ok(add_up(rows::of_paths(paths)?, factors))
}

fn add_up(rows: Rows, factors: &EquivalenceTable) -> AggregateEmissions {
    let Rows { rows, skipped, notes } = rows;
    let sum = |of: fn(&RunRow) -> f64| quantities::sum(rows.iter().map(of));
    let kg = sum(RunRow::emissions_kg);
    let by_run = by_run(&rows);
    let emitted = |run: &[&RunRow]| quantities::sum(run.iter().map(|row| row.emissions_kg()));
    let mut runs: Vec<_> = runs_of(&by_run).map(|run| (emitted(run), run)).collect();
    let total_runs = runs.len();
    runs.sort_by(|a, b| b.0.total_cmp(&a.0));
    runs.truncate(TOP_RUNS);
    let equivalencies = factors.of(kg);
    let offset_usd = factors.offset_usd(kg);
    AggregateEmissions {
        total_emissions_kg_co2: kg,
        total_duration_hours: sum(RunRow::machine_hours),
        total_energy_kwh: sum(RunRow::energy_kwh),
        energy_with_provenance: energy_range(&rows),
        total_runs,
        total_files: rows.iter().map(|row| row.file.as_str()).collect::<HashSet<_>>().len(),
        average_per_run_kg: if total_runs > 0 { kg / total_runs as f64 } else { 0.0 },
        trees_to_offset_1year: equivalencies.trees_to_offset_1year,
        equivalencies,
        equivalence_factors: factors.clone(),
        total_offset_cost_usd: offset_usd[1],
        total_offset_cost_range_usd: offset_usd,
        top_emitting_runs: runs.into_iter().filter_map(|(_, rows)| run(rows)).collect(),
        by_country: by_emissions(shares(
            &rows,
            |record| record.country_name.as_str(),
            |name| (*name).to_owned(),
        )),
        by_machine: by_emissions(shares(&rows, overlap::machine, String::clone)),
        by_month: shares(
            &rows,
            |record| date(record).map(Date::first_of_month),
            |month| month.map_or(String::new(), |month| month.strftime("%Y-%m").to_string()),
        ),
        by_day: shares(&rows, date, |day| day.map_or(String::new(), |day| day.to_string())),
        shared_machines: overlap::shared_machines(&rows),
        notes,
        skipped,
    }
}

pub(crate) fn runs(rows: &[RunRow]) -> Vec<RunEmissions> {
    runs_of(&by_run(rows)).filter_map(run).collect()
}

/// The rows in the order of their runs' ids; those of one run in theirs.
fn by_run(rows: &[RunRow]) -> Vec<&RunRow> {
    let mut rows: Vec<&RunRow> = rows.iter().collect();
    rows.sort_by(|a, b| a.run_id.cmp(&b.run_id));
    rows
}

/// The rows of each run.
fn runs_of<'r>(by_run: &'r [&RunRow]) -> impl Iterator<Item = &'r [&'r RunRow]> {
    by_run.chunk_by(|a, b| a.run_id == b.run_id)
}

fn run(rows: &[&RunRow]) -> Option<RunEmissions> {
    let first = rows.first()?;
    let mut stages = Vec::new();
    for stage in rows.iter().filter_map(|row| row.stage) {
        if !stages.contains(&stage) {
            stages.push(stage);
        }
    }
    // Of several meters of the run at the same time, such as those of its ranks, the time counts once.
    let spans: Vec<_> = rows.iter().map(|row| (&*row.record, row.span)).collect();
    let shares = machine_time::shares(&spans);
    let seconds = rows.iter().zip(shares).map(|(row, share)| row.record.duration * share);
    Some(RunEmissions {
        run_id: first.run_id.clone(),
        file: first.file.clone(),
        stages,
        emissions_kg: quantities::sum(rows.iter().map(|row| row.emissions_kg())),
        energy_kwh: quantities::sum(rows.iter().map(|row| row.energy_kwh())),
        duration_hours: quantities::sum(seconds) / 3600.0,
        timestamp: rows.iter().map(|row| row.record.timestamp.clone()).max().unwrap_or_default(),
    })
}

/// The rows by what `part` says of each, in its order; `name` is what that is called.
fn shares<'r, Part: Ord>(
    rows: &'r [RunRow],
    part: impl Fn(&'r EmissionsRecord) -> Part,
    name: impl Fn(&Part) -> String,
) -> Vec<Share> {
    let mut parts: BTreeMap<Part, (f64, f64, HashSet<&str>)> = BTreeMap::new();
    for row in rows {
        let (emissions_kg, energy_kwh, files) = parts.entry(part(&row.record)).or_default();
        *emissions_kg += row.emissions_kg();
        *energy_kwh += row.energy_kwh();
        files.insert(&row.file);
    }
    let shares = parts.into_iter().map(|(part, (emissions_kg, energy_kwh, files))| Share {
        name: name(&part),
        emissions_kg,
        energy_kwh,
        files: files.len(),
    });
    shares.collect()
}

fn by_emissions(mut shares: Vec<Share>) -> Vec<Share> {
    shares.sort_by(|a, b| b.emissions_kg.total_cmp(&a.emissions_kg));
    shares
}

fn date(record: &EmissionsRecord) -> Option<Date> {
    record.timestamp.parse::<DateTime>().ok().map(DateTime::date)
}

fn energy_range(rows: &[RunRow]) -> Option<EnergyRange> {
    let mut range = EnergyRange { energy_kwh: 0.0, range_kwh: [0.0, 0.0], files: 0 };
    let mut files = HashSet::new();
    for row in rows {
        let Some([low, high]) = row.range_kwh() else { continue };
        range.energy_kwh += row.energy_kwh();
        range.range_kwh = [range.range_kwh[0] + low, range.range_kwh[1] + high];
        files.insert(row.file.as_str());
    }
    // A file of several runs counts where all of them have provenance.
    let bare: HashSet<&str> =
        rows.iter().filter(|row| row.provenance.is_none()).map(|row| row.file.as_str()).collect();
    range.files = files.difference(&bare).count();
    (!files.is_empty()).then_some(range)
}
