//! Energy and carbon of a program that runs: what it draws, what that emits, and how well that is known.
//!
//! A [`Meter`] samples the processor (RAPL, else a load model), NVIDIA GPUs (NVML) and memory (a model) in a thread of its
//! own. Its figures go to CodeCarbon's CSV ([`codecarbon`]); what that format cannot say (counter or formula, source,
//! uncertainty) goes to a sidecar ([`sidecar`]). From these files [`summary`] answers for a run, [`aggregate`] for all of
//! them, [`compare`] for some beside each other; [`plots`] draws them (feature `plots`).

pub mod aggregate;
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

mod carried;
mod cpu;
mod durable;
mod error;
mod gpu;
mod ledger;
mod machine;
mod meter;
mod ram;
mod rapl;
mod report;
mod sensors;

pub use carried::Carried;
pub use error::CarbonError;
pub use meter::{Meter, MeterConfig, Snapshot};
pub use sensors::Host;

/// Joules in a kWh.
const JOULES_PER_KWH: f64 = 3.6e6;
/// Bytes in a GB as CodeCarbon counts them (1024³).
const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;
