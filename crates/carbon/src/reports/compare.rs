//! Runs beside each other: what differs, and whether the meters could tell.

use greentune_core_config::{
    Basis,
    emissions::{MeteredProperty, basis_of},
    layout::RunLayout,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError,
    reports::summary::{self, StageRow, SummaryTotals},
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
    let mut compared: Vec<ComparedRun> = Vec::new();
    let mut first_rows = Vec::new();
    for run in runs {
        let rows = summary::stage_rows(run)?;
        let mut this = compared_run(run, &rows);
        match compared.first() {
            Some(first) => this.difference = Some(difference(&this, first, &rows, &first_rows)),
            None => first_rows = rows,
        }
        compared.push(this);
    }
    Ok(EmissionsComparison { runs: compared })
}

fn compared_run(run: &RunLayout, rows: &[StageRow]) -> ComparedRun {
    let SummaryTotals {
        total_emissions_kg_co2: kg,
        total_energy_kwh: kwh,
        total_duration_hours,
        energy_range_kwh,
        emissions_range_kg,
        ..
    } = summary::totals(rows);
    ComparedRun {
        run_id: run.run_id(),
        energy_kwh: kwh,
        energy_range_kwh,
        emissions_kg: kg,
        emissions_range_kg,
        duration_hours: total_duration_hours,
        basis: basis(rows),
        difference: None,
    }
}

fn difference(
    this: &ComparedRun,
    first: &ComparedRun,
    rows: &[StageRow],
    first_rows: &[StageRow],
) -> Difference {
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
        caveats: caveats(this, first, rows, first_rows),
    }
}

fn caveats(
    this: &ComparedRun,
    first: &ComparedRun,
    rows: &[StageRow],
    first_rows: &[StageRow],
) -> Vec<String> {
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
    stages.into_iter().chain(metered).chain(basis).collect()
}

fn basis(rows: &[StageRow]) -> Basis {
    let Some(known) = rows.iter().map(|row| row.provenance.as_ref()).collect::<Option<Vec<_>>>() else {
        return Basis::Unknown;
    };
    basis_of(known.iter().flat_map(|known| &known.components))
}
