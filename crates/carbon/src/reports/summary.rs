//! Answers about a whole run from the files of its stages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord},
    layout::{ProjectLayout, RunLayout},
    quantities,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError,
    files::{codecarbon, sidecar},
    reports::{
        aggregate::{self, AggregateEmissions, RunEmissions},
        equivalence::{EquivalenceTable, Equivalencies},
        overlap,
        rows::{self, Rows, RunRow},
        sci::{Embodied, FunctionalUnit, Sci, sci},
    },
};

mod recommendations;

pub use recommendations::{Recommendation, RecommendationKind};

/// What is known of a run beside its files of emissions; more of it makes more of a summary.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// Parameters of the model that was trained.
    pub parameters: Option<u64>,
    /// Steps from the best evaluation to the last one, and steps in all.
    pub steps_after_best_validation: Option<(u64, u64)>,
    /// Adaptive sparse training, where the run trained on everything.
    pub sparse_training: Option<SparseTraining>,
    /// A forecast of hours with cleaner electricity.
    pub cleaner_hours: Option<CleanerHours>,
    /// What the run did, for its SCI figure.
    pub functional_unit: Option<FunctionalUnit>,
    /// What making the hardware emitted.
    pub embodied: Option<Embodied>,
    /// All runs, this one among them.
    pub all_runs: Option<AggregateEmissions>,
}

/// Adaptive sparse training as a run could have had it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseTraining {
    /// Share of samples to train on, in `(0, 1]`.
    pub rate: f64,
    /// Passes over the data that the run made.
    pub passes: f64,
    /// Of these, first ones on everything.
    pub warm_up: f64,
}

impl SparseTraining {
    /// Share of the arithmetic of training that it would not do, with remembered scores.
    pub fn saves(&self) -> f64 {
        (1.0 - self.rate) * (1.0 - self.warm_up / self.passes).max(0.0)
    }
}

/// Hours for which a forecast has cleaner electricity.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerHours {
    /// When they begin.
    pub start: Timestamp,
    /// When they end.
    pub end: Timestamp,
    /// Their mean, in g CO2-equivalent per kWh.
    pub mean_g_per_kwh: f64,
    /// The mean of as long a run that begins with the forecast, in g CO2-equivalent per kWh.
    pub now_g_per_kwh: f64,
    /// Whose forecast it is, such as `the forecast of api.electricitymaps.com for FR`.
    pub source: String,
}

impl CleanerHours {
    /// The best hours of the forecast that `config` names, for as long a run as one of `duration`; none where the
    /// forecast does not reach so far.
    ///
    /// # Errors
    /// [`CarbonError::Live`]: the service has no forecast for this place or token, or does not answer.
    #[cfg(feature = "online")]
    pub fn fetch(
        place: &crate::grid::Place,
        config: &crate::grid::LiveConfig,
        duration: std::time::Duration,
    ) -> Result<Option<Self>, CarbonError> {
        use crate::grid::{cleaner_hours, fetch_forecast};
        let forecast = fetch_forecast(place, config)?;
        let source = format!("the forecast of {} for {}", config.host(), forecast.zone);
        let window = cleaner_hours(&forecast, duration);
        Ok(window.map(|window| Self {
            start: window.start,
            end: window.end,
            mean_g_per_kwh: window.mean_g_per_kwh,
            now_g_per_kwh: window.now_g_per_kwh,
            source,
        }))
    }
}

/// What a run used, over all its stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsSummary {
    /// The run.
    pub run_id: String,
    /// Totals.
    pub summary: SummaryTotals,
    /// The total in everyday units.
    pub equivalencies: Equivalencies,
    /// The factors behind them, with their sources.
    pub equivalence_factors: EquivalenceTable,
    /// Per stage, in order.
    pub stages: Vec<StageEmissions>,
    /// What would lower the figure, or make it better known; true of this run, so there may be none.
    pub recommendations: Vec<String>,
    /// The same, each with what it would save and how that is known.
    #[serde(default)]
    pub recommendation_details: Vec<Recommendation>,
    /// Software Carbon Intensity, where it is known what the run did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sci: Option<Sci>,
    /// What offsetting would cost at the dear end of the usual prices, in USD.
    pub carbon_offset_cost_usd: f64,
    /// The same at both ends.
    pub carbon_offset_cost_range_usd: [f64; 2],
    /// Of files: the runs in them, those that emitted most first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub runs: Vec<RunEmissions>,
    /// What limits the figures, such as another run that was metered on the same machine at the same time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub caveats: Vec<String>,
}

