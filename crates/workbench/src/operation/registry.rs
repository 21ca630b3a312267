//! The registry: every operation, in the order in which front ends list them.

use greentune_carbon::{
    aggregate::AggregateEmissions,
    compare::EmissionsComparison,
    list::EmissionsTable,
    summary::{CurrentEmissions, EmissionsSummary},
};
use greentune_core_config::{preparation::DatasetPreparation, task::DatasetInspection};
use greentune_tracking::SyncReport;

use super::{
    CalibrateMeter, CalibrateMeterResponse, CancelTask, CancelTaskResponse, CancelTraining,
    CancelTrainingResponse, CompareEmissions, CompareRuns, CompareRunsResponse, ConfigureImageRun,
    ConfigureImageRunResponse, ConfigureTrainingRun, ConfigureTrainingRunResponse, CreateModelCard,
    CreateModelCardResponse, Diagnose, DiagnoseResponse, EnergyLeaderboard, EnergyLeaderboardResponse,
    EvaluateModel, EvaluateModelResponse, ExportModel, ExportModelResponse, FollowEvents,
    FollowEventsResponse, ForecastCarbonIntensity, ForecastCarbonIntensityResponse,
    GenerateFineTuningProject, GenerateFineTuningProjectResponse, GenerateText, GenerateTextResponse,
    GetAggregateEmissions, GetCurrentEmissions, GetEmissionsSummary, GetSeries, GetSeriesResponse, GetTask,
    GetTaskResponse, InspectDataset, ListEmissions, ListRuns, ListRunsResponse, MonitorTraining,
    MonitorTrainingProgress, MonitorTrainingProgressResponse, MonitorTrainingResponse, PlanTraining,
    PlanTrainingResponse, PlotEmissions, PlotEmissionsResponse, PlotRuns, PlotRunsResponse, PrepareDataset,
    ResumeTraining, ShowConfig, ShowConfigResponse, ShowLog, ShowLogResponse, ShowRun, ShowRunResponse,
    StartTraining, StartTrainingResponse, SyncModel, SyncModelResponse, SyncTracking, TrackEmissions,
    TrackEmissionsResponse, TuneTraining, TuneTrainingResponse, consents,
    definition::{Advice, Consent, Effect, Entry, Operation, Reach, RequestSchema},
    in_words,
};
use crate::{Result, Workbench};

/// `Request => Response: method of Workbench, effect, reach, in words, advice, consent, title, description`
macro_rules! operations {
    ($(
        $request:ident => $response:ident: $name:ident, $effect:ident, $reach:ident
        $(, words: $words:path)? $(, advice: $advice:expr)? $(, consent: $consent:path)?, $title:literal, $description:literal;
    )*) => {
        $(
            impl Operation for $request {
                type Response = $response;

                const NAME: &'static str = stringify!($name);
                const TITLE: &'static str = $title;
                const DESCRIPTION: &'static str = $description;
                const EFFECT: Effect = Effect::$effect;
                const REACH: Reach = Reach::$reach;

                async fn perform(self, workbench: &Workbench) -> Result<Self::Response> {
                    workbench.$name(self).await
                }

                $(
                    fn in_words(response: &Self::Response) -> String {
                        $words(response)
                    }
                )?

                $(
                    fn advice(response: &Self::Response) -> Advice {
                        let advice: fn(&Self::Response) -> Advice = $advice;
                        advice(response)
                    }
                )?

                $(
                    fn consent(&self) -> Option<Consent> {
                        $consent(self)
                    }
                )?
            }
        )*

        /// Every operation, first the usual course of a fine-tuning.
        pub static OPERATIONS: &[Entry] = &[$({
            static SCHEMA: RequestSchema = RequestSchema::new();
            Entry::of::<$request>(&SCHEMA)
        }),*];
    };
}

