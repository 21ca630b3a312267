//! Energy and carbon of a program that runs: what it draws, what that emits, and how well that is known.
//!
//! A [`Meter`] samples the processor (RAPL, else a load model), GPUs (NVML, or AMD's driver) and memory (RAPL, else a
//! model) in a thread of its own; a [`calibration`] by a wall meter scales them to what is drawn from it. Its figures go
//! to CodeCarbon's CSV ([`codecarbon`]); what that format cannot say (counter or formula, source, interval) goes to a
//! sidecar ([`sidecar`]). [`track`] meters another program. From these files [`summary`] answers for a run,
//! [`aggregate`] for all of them, [`compare`] for some beside each other; [`plots`] draws them (feature `plots`).

pub mod aggregate;
pub mod calibration;
pub mod codecarbon;
pub mod compare;
pub mod equivalence;
pub mod intensity;
pub mod memory;
#[cfg(feature = "plots")]
pub mod plots;
pub mod sci;
pub mod sidecar;
pub mod summary;
pub mod track;

mod amd;
mod carried;
mod counter;
mod cpu;
mod durable;
mod error;
mod evidence;
mod gpu;
mod host_lock;
mod ledger;
mod machine;
mod meter;
mod nvidia;
mod ram;
mod rapl;
mod report;
mod sensors;
mod tdp;

pub use carried::Carried;
pub use error::CarbonError;
pub use ledger::ComponentPower;
pub use meter::{Meter, MeterConfig, Snapshot, Surroundings};
pub use sensors::Host;

/// Joules in a kWh.
const JOULES_PER_KWH: f64 = 3.6e6;
/// Bytes in a GB as CodeCarbon counts them (1024³).
const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;