/// Totals over the stages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryTotals {
    /// kg CO2-equivalent.
    pub total_emissions_kg_co2: f64,
    /// Hours that were metered.
    pub total_duration_hours: f64,
    /// kg CO2-equivalent per hour; 0 when nothing was metered.
    pub emissions_per_hour_kg: f64,
    /// Stages with emissions.
    pub num_stages: usize,
    /// kWh, PUE included.
    pub total_energy_kwh: f64,
    /// Bounds in which the true energy is believed to lie, in kWh; absent when a stage has no provenance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_range_kwh: Option<[f64; 2]>,
    /// Bounds in which the true emissions are believed to lie, in kg; absent when a stage has no provenance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_range_kg: Option<[f64; 2]>,
}

/// What one stage used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageEmissions {
    /// Stage, from 1.
    pub stage: u8,
    /// Name of its emissions file.
    pub file: String,
    /// kg CO2-equivalent.
    pub emissions_kg: f64,
    /// Hours that were metered, over all attempts.
    pub duration_hours: f64,
    /// kWh, PUE included.
    pub energy_kwh: f64,
    /// How the energy was got, if the stage has provenance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub provenance: Option<EmissionsProvenance>,
}

/// The latest figures of a run that is being trained: of the stage that was metered last, and of the run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurrentEmissions {
    /// The run.
    pub run_id: String,
    /// The stage that was metered last, from 1; the figures without `run_` are its own.
    #[serde(default)]
    pub stage: u8,
    /// Stages of the run that were metered so far.
    #[serde(default)]
    pub metered_stages: usize,
    /// kg CO2-equivalent of all stages so far.
    #[serde(default)]
    pub run_emissions_kg_co2: f64,
    /// Metered seconds of all stages.
    #[serde(default)]
    pub run_duration_seconds: f64,
    /// kWh of all stages so far.
    #[serde(default)]
    pub run_energy_consumed_kwh: f64,
    /// kg CO2-equivalent of the stage so far.
    pub current_emissions_kg_co2: f64,
    /// Metered seconds of the stage.
    pub duration_seconds: f64,
    /// kWh of the stage so far.
    pub energy_consumed_kwh: f64,
    /// Mean power of the processor, in W.
    pub cpu_power_w: f64,
    /// Mean power of the GPUs, in W.
    pub gpu_power_w: f64,
    /// Mean power of memory, in W.
    pub ram_power_w: f64,
    /// g CO2-equivalent per kWh; absent before any energy was used.
    pub carbon_intensity_gco2_kwh: Option<f64>,
    /// Country whose grid is used.
    pub country: String,
    /// Local time of the row.
    pub timestamp: String,
    /// The file that was read.
    pub emissions_file: PathBuf,
}

/// The row of a stage and where it is from.
pub(crate) struct StageRow {
    pub stage: u8,
    pub file: PathBuf,
    pub record: EmissionsRecord,
    pub provenance: Option<EmissionsProvenance>,
    /// That several meters of the run counted one machine, in a sentence.
    pub shared: Option<String>,
}

/// What the run used so far: the row of each stage's file, the last one of an older file with several, because rows are
/// cumulative.
pub fn summarize(run: &RunLayout, factors: &EquivalenceTable) -> Result<EmissionsSummary, CarbonError> {
    summarize_with(run, factors, &RunFacts::default())
}