operations! {
    GenerateFineTuningProject => GenerateFineTuningProjectResponse: generate_fine_tuning_project, Adds, Local, words: in_words::generate_fine_tuning_project,
        "Generate a fine-tuning project", "Makes a project folder: configuration, scripts, README. The first step of a fine-tuning. Sections take every setting of the configuration.";
    ConfigureTrainingRun => ConfigureTrainingRunResponse: configure_training_run, Adds, Network, words: in_words::configure_training_run,
        "Configure a training run", "Checks data, settings and base model (downloads one of the Hub) and makes a run of a project; trains nothing yet. Answers the run_id.";
    StartTraining => StartTrainingResponse: start_training, Adds, Network, words: in_words::start_training,
        "Start training", "Trains a configured run (run_id), or an image classifier in one step (dataset, model; ast_config or baseline), in the background.";
    MonitorTrainingProgress => MonitorTrainingProgressResponse: monitor_training_progress, Reads, Local, words: in_words::monitor_training_progress, advice: |response| Advice { suggestions: response.suggestions.clone(), hint: response.hint.clone() },
        "Monitor training progress", "Status, step, loss, time left and emissions of a run. Ask again after some seconds while it is queued or running.";
    MonitorTraining => MonitorTrainingResponse: monitor_training, Reads, Local, words: in_words::monitor_training,
        "Monitor a job", "How far a job is: epoch, accuracy, loss, share of samples trained on, arithmetic saved, minutes to go.";
    EvaluateModel => EvaluateModelResponse: evaluate_model, Adds, Local, words: in_words::evaluate_model,
        "Evaluate a model", "Evaluates a trained stage on a data set, the base model beside it: token accuracy, perplexity, exact match.";
    GenerateText => GenerateTextResponse: generate_text, Reads, Local, words: in_words::generate_text,
        "Generate text", "What the base model and the trained stages of a run answer, side by side, or a model in a folder. Greedy.";
    ExportModel => ExportModelResponse: export_model, Adds, Network, words: in_words::export_model, consent: consents::export_model,
        "Export a model", "Writes a trained stage for other programs, as adapters or merged into the base model; can upload it.";
    SyncModel => SyncModelResponse: sync_model, Settles, Network, words: in_words::sync_model, consent: consents::sync_model,
        "Upload a model", "Uploads an exported folder to the Hugging Face Hub, in one commit. Private unless hf_public.";
    CompareRuns => CompareRunsResponse: compare_runs, Reads, Local, words: in_words::compare_runs,
        "Compare runs", "Compares adaptive sparse with full training: accuracy, energy, time, cost, CO2 with intervals, bases and caveats. Several ids are seeds of a group.";
    CreateModelCard => CreateModelCardResponse: create_model_card, Replaces, Local, words: in_words::create_model_card, consent: consents::create_model_card,
        "Create a model card", "The model card of a completed run: Hub metadata, results, what training cost, savings against baseline_run_id. Written to output_path when given.";
    CancelTraining => CancelTrainingResponse: cancel_training, Settles, Local, words: in_words::cancel_training, advice: |response| Advice { suggestions: response.suggestions.clone(), hint: None },
        "Cancel training", "Stops a running training at its next step, with a checkpoint; no progress is lost.";
    ResumeTraining => StartTrainingResponse: resume_training, Adds, Network, words: in_words::start_training,
        "Resume training", "Resumes a cancelled, interrupted or failed run from its last checkpoint.";
    ListRuns => ListRunsResponse: list_runs, Reads, Local, words: in_words::list_runs,
        "List runs", "The runs of a project, or all known runs, newest first.";
    GetEmissionsSummary => EmissionsSummary: get_emissions_summary, Reads, Network, words: in_words::get_emissions_summary,
        "Get an emissions summary", "Energy and CO2 emissions of a run, per stage, with comparisons and what would lower them.";
    GetAggregateEmissions => AggregateEmissions: get_aggregate_emissions, Reads, Local, words: in_words::get_aggregate_emissions,
        "Get the emissions of all runs", "Energy and CO2 emissions of all runs of a project together: totals, the runs that emitted most, by country, machine, month and day.";
    InspectDataset => DatasetInspection: inspect_dataset, Reads, Network, words: in_words::inspect_dataset,
        "Inspect a data set", "What the model will see of a data set: prompt form, token counts, what is dropped and why, first records.";
    PrepareDataset => DatasetPreparation: prepare_dataset, Replaces, Network, words: in_words::prepare_dataset, consent: consents::prepare_dataset,
        "Prepare a data set", "Splits JSONL, CSV or Parquet records for training, validation and test, without duplicates; reports on quality and leaks.";
    PlanTraining => PlanTrainingResponse: plan_training, Settles, Local, words: in_words::plan_training,
        "Plan training", "Memory, time, energy, carbon and cost of a configured run before it starts; after it, how far off that was. May try a few steps, up to a minute.";
    TuneTraining => TuneTrainingResponse: tune_training, Adds, Local, words: in_words::tune_training,
        "Tune a run", "Short metered trials choose the learning rates (and batch size) of a configured run before it starts. Minutes on a large model.";
    GetTask => GetTaskResponse: get_task, Reads, Local, words: in_words::get_task,
        "Ask about work in the background", "What became of a call with async_mode: its result, or where it stands. Without task_id the newest tasks.";
    CancelTask => CancelTaskResponse: cancel_task, Settles, Local, words: in_words::cancel_task,
        "Stop work in the background", "Stops a task; what is half done is dropped, a training keeps a checkpoint.";
    ConfigureImageRun => ConfigureImageRunResponse: configure_image_run, Adds, Local,
        "Configure a run of an image classifier", "Looks at an image data set and makes a run that trains a classifier on it, and its project where there is none.";
    ShowRun => ShowRunResponse: show_run, Reads, Local,
        "Show a run", "Everything about a run: manifest, folder, log, and how far off its plan was.";
    ShowLog => ShowLogResponse: show_log, Reads, Local,
        "Show a run's log", "The last lines that the run's worker wrote.";
    GetSeries => GetSeriesResponse: get_series, Reads, Local,
        "Get the course of a run", "Loss, learning rate, speed, accuracy, selection, power and energy over the steps of a run, in buckets with mean, least and greatest value.";
    EnergyLeaderboard => EnergyLeaderboardResponse: energy_leaderboard, Reads, Local, words: in_words::energy_leaderboard,
        "Rank runs by energy", "Completed runs with their quality and energy; those that none beats on the same task and data come first.";
    FollowEvents => FollowEventsResponse: follow_events, Reads, Local,
        "Follow the events of a run", "The events of a run after a number; waits for new ones when asked to.";
    PlotRuns => PlotRunsResponse: plot_runs, Settles, Local,
        "Draw charts of runs", "Charts of adaptive sparse training beside full training, as SVG and PNG.";
    GetCurrentEmissions => CurrentEmissions: get_current_emissions, Reads, Local,
        "Get current emissions", "The latest figures of the stage of a run that was metered last.";
    ListEmissions => EmissionsTable: list_emissions, Reads, Local,
        "List emissions", "Every row that was metered in a project, with CodeCarbon's columns.";
    CompareEmissions => EmissionsComparison: compare_emissions, Reads, Local,
        "Compare emissions", "Energy and emissions of runs beside each other, and whether the meters could tell them apart.";
    PlotEmissions => PlotEmissionsResponse: plot_emissions, Settles, Local,
        "Draw charts of emissions", "Charts of power and energy of a run, or of emissions by run, as SVG and PNG.";
    TrackEmissions => TrackEmissionsResponse: track_emissions, Adds, Network,
        "Meter a program", "Runs any program to its end and meters it meanwhile; adds its row to a CodeCarbon file.";
    CalibrateMeter => CalibrateMeterResponse: calibrate_meter, Adds, Local,
        "Calibrate the meter", "Notes what a wall meter showed for a span that was metered, so that later energy is scaled to the wall.";
    ForecastCarbonIntensity => ForecastCarbonIntensityResponse: forecast_carbon_intensity, Reads, Network,
        "Forecast carbon intensity", "The hours from now on in which electricity will be cleanest for work of a length.";
    SyncTracking => SyncReport: sync_tracking, Settles, Network,
        "Send to the trackers", "Sends what the trackers of a run (MLflow, Weights & Biases) have not got yet.";
    ShowConfig => ShowConfigResponse: show_config, Reads, Local,
        "Show the settings", "Every setting in force, with where it came from.";
    Diagnose => DiagnoseResponse: diagnose, Reads, Local,
        "Diagnose this installation", "What this installation can do here: worker, devices, energy counters, folders, settings, project.";
}

/// The operation called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    OPERATIONS.iter().find(|operation| operation.name == name)
}
