//! Emissions as CodeCarbon writes them, and their provenance, for which its format has no columns.

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Basis;

/// Time between rows while something is metered: CodeCarbon's own interval.
pub const ROW_INTERVAL: Duration = Duration::from_secs(15);

/// One row of CodeCarbon's `emissions.csv` (3.3.0): 38 columns, in its order.
///
/// Units: seconds, kg CO2-equivalent, kg/s, W (mean), kWh, litres, GB of 1024³ bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // the field names are CodeCarbon's column names
pub struct EmissionsRecord {
    pub timestamp: String,
    pub project_name: String,
    pub run_id: String,
    pub experiment_id: String,
    pub duration: f64,
    pub emissions: f64,
    pub emissions_rate: f64,
    pub cpu_power: f64,
    pub gpu_power: f64,
    pub ram_power: f64,
    pub cpu_energy: f64,
    pub gpu_energy: f64,
    pub ram_energy: f64,
    pub energy_consumed: f64,
    pub water_consumed: f64,
    pub country_name: String,
    pub country_iso_code: String,
    pub region: String,
    pub cloud_provider: String,
    pub cloud_region: String,
    pub os: String,
    pub python_version: String,
    pub codecarbon_version: String,
    pub cpu_count: u32,
    pub cpu_model: String,
    pub gpu_count: u32,
    pub gpu_model: String,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
    pub ram_total_size: f64,
    pub tracking_mode: String,
    pub cpu_utilization_percent: f64,
    pub gpu_utilization_percent: f64,
    pub ram_utilization_percent: f64,
    pub ram_used_gb: f64,
    pub on_cloud: String,
    pub pue: f64,
    pub wue: f64,
}

/// A property of how energy was metered, which should be the same where energies are compared.
#[derive(Clone, Copy, Debug)]
pub struct MeteredProperty {
    /// What it is called.
    pub name: &'static str,
    of: fn(&EmissionsRecord) -> String,
}

impl MeteredProperty {
    /// Country and region whose electricity it was.
    pub const GRID: Self =
        Self { name: "grid", of: |row| format!("{} {}", row.country_iso_code, row.region).trim().to_owned() };
    /// Processor model.
    pub const PROCESSOR: Self = Self { name: "processor", of: |row| row.cpu_model.clone() };
    /// Models of the GPUs; empty without one.
    pub const GPU: Self = Self { name: "GPU", of: |row| row.gpu_model.clone() };
    /// The machine, or a process's share of it.
    pub const TRACKING_MODE: Self = Self { name: "tracking mode", of: |row| row.tracking_mode.clone() };
    /// Data-centre overhead.
    pub const PUE: Self = Self { name: "PUE", of: |row| row.pue.to_string() };
    /// The meter and its version.
    pub const METER: Self = Self { name: "meter", of: |row| row.codecarbon_version.clone() };
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::GRID, Self::PROCESSOR, Self::GPU, Self::TRACKING_MODE, Self::PUE, Self::METER];

    /// The property over the rows of several stages: its values, each once; empty where none is known.
    pub fn over<'a>(&self, rows: impl IntoIterator<Item = &'a EmissionsRecord>) -> String {
        let values: BTreeSet<_> = rows.into_iter().map(self.of).collect();
        values.into_iter().collect::<Vec<_>>().join(" and ")
    }
}

/// How the energy of one component (cpu, gpu, ram) is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentProvenance {
    /// `cpu`, `gpu` or `ram`.
    pub component: String,
    /// Measured or modelled.
    #[schemars(schema_with = "crate::basis::of_component")]
    pub basis: Basis,
    /// The counter or formula, in words, such as `RAPL package-0` or `load model: TDP 4 W per thread`.
    pub method: String,
    /// Where the method's constants come from.
    pub source: String,
    /// Energy in kWh.
    pub energy_kwh: f64,
    /// Distance of the interval's farther end from `energy_kwh`, as a fraction of it.
    pub uncertainty: f64,
    /// Whether the counter covers the whole machine or this process alone.
    pub scope: String,
    /// Interval in which the true value is believed to lie, in kWh; absent in format 1, where it is symmetric.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub range_kwh: Option<[f64; 2]>,
    /// Year of the source, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub year: Option<u16>,
}

