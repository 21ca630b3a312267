//! What a run will need: the engine's findings, earlier runs and the settings put together, and compared afterwards.

mod accuracy;
mod estimate;
mod past;

use greentune_core_config::{
    layout::RunLayout,
    plan::{FORMAT_VERSION, TrainingPlan},
};
use greentune_run_folder::json;

pub(crate) use accuracy::{accuracy_of, last_accuracy};
pub(crate) use estimate::put_together;
pub(crate) use past::{Past, comparable_runs, memory_ratios, past_of};

/// The plan of the run at `layout`; none where it was not planned, or by a newer version whose figures may mean other things.
pub(crate) fn kept_plan(layout: &RunLayout) -> Option<TrainingPlan> {
    let plan: TrainingPlan = json::read(&layout.plan()).ok()?;
    (plan.format_version <= FORMAT_VERSION).then_some(plan)
}
