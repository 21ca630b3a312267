//! Plans, what they rest on, how far off they were, and the refusal of what does not fit.

use std::fs;

use greentune_carbon::{Host, codecarbon};
use greentune_core_config::{
    emissions::EmissionsRecord,
    layout::RunLayout,
    manifest::RunStatus,
    plan::{PlanAccuracy, PlanBasis},
};
use greentune_workbench::operation::{
    ConfigureTrainingRun, PlanTraining, PlanTrainingResponse, ShowRun, StartTraining,
};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, overrides, problem};

async fn plan(sandbox: &Sandbox, run: &RunLayout, measure: bool) -> PlanTrainingResponse {
    let request = PlanTraining { run_id: run.run_id(), measure: Some(measure), ..PlanTraining::default() };
    sandbox.workbench.plan_training(request).await.unwrap()
}

fn ratio(accuracy: &PlanAccuracy, name: &str) -> f64 {
    accuracy.quantities.iter().find(|found| found.quantity == name).unwrap().ratio
}

/// What a metered run leaves, so that it is known to have been trained on this machine.
fn write_emissions(run: &RunLayout) {
    let (cpu_model, cpu_count) = Host::default().processor();
    let row = EmissionsRecord { cpu_model, cpu_count, ..EmissionsRecord::default() };
    codecarbon::append(&run.emissions_csv(1), &row).unwrap();
}

#[tokio::test]
async fn a_plan_stands_once_the_run_is_done_and_is_compared_with_it() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let planned = plan(&sandbox, &run, false).await;
    assert_eq!(planned.plan.basis, PlanBasis::MeasuredSteps);
    let time = planned.plan.time.clone().unwrap();
    assert!((time.duration_seconds - 21.0).abs() < 1e-9, "{time:?}");
    let energy = planned.plan.energy.clone().unwrap();
    assert!((energy.energy_kwh - 20.0 * 21.0 / 3.6e6).abs() < 1e-12);
    assert!(planned.plan.carbon.is_some() && planned.plan.cost.is_none() && planned.accuracy.is_none());
    assert_eq!(planned.plan.memory.fits, Some(true));
    assert_eq!(planned.plan_file, run.plan());

    sandbox.start(&run, true).await.unwrap();
    assert_eq!(manifest(&run).stages[1].peak_memory_bytes, Some(90_000_000));
    let after = plan(&sandbox, &run, false).await;
    assert_eq!(after.plan, planned.plan);
    let accuracy = after.accuracy.unwrap();
    assert!(!accuracy.planned_afterwards);
    let peak = planned.plan.memory.peak_bytes as f64;
    assert!((ratio(&accuracy, "peak_memory_bytes") - 90e6 / peak).abs() < 1e-9);
    assert!(ratio(&accuracy, "duration_seconds") < 1.0, "the fake worker is fast");
    let shown =
        sandbox.workbench.show_run(ShowRun { run_id: run.run_id(), project_path: None }).await.unwrap();
    assert_eq!(shown.plan_accuracy, Some(accuracy));

    // A newer version's figures may mean something else.
    let mut newer = serde_json::to_value(&planned.plan).unwrap();
    newer["format_version"] = json!(99);
    fs::write(run.plan(), newer.to_string()).unwrap();
    let request = ShowRun { run_id: run.run_id(), project_path: None };
    assert_eq!(sandbox.workbench.show_run(request).await.unwrap().plan_accuracy, None);

    let again = plan(&sandbox, &run, true).await;
    assert!(again.plan.planned_at > planned.plan.planned_at);
    assert!(again.accuracy.unwrap().planned_afterwards);
}