/// The same, with what else is known of the run.
pub fn summarize_with(
    run: &RunLayout,
    factors: &EquivalenceTable,
    facts: &RunFacts,
) -> Result<EmissionsSummary, CarbonError> {
    let rows = stage_rows(run)?;
    let beside = overlap::beside(run)?.map(|beside| beside.message);
    let caveats = beside.into_iter().chain(rows.iter().filter_map(|row| row.shared.clone())).collect();
    let summary = totals(&rows);
    let SummaryTotals { total_emissions_kg_co2: kg, total_energy_kwh: kwh, .. } = summary;
    let details = recommendations::of(&rows, factors, facts);
    let per_unit = |unit| sci(kwh, 1000.0 * kg / kwh, summary.total_duration_hours, facts.embodied, unit);
    let offset_usd = factors.offset_usd(kg);
    Ok(EmissionsSummary {
        run_id: run.run_id(),
        summary,
        equivalencies: factors.of(kg),
        equivalence_factors: factors.clone(),
        recommendations: details.iter().map(|one| one.text.clone()).collect(),
        recommendation_details: details,
        sci: facts.functional_unit.as_ref().and_then(per_unit),
        stages: rows.into_iter().map(StageEmissions::from).collect(),
        carbon_offset_cost_usd: offset_usd[1],
        carbon_offset_cost_range_usd: offset_usd,
        runs: Vec::new(),
        caveats,
    })
}

/// What the runs in `paths` used together: files of any name, and folders.
///
/// # Errors
/// A path is missing; no run is in any of them.
pub fn summarize_paths(
    paths: &[PathBuf],
    factors: &EquivalenceTable,
) -> Result<EmissionsSummary, CarbonError> {
    summary_of(rows::of_paths(paths)?, paths, factors)
}

/// The same of `run_id` in the files of `project`: a program that was metered there.
///
/// # Errors
/// No file of the project has the run.
pub fn summarize_in(
    project: &ProjectLayout,
    run_id: &str,
    factors: &EquivalenceTable,
) -> Result<EmissionsSummary, CarbonError> {
    let mut found = rows::of_project(project)?;
    found.rows.retain(|row| row.run_id == run_id || row.record.run_id == run_id);
    found.skipped.clear();
    found.notes.clear();
    if found.rows.is_empty() {
        return Err(CarbonError::NoEmissions { run_id: run_id.to_owned(), folder: project.emissions() });
    }
    summary_of(found, &[project.emissions()], factors)
}

fn summary_of(
    rows: Rows,
    paths: &[PathBuf],
    factors: &EquivalenceTable,
) -> Result<EmissionsSummary, CarbonError> {
    let Rows { rows, skipped, notes } = rows;
    let left_out = skipped.into_iter().map(|one| format!("left out: {}: {}", one.file, one.reason));
    let mut caveats: Vec<String> = notes.into_iter().chain(left_out).collect();
    if rows.is_empty() {
        return Err(CarbonError::NoRuns { paths: paths.to_vec(), reasons: caveats });
    }
    caveats.extend(overlap::shared_machines(&rows).into_iter().map(|shared| shared.message));
    let mut runs = aggregate::runs(&rows);
    runs.sort_by(|a, b| b.emissions_kg.total_cmp(&a.emissions_kg));
    let sum = |of: fn(&RunRow) -> f64| quantities::sum(rows.iter().map(of));
    let (kg, hours) = (sum(RunRow::emissions_kg), sum(RunRow::machine_hours));
    let offset_usd = factors.offset_usd(kg);
    let names = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Ok(EmissionsSummary {
        run_id: if let [only] = &runs[..] { only.run_id.clone() } else { names },
        summary: SummaryTotals {
            total_emissions_kg_co2: kg,
            total_duration_hours: hours,
            emissions_per_hour_kg: if hours > 0.0 { kg / hours } else { 0.0 },
            num_stages: rows.iter().filter(|row| row.stage.is_some()).count(),
            total_energy_kwh: sum(RunRow::energy_kwh),
            energy_range_kwh: added(rows.iter().map(RunRow::range_kwh)),
            emissions_range_kg: added(rows.iter().map(RunRow::range_kg)),
        },
        equivalencies: factors.of(kg),
        equivalence_factors: factors.clone(),
        recommendations: Vec::new(),
        recommendation_details: Vec::new(),
        sci: None,
        stages: Vec::new(),
        carbon_offset_cost_usd: offset_usd[1],
        carbon_offset_cost_range_usd: offset_usd,
        runs,
        caveats,
    })
}

