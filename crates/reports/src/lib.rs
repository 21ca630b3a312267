//! Reports on finished runs, from the files in their folders.
//!
//! [`comparison`] sets adaptive sparse training beside full training: each figure with its interval, how it was got, and
//! what limits what it says. [`card`] writes the model card of one run. Both take the energy of a run from one place, which
//! adds up what the meters of its stages left.
//!
//! This crate reads no index and writes no file: callers hand it runs and get text and charts back.

pub mod card;
pub mod comparison;

mod error;
mod loss_curve;
mod run_energy;
mod statistics;

pub use error::{ReportError, Result};
pub use loss_curve::loss_curve;
