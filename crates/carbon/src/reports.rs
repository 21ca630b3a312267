//! What files of emissions say: of a run, of all runs, of some beside each other, and as charts.

pub mod aggregate;
pub mod compare;
pub mod equivalence;
pub mod list;
pub mod overlap;
#[cfg(feature = "plots")]
pub mod plots;
mod rows;
pub mod sci;
pub mod summary;