#[tokio::test]
async fn earlier_runs_on_this_machine_tell_pace_and_memory() {
    let sandbox = Sandbox::new("trains").await;
    let first = sandbox.configured().await;
    let formula = plan(&sandbox, &first, false).await.plan.memory.peak_bytes as f64;
    sandbox.start(&first, true).await.unwrap();

    let second = sandbox.configured().await;
    assert_eq!(
        plan(&sandbox, &second, false).await.plan.basis,
        PlanBasis::MeasuredSteps,
        "where was it trained?"
    );
    write_emissions(&first);
    let next = plan(&sandbox, &second, false).await;
    assert_eq!((next.plan.basis, &next.plan.past_runs), (PlanBasis::PastRuns, &vec![first.run_id()]));
    // The fake worker says 100 tokens per second, and leaves no energy.
    assert!((next.plan.time.unwrap().stages[0].training_seconds - 10.0).abs() < 1e-9);
    assert!(next.plan.energy.is_none());
    assert!((next.plan.memory.correction.unwrap() - 90e6 / formula).abs() < 1e-9);
    assert!(next.plan.memory.peak_bytes.abs_diff(90_000_000) < 10);
    assert_eq!(next.last_plan.unwrap().run_id, first.run_id());

    let measured = plan(&sandbox, &second, true).await;
    assert_eq!(measured.plan.basis, PlanBasis::MeasuredSteps);
    assert!(measured.plan.memory.correction.is_some());

    let request = ConfigureTrainingRun {
        override_params: overrides(json!({ "lora.target_modules": ["q_proj"] })),
        ..sandbox.request()
    };
    let other = sandbox.workbench.configure_training_run(request).await.unwrap();
    let other = RunLayout::at(other.run_directory).unwrap();
    assert_eq!(plan(&sandbox, &other, false).await.plan.basis, PlanBasis::MeasuredSteps, "other adapters");
}

#[tokio::test]
async fn a_cost_needs_a_price() {
    let sandbox = Sandbox::new("trains").await;
    let request = ConfigureTrainingRun {
        override_params: overrides(json!({
            "carbon.electricity_price_per_kwh": 0.25, "carbon.electricity_currency": "EUR",
        })),
        ..sandbox.request()
    };
    let run = sandbox.workbench.configure_training_run(request).await.unwrap();
    let plan = plan(&sandbox, &RunLayout::at(run.run_directory).unwrap(), false).await.plan;
    let (cost, energy) = (plan.cost.unwrap(), plan.energy.unwrap());
    assert!((cost.amount - 0.25 * energy.energy_kwh).abs() < 1e-15);
    assert_eq!(cost.currency.as_deref(), Some("EUR"));
}

#[tokio::test]
async fn a_run_that_is_being_trained_is_not_measured_beside() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, false).await.unwrap();
    let request = PlanTraining { run_id: run.run_id(), ..PlanTraining::default() };
    let refused = problem(sandbox.workbench.plan_training(request).await.unwrap_err());
    assert_eq!(refused.code, "run.already_running");
    sandbox.follow(&run).await;
}

#[tokio::test]
async fn a_model_that_cannot_fit_is_refused_and_the_run_is_left_as_it_was() {
    let sandbox = Sandbox::new("trains").await;
    let config = json!({
        "model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"], "vocab_size": 100_352, "hidden_size": 65_536,
        "intermediate_size": 262_144, "num_hidden_layers": 512, "num_attention_heads": 512,
        "max_position_embeddings": 4096,
    });
    let run = sandbox.configured().await;
    // Weights of that size cannot be written here.
    fs::write(sandbox.root().join("base/config.json"), config.to_string()).unwrap();
    let start = StartTraining { accept_changed_inputs: Some(true), ..StartTraining::of(run.run_id()) };
    let refused = problem(sandbox.workbench.start_training(start.clone()).await.unwrap_err());
    assert_eq!(refused.code, "memory.insufficient");
    assert!(refused.message.contains("base weights"), "{}", refused.message);
    assert_eq!(refused.suggestions[0].operation, "start_training");
    assert_eq!(refused.suggestions[0].arguments["memory_check"], false);
    assert_eq!(manifest(&run).status, RunStatus::NotStarted);

    let request = StartTraining { async_mode: Some(false), memory_check: Some(false), ..start };
    assert_eq!(sandbox.workbench.start_training(request).await.unwrap().status, RunStatus::Completed);
    let manifest = manifest(&run);
    assert!(!manifest.settings.training.memory_check);
    assert_eq!(manifest.sources["training.memory_check"], "start of training");
}
