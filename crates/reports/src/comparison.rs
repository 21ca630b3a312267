//! Comparison of runs: accuracy, energy and the rest, each with its interval and its basis, and what else differs.
//!
//! A run is read once, into its figures. Everything after that is arithmetic and words.

mod caveats;
mod charts;
mod compare;
mod differences;
mod figures;
mod render;
mod rows;
mod savings;

pub use caveats::Caveat;
pub use rows::{ComparisonRow, Figure, Metric};
pub use savings::{Quantities, Quantity};

pub use crate::statistics::IntervalSource;

pub use charts::charts;
pub use compare::{Comparison, compare};
pub(crate) use differences::{Difference, differences, differing_keys};
pub use figures::{RunFigures, base_of, data_of, differing_settings, length_of, model_name};
pub use render::Rendered;