impl ComponentProvenance {
    /// Interval in which the true value is believed to lie, in kWh; of a file of format 1 the symmetric one.
    pub fn interval_kwh(&self) -> [f64; 2] {
        self.range_kwh.unwrap_or_else(|| {
            let half_width = self.energy_kwh * self.uncertainty;
            [(self.energy_kwh - half_width).max(0.0), self.energy_kwh + half_width]
        })
    }
}

/// A wall meter's calibration that was applied to the energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedCalibration {
    /// The wall meter, the machine and the fit, in words.
    pub name: String,
    /// Energy as the counters and models had it, in kWh with PUE.
    pub raw_energy_kwh: f64,
    /// The same energy as the wall meter would have had it, in kWh with PUE.
    pub energy_kwh: f64,
}

/// `{run_id}_stage{N}_provenance.json`: what CodeCarbon's format has no columns for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsProvenance {
    /// Version of this file's format.
    pub format_version: u32,
    /// The meter that wrote it, with its version.
    pub meter: String,
    /// Per component.
    pub components: Vec<ComponentProvenance>,
    /// Carbon intensity used, in g CO2-equivalent per kWh: where it changed, the mean weighted by energy.
    pub carbon_intensity_g_per_kwh: f64,
    /// Where the intensity comes from, its year and licence.
    pub carbon_intensity_source: String,
    /// Data-centre overhead factor applied to energy.
    pub pue: f64,
    /// What was looked for and not found, such as `RAPL: permission denied`.
    pub notes: Vec<String>,
    /// Attempts (worker starts) that the figures cover.
    pub attempts: u32,
    /// Seconds that the last attempt was metered; absent before greentune wrote it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt_seconds: Option<f64>,
    /// Whether meters of one machine took turns at a lock, so that its energy is counted once among them.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub takes_turns: bool,
    /// Interval in which the true energy of all components is believed to lie, in kWh; absent in format 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_range_kwh: Option<[f64; 2]>,
    /// Interval in which the true emissions are believed to lie, in kg CO2-equivalent; absent in format 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_range_kg: Option<[f64; 2]>,
    /// Least and greatest carbon intensity while energy was used, in g CO2-equivalent per kWh.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon_intensity_range_g_per_kwh: Option<[f64; 2]>,
    /// Relative half-width of the intensity's interval.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon_intensity_uncertainty: Option<f64>,
    /// The calibration that was applied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calibration: Option<AppliedCalibration>,
}

/// Interval of all components together, in kWh: their ends add up, because their errors may have common causes.
pub fn sum_of_intervals_kwh(components: &[ComponentProvenance]) -> [f64; 2] {
    let intervals = components.iter().map(ComponentProvenance::interval_kwh);
    intervals.fold([0.0, 0.0], |[low, high], [less, more]| [low + less, high + more])
}

/// How the energy of all components together is known; modelled where there are none.
pub fn basis_of<'a>(components: impl IntoIterator<Item = &'a ComponentProvenance>) -> Basis {
    Basis::of_sum(components.into_iter().map(|component| component.basis)).unwrap_or(Basis::Modelled)
}

impl EmissionsProvenance {
    /// Interval in which the true energy is believed to lie, in kWh; of a file of format 1 the sum of its components'.
    pub fn energy_interval_kwh(&self) -> [f64; 2] {
        self.energy_range_kwh.unwrap_or_else(|| sum_of_intervals_kwh(&self.components))
    }

    /// Interval in which the true emissions are believed to lie, in kg CO2-equivalent; of a file of format 1 that of the
    /// energy alone, without the grid's own.
    pub fn emissions_interval_kg(&self) -> [f64; 2] {
        let g_per_kwh = self.carbon_intensity_g_per_kwh;
        let of_energy = || self.energy_interval_kwh().map(|kwh| kwh * g_per_kwh / 1000.0);
        self.emissions_range_kg.unwrap_or_else(of_energy)
    }
}