/// The figures of the stage that was metered last, and of the run so far.
pub fn current(run: &RunLayout) -> Result<CurrentEmissions, CarbonError> {
    let rows = stage_rows(run)?;
    let so_far = totals(&rows);
    let latest = rows.into_iter().max_by(|a, b| a.record.timestamp.cmp(&b.record.timestamp));
    let StageRow { stage, file, record, .. } = latest.ok_or_else(|| none(run))?;
    Ok(CurrentEmissions {
        run_id: run.run_id(),
        stage,
        metered_stages: so_far.num_stages,
        run_emissions_kg_co2: so_far.total_emissions_kg_co2,
        run_duration_seconds: 3600.0 * so_far.total_duration_hours,
        run_energy_consumed_kwh: so_far.total_energy_kwh,
        current_emissions_kg_co2: record.emissions,
        duration_seconds: record.duration,
        energy_consumed_kwh: record.energy_consumed,
        cpu_power_w: record.cpu_power,
        gpu_power_w: record.gpu_power,
        ram_power_w: record.ram_power,
        carbon_intensity_gco2_kwh: codecarbon::carbon_intensity_g_per_kwh(&record),
        country: record.country_name,
        timestamp: record.timestamp,
        emissions_file: file,
    })
}

pub(crate) fn totals(rows: &[StageRow]) -> SummaryTotals {
    let sum = |of: fn(&EmissionsRecord) -> f64| quantities::sum(rows.iter().map(|row| of(&row.record)));
    let kg = sum(|record| record.emissions);
    let hours = sum(|record| record.duration) / 3600.0;
    SummaryTotals {
        total_emissions_kg_co2: kg,
        total_duration_hours: hours,
        emissions_per_hour_kg: if hours > 0.0 { kg / hours } else { 0.0 },
        num_stages: rows.len(),
        total_energy_kwh: sum(|record| record.energy_consumed),
        energy_range_kwh: range(rows, EmissionsProvenance::energy_interval_kwh),
        emissions_range_kg: range(rows, EmissionsProvenance::emissions_interval_kg),
    }
}

/// The row of every stage that has one, in the stages' order.
pub(crate) fn stage_rows(run: &RunLayout) -> Result<Vec<StageRow>, CarbonError> {
    let mut rows = Vec::new();
    for (stage, file) in stage_files(run)? {
        let Some(own) = codecarbon::of_run(&file, &run.run_id())? else { continue };
        let shared = own.shared_machine().map(|message| format!("stage {stage}: {message}"));
        let provenance = sidecar::read(&run.provenance(stage))?;
        rows.push(StageRow { stage, record: own.record, provenance, file, shared });
    }
    if rows.is_empty() { Err(none(run)) } else { Ok(rows) }
}

fn stage_files(run: &RunLayout) -> Result<Vec<(u8, PathBuf)>, CarbonError> {
    let folder = run.project().emissions();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(none(run)),
        Err(error) => return Err(CarbonError::file("read", &folder)(error)),
    };
    let mut files: Vec<(u8, PathBuf)> = entries
        .filter_map(|entry| {
            let file = entry.ok()?.path();
            Some((stage_of(&file, &run.run_id())?, file))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// The stage that an emissions file of exactly this run is about.
fn stage_of(file: &Path, run_id: &str) -> Option<u8> {
    let rest = file.file_name()?.to_str()?.strip_prefix(run_id)?;
    rest.strip_prefix("_stage")?.strip_suffix("_emissions.csv")?.parse().ok()
}

fn none(run: &RunLayout) -> CarbonError {
    CarbonError::NoEmissions { run_id: run.run_id(), folder: run.project().emissions() }
}

/// The sum of the stages' intervals (their errors may well go the same way); `None` when a stage has no provenance.
fn range(rows: &[StageRow], of: fn(&EmissionsProvenance) -> [f64; 2]) -> Option<[f64; 2]> {
    added(rows.iter().map(|row| Some(of(row.provenance.as_ref()?))))
}

/// The sum of intervals; `None` when one is not known.
fn added(mut ranges: impl Iterator<Item = Option<[f64; 2]>>) -> Option<[f64; 2]> {
    ranges.try_fold([0.0, 0.0], |[low, high], range| range.map(|[less, more]| [low + less, high + more]))
}

impl From<StageRow> for StageEmissions {
    fn from(row: StageRow) -> Self {
        Self {
            stage: row.stage,
            file: row.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            emissions_kg: row.record.emissions,
            duration_hours: row.record.duration / 3600.0,
            energy_kwh: row.record.energy_consumed,
            provenance: row.provenance,
        }
    }
}
