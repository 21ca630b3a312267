//! What a run will need: the engine's findings, earlier runs and the settings put together, and compared afterwards.

mod accuracy;
mod estimate;
mod past;

pub(crate) use accuracy::{accuracy_of, last_accuracy};
pub(crate) use estimate::put_together;
pub(crate) use past::{Past, comparable_runs, memory_ratios, past_of};
