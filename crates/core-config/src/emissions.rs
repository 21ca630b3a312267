//! Emissions as CodeCarbon writes them, and what its format cannot say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// How a component's energy was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergyBasis {
    /// Read from a hardware counter.
    Measured,
    /// Computed from time, load and rated power.
    Modelled,
}

/// How the energy of one component (cpu, gpu, ram) was got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentProvenance {
    /// `cpu`, `gpu` or `ram`.
    pub component: String,
    /// Measured or modelled.
    pub basis: EnergyBasis,
    /// The counter or formula, in words, such as `RAPL package-0` or `load model: TDP 4 W per thread`.
    pub method: String,
    /// Where the method's constants come from.
    pub source: String,
    /// Energy in kWh.
    pub energy_kwh: f64,
    /// Half-width of the interval in which the true value is believed to lie, as a fraction of `energy_kwh`.
    pub uncertainty: f64,
    /// Whether the counter covers the whole machine or this process alone.
    pub scope: String,
}

/// `{run_id}_stage{N}_provenance.json`: what CodeCarbon's format cannot say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmissionsProvenance {
    /// Version of this file's format.
    pub format_version: u32,
    /// The meter that wrote it, with its version.
    pub meter: String,
    /// Per component.
    pub components: Vec<ComponentProvenance>,
    /// Carbon intensity used, in g CO2-equivalent per kWh.
    pub carbon_intensity_g_per_kwh: f64,
    /// Where the intensity comes from, its year and licence.
    pub carbon_intensity_source: String,
    /// Data-centre overhead factor applied to energy.
    pub pue: f64,
    /// What was looked for and not found, such as `RAPL: permission denied`.
    pub notes: Vec<String>,
    /// Attempts (worker starts) that the figures cover.
    pub attempts: u32,
}
