//! Energy and carbon of a program that runs: what it draws, what that emits, and how well that is known.
//!
//! A [`Meter`] samples the processor (RAPL, else a load model), GPUs (NVML, or AMD's driver) and memory (RAPL, else a
//! model) in a thread of its own; a [`calibration`] by a wall meter scales them to what is drawn from it. Its figures go
//! to CodeCarbon's CSV ([`codecarbon`]); what that format cannot say (counter or formula, source, interval) goes to a
//! sidecar ([`sidecar`]). [`track`] meters another program. From these files [`summary`] answers for a run,
//! [`aggregate`] for all of them, [`compare`] for some beside each other; [`plots`] draws them (feature `plots`).

pub mod grid;

mod error;
mod files;
mod machine;
mod meters;
mod reports;

pub use self::grid as intensity;
pub use error::CarbonError;
pub use files::{codecarbon, sidecar};
pub use machine::{Host, memory};
pub use meters::{Carried, Meter, MeterConfig, MeterEnvironment, Snapshot, calibration, track};
#[cfg(feature = "plots")]
pub use reports::plots;
pub use reports::{aggregate, compare, equivalence, list, overlap, sci, summary};

/// Joules in a kWh.
const JOULES_PER_KWH: f64 = 3.6e6;
/// Bytes in a GB as CodeCarbon counts them (1024³).
const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;
