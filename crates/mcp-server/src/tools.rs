//! The tools, one file each: description, effect, and what came of a call in words.

mod cancel_training;
mod compare_runs;
mod configure_training_run;
mod create_model_card;
mod evaluate_model;
mod export_model;
mod generate_fine_tuning_project;
mod get_aggregate_emissions;
mod get_emissions_summary;
mod inspect_dataset;
mod list_runs;
mod monitor_training;
mod monitor_training_progress;
mod plan_training;
mod prepare_dataset;
mod resume_training;
mod start_training;

use std::sync::LazyLock;

use greentune_workbench::operation::{
    CancelTraining, CompareRuns, ConfigureTrainingRun, CreateModelCard, EvaluateModel, ExportModel,
    GenerateFineTuningProject, GetAggregateEmissions, GetEmissionsSummary, InspectDataset, ListRuns,
    MonitorTraining, MonitorTrainingProgress, PlanTraining, PrepareDataset, ResumeTraining, StartTraining,
};

use crate::operation::Entry;

/// Every tool, in the order in which they are listed: first the usual course of a fine-tuning.
pub(crate) static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    vec![
        Entry::of::<GenerateFineTuningProject>(),
        Entry::of::<ConfigureTrainingRun>(),
        Entry::of::<StartTraining>(),
        Entry::of::<MonitorTrainingProgress>(),
        Entry::of::<MonitorTraining>(),
        Entry::of::<EvaluateModel>(),
        Entry::of::<ExportModel>(),
        Entry::of::<CompareRuns>(),
        Entry::of::<CreateModelCard>(),
        Entry::of::<CancelTraining>(),
        Entry::of::<ResumeTraining>(),
        Entry::of::<ListRuns>(),
        Entry::of::<GetEmissionsSummary>(),
        Entry::of::<GetAggregateEmissions>(),
        Entry::of::<InspectDataset>(),
        Entry::of::<PrepareDataset>(),
        Entry::of::<PlanTraining>(),
    ]
});

/// The tool called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.name() == name)
}
