//! Runs beside each other: what differs, and whether the meters could tell.

use std::{collections::HashSet, path::PathBuf, slice};

use greentune_core_config::{
    Basis,
    emissions::{MeteredProperty, basis_of},
    layout::RunLayout,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError,
    reports::{
        overlap,
        rows::{self, RunRow},
        summary::{self, StageRow, SummaryTotals},
    },
};

/// Runs beside the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsComparison {
    /// In the order that was asked for; differences are to the first.
    pub runs: Vec<ComparedRun>,
}

/// One run of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparedRun {
    /// The run.
    pub run_id: String,
    /// kWh, PUE included.
    pub energy_kwh: f64,
    /// Bounds in kWh; absent when a stage has no provenance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_range_kwh: Option<[f64; 2]>,
    /// kg CO2-equivalent.
    pub emissions_kg: f64,
    /// Bounds in kg, of energy and grid together; absent when a stage has no provenance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_range_kg: Option<[f64; 2]>,
    /// Hours that were metered.
    pub duration_hours: f64,
    /// How the energy is known; unknown without provenance.
    #[schemars(with = "String")]
    pub basis: Basis,
    /// The difference to the first run; absent for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub difference: Option<Difference>,
}

/// A run less the first one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// kWh.
    pub energy_kwh: f64,
    /// kg CO2-equivalent.
    pub emissions_kg: f64,
    /// Hours.
    pub duration_hours: f64,
    /// Energy in percent of the first run's; absent when that used none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_percent: Option<f64>,
    /// Whether the bounds of the energies lie apart; absent when one has none. Bounds that overlap are no proof of
    /// equality: on one machine with one method both err the same way, and less may tell them apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub distinguishable: Option<bool>,
    /// The same in words.
    pub verdict: String,
    /// What else differs, so that the figures are not about the runs alone.
    pub caveats: Vec<String>,
}

/// Compares `runs` with the first of them.
pub fn compare(runs: &[RunLayout]) -> Result<EmissionsComparison, CarbonError> {
    let side = |run: &RunLayout| {
        let rows = summary::stage_rows(run)?;
        let beside = overlap::beside(run)?.map(|beside| beside.message);
        let shared = beside.into_iter().chain(rows.iter().filter_map(|row| row.shared.clone())).collect();
        Ok(Side { name: run.run_id(), rows, shared })
    };
    let sides: Result<Vec<_>, CarbonError> = runs.iter().map(side).collect();
    Ok(compared(&sides?))
}

/// The same of files and folders, each of which is a side; of a single one, the runs in it are.
///
/// # Errors
/// A path is missing or has no run; a single file has one run only.
pub fn compare_paths(paths: &[PathBuf]) -> Result<EmissionsComparison, CarbonError> {
    let found = rows::of_paths(paths)?.rows;
    let sides: Vec<Side> = if let [only] = paths {
        let mut ids: Vec<&str> = found.iter().map(|row| row.run_id.as_str()).collect();
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(*id));
        if ids.len() < 2 {
            let reasons = vec![format!("runs in it: {}; two are needed to compare", ids.len())];
            return Err(CarbonError::NoRuns { paths: vec![only.clone()], reasons });
        }
        let of_id =
            |id: &str| -> Vec<RunRow> { found.iter().filter(|row| row.run_id == id).cloned().collect() };
        ids.into_iter().map(|id| Side::of(id.to_owned(), &of_id(id), &found)).collect()
    } else {
        let mut sides = Vec::new();
        for path in paths {
            let own = rows::of_paths(slice::from_ref(path))?;
            if own.rows.is_empty() {
                let reasons = own.skipped.into_iter().map(|one| one.reason).collect();
                return Err(CarbonError::NoRuns { paths: vec![path.clone()], reasons });
            }
            sides.push(Side::of(path.display().to_string(), &own.rows, &found));
        }
        sides
    };
    Ok(compared(&sides))
}

/// A run, or what stands in its place.
struct Side {
    name: String,
    rows: Vec<StageRow>,
    /// What was metered on its machine at the same time, in sentences.
    shared: Vec<String>,
}

