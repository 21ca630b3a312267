//! What is told of finished runs, from what they left in their folders.
//!
//! [`comparison`] sets adaptive sparse training beside full training: each figure with its interval, how it was got, and
//! what limits what it says. [`card`] writes the model card of one run. Both take the energy of a run from one place, which
//! adds up what the meters of its stages left.
//!
//! Nothing is looked up here: runs come read, and text goes back to whoever asked. Charts are returned, not written.

pub mod card;
pub mod comparison;

mod error;
mod run_energy;
mod statistics;

pub use error::{ReportError, Result};
