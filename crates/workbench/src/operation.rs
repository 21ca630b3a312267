//! The operations: one file each, with its request, its response and the operation itself, and their registry.
//!
//! Front ends iterate [`OPERATIONS`]: what each is called, takes, answers, changes and reaches, and how it is performed
//! is said once, here. A new operation is a file with its method of [`Workbench`](crate::Workbench) and a row in
//! `registry`.

mod arguments;
mod consents;
mod definition;
mod in_words;
mod meant;
mod registry;
mod schema;
pub mod section;

pub mod calibrate_meter;
mod cancel_task;
pub mod cancel_training;
pub mod compare_emissions;
pub mod compare_runs;
pub mod configure_image_run;
pub mod configure_training_run;
pub mod create_model_card;
pub mod diagnose;
pub mod energy_leaderboard;
pub mod evaluate_model;
pub mod export_model;
pub mod follow_events;
pub mod forecast_carbon_intensity;
pub mod generate_fine_tuning_project;
pub mod generate_text;
pub mod get_aggregate_emissions;
pub mod get_emissions_summary;
pub mod get_series;
mod get_task;
pub mod inspect_dataset;
pub mod list_emissions;
pub mod list_runs;
pub mod monitor_training;
pub mod monitor_training_progress;
pub mod plan_training;
pub mod plot_emissions;
pub mod plot_runs;
pub mod prepare_dataset;
pub mod resume_training;
pub mod show_config;
pub mod show_log;
pub mod show_run;
pub mod start_training;
pub mod sync_model;
mod sync_tracking;
pub mod track_emissions;
pub mod tune_training;

pub use calibrate_meter::{CalibrateMeter, CalibrateMeterResponse};
pub use cancel_task::{CancelTask, CancelTaskResponse};
pub use cancel_training::{CancelTraining, CancelTrainingResponse};
pub use compare_emissions::CompareEmissions;
pub use compare_runs::{CompareRuns, CompareRunsResponse, ComparisonFormat};
pub use configure_image_run::{AstConfig, ChosenSetting, ConfigureImageRun, ConfigureImageRunResponse};
pub use configure_training_run::{
    ConfigurationSummary, ConfigureTrainingRun, ConfigureTrainingRunResponse, StageSummary, TrainingData,
};
pub use create_model_card::{CreateModelCard, CreateModelCardResponse};
pub use definition::{Advice, Answer, Consent, Effect, Entry, Operation, Performing, Reach};
pub use diagnose::{Check, CheckStatus, Diagnose, DiagnoseResponse};
pub use energy_leaderboard::{EnergyLeaderboard, EnergyLeaderboardResponse, LeaderboardRow, LeftOut};
pub use evaluate_model::{CustomMetric, EvaluateModel, EvaluateModelResponse, EvaluationResults};
pub use export_model::{ExportModel, ExportModelResponse};
pub use follow_events::{FollowEvents, FollowEventsResponse};
pub use forecast_carbon_intensity::{ForecastCarbonIntensity, ForecastCarbonIntensityResponse};
pub use generate_fine_tuning_project::{
    FeaturesEnabled, GenerateFineTuningProject, GenerateFineTuningProjectResponse, Integrations,
    ProjectFeatures,
};
pub use generate_text::{GenerateText, GenerateTextResponse, Generation};
pub use get_aggregate_emissions::GetAggregateEmissions;
pub use get_emissions_summary::{GetCurrentEmissions, GetEmissionsSummary};
pub use get_series::{GetSeries, GetSeriesResponse};
pub use get_task::{GetTask, GetTaskResponse};
pub use inspect_dataset::InspectDataset;
pub use list_emissions::ListEmissions;
pub use list_runs::{ListRuns, ListRunsResponse};
pub use monitor_training::{MonitorTraining, MonitorTrainingResponse};
pub use monitor_training_progress::{
    MonitorTrainingProgress, MonitorTrainingProgressResponse, TrainingMetrics,
};
pub use plan_training::{PlanTraining, PlanTrainingResponse};
pub use plot_emissions::{PlotEmissions, PlotEmissionsResponse, RUN_CHARTS};
pub use plot_runs::{PlotRuns, PlotRunsResponse};
pub use prepare_dataset::PrepareDataset;
pub use registry::{OPERATIONS, find};
pub use resume_training::ResumeTraining;
pub use section::{BaseModelConfig, CarbonConfig, DatasetConfig, LoraConfig, TrainingConfig};
pub use show_config::{ShowConfig, ShowConfigResponse};
pub use show_log::{ShowLog, ShowLogResponse};
pub use show_run::{ShowRun, ShowRunResponse};
pub use start_training::{StartTraining, StartTrainingResponse};
pub use sync_model::{ModelPlace, SyncModel, SyncModelResponse, SyncedFile};
pub use sync_tracking::SyncTracking;
pub use track_emissions::{TrackEmissions, TrackEmissionsResponse};
pub use tune_training::{TuneTraining, TuneTrainingResponse};