impl Side {
    fn of(name: String, own: &[RunRow], all: &[RunRow]) -> Self {
        let rows = own.iter().map(|row| StageRow {
            stage: row.stage.unwrap_or_default(),
            file: PathBuf::from(&row.file),
            record: (*row.record).clone(),
            provenance: row.provenance.as_deref().cloned(),
            shared: None,
        });
        let beside = own.iter().find_map(|row| overlap::beside_in(&row.run_id, all));
        let shared = beside.map(|beside| beside.message).into_iter().collect();
        Self { name, rows: rows.collect(), shared }
    }
}

fn compared(sides: &[Side]) -> EmissionsComparison {
    let mut runs: Vec<ComparedRun> = Vec::with_capacity(sides.len());
    for side in sides {
        let mut this = compared_run(side);
        if let (Some(first), [first_side, ..]) = (runs.first(), sides) {
            this.difference = Some(difference(&this, first, side, first_side));
        }
        runs.push(this);
    }
    EmissionsComparison { runs }
}

fn compared_run(side: &Side) -> ComparedRun {
    let SummaryTotals {
        total_emissions_kg_co2: kg,
        total_energy_kwh: kwh,
        total_duration_hours,
        energy_range_kwh,
        emissions_range_kg,
        ..
    } = summary::totals(&side.rows);
    ComparedRun {
        run_id: side.name.clone(),
        energy_kwh: kwh,
        energy_range_kwh,
        emissions_kg: kg,
        emissions_range_kg,
        duration_hours: total_duration_hours,
        basis: basis(&side.rows),
        difference: None,
    }
}

fn difference(this: &ComparedRun, first: &ComparedRun, side: &Side, first_side: &Side) -> Difference {
    let energy_kwh = this.energy_kwh - first.energy_kwh;
    let energy_percent = (first.energy_kwh > 0.0).then(|| 100.0 * energy_kwh / first.energy_kwh);
    let ranges = this.energy_range_kwh.zip(first.energy_range_kwh);
    let distinguishable =
        ranges.map(|([low, high], [first_low, first_high])| low > first_high || high < first_low);
    let by = energy_percent.map_or(String::new(), |percent| format!(" ({percent:+.1} % energy)"));
    let verdict = match distinguishable {
        None => format!("not known{by}: a run has no provenance, so its energy has no bounds"),
        Some(false) => format!("not distinguishable{by}: the bounds of the energies overlap"),
        Some(true) if energy_kwh < 0.0 => format!("used less{by}: the bounds of the energies lie apart"),
        Some(true) => format!("used more{by}: the bounds of the energies lie apart"),
    };
    Difference {
        energy_kwh,
        emissions_kg: this.emissions_kg - first.emissions_kg,
        duration_hours: this.duration_hours - first.duration_hours,
        energy_percent,
        distinguishable,
        verdict,
        caveats: caveats(this, first, side, first_side),
    }
}

fn caveats(this: &ComparedRun, first: &ComparedRun, side: &Side, first_side: &Side) -> Vec<String> {
    let (rows, first_rows) = (&side.rows[..], &first_side.rows[..]);
    let words = |property: &MeteredProperty, rows: &[StageRow]| match property
        .over(rows.iter().map(|row| &row.record))
    {
        none if none.is_empty() => String::from("none"),
        values => values,
    };
    let differs = |property: &MeteredProperty| {
        let (now, then) = (words(property, rows), words(property, first_rows));
        (now != then).then(|| format!("{}: {now} here, {then} in the first run", property.name))
    };
    let basis = (this.basis != first.basis)
        .then(|| format!("energy: {} here, {} in the first run", this.basis, first.basis));
    let stages = (rows.len() != first_rows.len())
        .then(|| format!("stages: {} here, {} in the first run", rows.len(), first_rows.len()));
    let metered = MeteredProperty::ALL.iter().filter_map(differs);
    let shared = [first_side, side].into_iter().flat_map(|side| side.shared.clone());
    shared.chain(stages).chain(metered).chain(basis).collect()
}

fn basis(rows: &[StageRow]) -> Basis {
    let Some(known) = rows.iter().map(|row| row.provenance.as_ref()).collect::<Option<Vec<_>>>() else {
        return Basis::Unknown;
    };
    basis_of(known.iter().flat_map(|known| &known.components))
}
