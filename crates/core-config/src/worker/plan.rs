//! What training will need, said before it starts: `plan.json` in the run's folder.
//!
//! Intervals are `[least, most]` around the figure beside them; how wide they are is said in
//! [`TrainingPlan::assumptions`].

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::{MemoryEstimate, Reduction};

/// Version of the format of `plan.json`.
pub const FORMAT_VERSION: u32 = 1;

/// What training will need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainingPlan {
    /// Version of the file's format.
    pub format_version: u32,
    /// The run.
    pub run_id: String,
    /// When it was planned.
    #[schemars(with = "String")]
    pub planned_at: Timestamp,
    /// Version of greentune that planned it.
    pub greentune_version: String,
    /// Device that will train, such as `cpu (flex, 2 threads)`.
    pub device: String,
    /// The basis of time and energy.
    pub basis: PlanBasis,
    /// Earlier runs that it rests on.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub past_runs: Vec<String>,
    /// Weights of the base model.
    pub base_parameters: u64,
    /// Weights that are trained.
    pub trainable_parameters: u64,
    /// Memory at its peak.
    pub memory: MemoryPlan,
    /// Time; absent when nothing could be measured and nothing comparable was trained.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time: Option<TimePlan>,
    /// Energy; absent without time, or when metering is off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy: Option<EnergyPlan>,
    /// Emissions of that energy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub carbon: Option<CarbonPlan>,
    /// Cost of that energy; absent unless `carbon.electricity_price_per_kwh` is set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<CostPlan>,
    /// The assumptions of the plan.
    pub assumptions: Vec<String>,
}

/// The basis of a plan's time and energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanBasis {
    /// A few steps on the run's own data, done for the plan and thrown away.
    MeasuredSteps,
    /// Earlier runs of the same base model on this device and machine.
    PastRuns,
    /// The memory formula alone: nothing was measured.
    Formula,
}

impl PlanBasis {
    /// The basis as it is written in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MeasuredSteps => "measured_steps",
            Self::PastRuns => "past_runs",
            Self::Formula => "formula",
        }
    }
}

/// Memory at its peak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPlan {
    /// Largest resident memory of the worker, in bytes.
    pub peak_bytes: u64,
    /// Bounds of it, in bytes.
    pub peak_range_bytes: [u64; 2],
    /// The formula's parts, before any correction.
    pub estimate: MemoryEstimate,
    /// Measured peak over the formula's, of earlier runs: the median, by which the formula's was multiplied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correction: Option<f64>,
    /// What is free.
    pub available: AvailableMemory,
    /// Whether it fits; absent when it is not known what is free.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fits: Option<bool>,
    /// Changes of the settings that would lower it.
    pub reductions: Vec<Reduction>,
}

/// Memory that a process can still take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AvailableMemory {
    /// Bytes; absent when the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
    /// What limits it: `the machine`, `the control group`, `the GPU`; or why it is not known.
    pub limited_by: String,
}

/// Time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimePlan {
    /// Seconds of the worker, from loading the model to the last report.
    pub duration_seconds: f64,
    /// Bounds of it.
    pub range_seconds: [f64; 2],
    /// Seconds to load model and data; absent when they were not measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loading_seconds: Option<f64>,
    /// The stages.
    pub stages: Vec<StageTime>,
}

/// Time of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// Stage, from 1.
    pub stage: u8,
    /// Tokens that its steps will train on; exact, because draws follow from the seed.
    pub tokens: u64,
    /// Tokens per second of a step.
    pub tokens_per_second: f64,
    /// Seconds of all steps.
    pub training_seconds: f64,
    /// Seconds of all evaluations, those of the stage's end included, without writing text.
    pub evaluation_seconds: f64,
    /// Seconds of generating text for the reports.
    pub generation_seconds: f64,
}

/// Energy, data-centre overhead (PUE) included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnergyPlan {
    /// kWh.
    pub energy_kwh: f64,
    /// Bounds of it. Time and power err independently, so the distances of their bounds add up as squares, on a
    /// logarithmic scale.
    pub range_kwh: [f64; 2],
    /// Mean power, in W.
    pub power_w: f64,
    /// How the power was got: `measured`, `modelled` or `mixed`.
    pub basis: String,
    /// Distance of the farther end of the meter's own interval, as a fraction.
    pub uncertainty: f64,
    /// Bounds of the power as the meter has them, in W; not symmetric where the meter's are not.
    #[serde(default)]
    pub power_range_w: [f64; 2],
}

/// Emissions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CarbonPlan {
    /// kg CO2-equivalent.
    pub emissions_kg_co2: f64,
    /// Bounds of it.
    pub range_kg_co2: [f64; 2],
    /// g CO2-equivalent per kWh.
    pub carbon_intensity_g_per_kwh: f64,
    /// Where the intensity comes from.
    pub carbon_intensity_source: String,
}

/// Cost of the energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostPlan {
    /// Amount.
    pub amount: f64,
    /// Bounds of it.
    pub range: [f64; 2],
    /// Price of a kWh, as `carbon.electricity_price_per_kwh` says.
    pub price_per_kwh: f64,
    /// Its currency (ISO 4217), as `carbon.electricity_currency` says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub currency: Option<String>,
}

/// How far off a plan was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAccuracy {
    /// The run that was planned and trained.
    pub run_id: String,
    /// What its time and energy rested on.
    pub basis: PlanBasis,
    /// Whether it was planned after training had begun.
    pub planned_afterwards: bool,
    /// Per quantity.
    pub quantities: Vec<PlannedActual>,
}

/// One quantity, planned and actual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedActual {
    /// `peak_memory_bytes`, `duration_seconds`, `energy_kwh` or `emissions_kg_co2`.
    pub quantity: String,
    /// As planned.
    pub planned: f64,
    /// The actual figure.
    pub actual: f64,
    /// Actual over planned: 1 means that the plan was exact.
    pub ratio: f64,
    /// Whether the actual figure lay in the plan's bounds.
    pub within_range: bool,
}
