//! Meters: counters of processor, memory and GPUs, models where there are none, and what they add up to.
//!
//! `rapl`, `gpu`, `cpu` and `ram` read or model a component, `sensors` reads all of them, `ledger` adds up without IO, `report`
//! says how it is known, and [`Meter`] does it in a thread.

pub mod calibration;
mod carried;
mod config;
mod counter;
mod cpu;
mod evidence;
mod gpu;
mod ledger;
mod meter;
mod ram;
mod rapl;
mod report;
mod sensors;
mod tdp;
pub mod track;

pub use carried::Carried;
pub use config::{MeterConfig, MeterEnvironment};
pub use meter::{Meter, Snapshot};
