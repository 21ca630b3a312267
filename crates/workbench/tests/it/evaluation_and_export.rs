//! What is done with a trained run, and with data before: evaluation, export, emissions, inspection, diagnosis.

use std::fs;

use greentune_carbon::codecarbon;
use greentune_core_config::{ProblemKind, emissions::EmissionsRecord, layout::RunLayout};
use greentune_workbench::operation::{
    CheckStatus, Diagnose, EvaluateModel, ExportModel, GetEmissionsSummary, InspectDataset, PrepareDataset,
};

use crate::sandbox::{Sandbox, problem};

async fn trained() -> (Sandbox, RunLayout) {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, true).await.unwrap();
    (sandbox, run)
}

fn evaluation(run: &RunLayout) -> EvaluateModel {
    EvaluateModel {
        run_id: run.run_id(),
        test_dataset: "data/processed/validation.jsonl".into(),
        stage: 1,
        ..EvaluateModel::default()
    }
}

fn to_huggingface(run: &RunLayout) -> ExportModel {
    ExportModel {
        run_id: run.run_id(),
        stage: 2,
        export_format: "huggingface".into(),
        export_path: "exported".into(),
        ..ExportModel::default()
    }
}

#[tokio::test]
async fn a_stage_is_evaluated_beside_the_base_model() {
    let (sandbox, run) = trained().await;
    let response = sandbox.workbench.evaluate_model(evaluation(&run)).await.unwrap();
    let results = &response.evaluation_results;
    assert!((results.accuracy - 0.8).abs() < 1e-12);
    assert!((results.custom_metrics["base_accuracy"] - 0.1).abs() < 1e-12);
    assert!(!results.custom_metrics.contains_key("bleu"), "what was not computed is absent");
    assert!(response.passed_thresholds, "0.8 reaches the threshold of 0.7");
    assert_eq!(response.reports[0].generated_records, 16, "the settings' default");
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&response.results_file).unwrap()).unwrap();
    assert_eq!(kept["results"]["stage"], 1);
    assert!(response.results_file.starts_with(run.evaluation(1)));
}

#[tokio::test]
async fn a_stage_that_is_not_trained_is_neither_evaluated_nor_exported() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let error = problem(sandbox.workbench.evaluate_model(evaluation(&run)).await.unwrap_err());
    assert_eq!(error.code, "run.stage_not_trained");
    let error = problem(sandbox.workbench.export_model(to_huggingface(&run)).await.unwrap_err());
    assert_eq!(error.code, "run.stage_not_trained");
}

#[tokio::test]
async fn a_worker_that_fails_at_a_task_says_why() {
    let (sandbox, run) = trained().await;
    let failing = sandbox.with_mode("fails");
    let error = problem(failing.evaluate_model(evaluation(&run)).await.unwrap_err());
    assert_eq!(error.code, "data.empty");
    let dying = sandbox.with_mode("dies-at-once");
    let error = problem(dying.evaluate_model(evaluation(&run)).await.unwrap_err());
    assert_eq!(error.code, "worker.died");
    assert!(error.message.contains("the libraries could not be loaded"), "{}", error.message);
    assert!(
        fs::read_dir(sandbox.root().join("home"))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with("task-") })
    );
}

#[tokio::test]
async fn adapters_and_merged_models_are_exported_with_a_card() {
    let (sandbox, run) = trained().await;
    let response = sandbox.workbench.export_model(to_huggingface(&run)).await.unwrap();
    assert_eq!(response.export_path, sandbox.project.root().join("exported"));
    assert_eq!(response.verification.adapter_tensors, 2);
    assert!(response.model_size_mb > 0.0);
    let card = fs::read_to_string(response.export_path.join("README.md")).unwrap();
    assert!(card.contains(&run.run_id()) && card.contains("Training was not metered"), "{card}");

    let again = problem(sandbox.workbench.export_model(to_huggingface(&run)).await.unwrap_err());
    assert_eq!(again.kind, ProblemKind::Conflict);
    let merged = ExportModel {
        merge_adapters: Some(true),
        export_format: "safetensors".into(),
        export_path: "merged".into(),
        ..to_huggingface(&run)
    };
    let response = sandbox.workbench.export_model(merged).await.unwrap();
    assert_eq!(response.verification.merged_tensors, 1);
}

#[tokio::test]
async fn exports_that_cannot_be_are_refused() {
    let (sandbox, run) = trained().await;
    let refused = async |request| {
        let error = problem(sandbox.workbench.export_model(request).await.unwrap_err());
        (error.kind, error.code)
    };
    let upload = ExportModel { upload_to_huggingface: Some(true), ..to_huggingface(&run) };
    assert_eq!(refused(upload).await, (ProblemKind::Unsupported, "feature.unavailable".into()));
    let outside = ExportModel { export_path: "../elsewhere".into(), ..to_huggingface(&run) };
    assert_eq!(refused(outside).await, (ProblemKind::InvalidInput, "path.outside_project".into()));
    let unknown = ExportModel { export_format: "onnx".into(), ..to_huggingface(&run) };
    assert_eq!(refused(unknown).await.0, ProblemKind::InvalidInput);
    let later = ExportModel { export_format: "gguf".into(), ..to_huggingface(&run) };
    assert_eq!(refused(later).await.0, ProblemKind::Unsupported);
}

#[tokio::test]
async fn emissions_are_summed_over_the_stages() {
    let (sandbox, run) = trained().await;
    for stage in [1, 2] {
        let record = EmissionsRecord {
            duration: 1800.0,
            emissions: 0.5,
            energy_consumed: 1.25,
            ..EmissionsRecord::default()
        };
        codecarbon::write(&run.emissions_csv(stage), &[record]).unwrap();
    }
    let request = GetEmissionsSummary { run_id: run.run_id(), project_path: None };
    let totals = sandbox.workbench.get_emissions_summary(request).await.unwrap().summary;
    assert_eq!(totals.num_stages, 2);
    assert!((totals.total_emissions_kg_co2 - 1.0).abs() < 1e-12);
    assert!((totals.total_energy_kwh - 2.5).abs() < 1e-12);
}

#[tokio::test]
async fn a_run_without_emissions_says_so() {
    let (sandbox, run) = trained().await;
    let request = GetEmissionsSummary { run_id: run.run_id(), project_path: None };
    let error = problem(sandbox.workbench.get_emissions_summary(request).await.unwrap_err());
    assert_eq!(error.kind, ProblemKind::NotFound);
}

#[tokio::test]
async fn a_data_set_is_inspected_with_the_projects_settings() {
    let sandbox = Sandbox::new("trains").await;
    let request = InspectDataset {
        project_path: sandbox.project.root().to_owned(),
        dataset: "data/processed/train.jsonl".into(),
        ..InspectDataset::default()
    };
    let inspection = sandbox.workbench.inspect_dataset(request.clone()).await.unwrap();
    assert_eq!(inspection.counts.read, 3, "the fake worker answers what was asked to be shown");
    let missing = InspectDataset { dataset: "data/none.jsonl".into(), ..request };
    let error = problem(sandbox.workbench.inspect_dataset(missing).await.unwrap_err());
    assert_eq!(error.code, "data.missing");
}

#[tokio::test]
async fn a_data_set_is_prepared_where_the_request_says_and_nowhere_else() {
    let sandbox = Sandbox::new("trains").await;
    let request = PrepareDataset {
        project_path: sandbox.project.root().to_owned(),
        datasets: vec!["data/processed/train.jsonl".into()],
        output_dir: Some("data/split".into()),
        train_split: Some(0.7),
        validation_split: Some(0.2),
        ..PrepareDataset::default()
    };
    let done = sandbox.workbench.prepare_dataset(request.clone()).await.unwrap();
    assert_eq!((done.seed, done.deduplicated), (42, true));
    assert!((done.splits[0].high_quality_draws - 0.7).abs() < 1e-12, "the fake worker answers the share");
    assert_eq!(done.splits[0].path, sandbox.project.root().join("data/split/train.jsonl"));
    assert_eq!(done.report, sandbox.project.root().join("data/quality_reports/raw.md"));

    let refused = async |request| problem(sandbox.workbench.prepare_dataset(request).await.unwrap_err());
    let outside = PrepareDataset { output_dir: Some("../elsewhere".into()), ..request.clone() };
    assert_eq!(refused(outside).await.code, "path.outside_project");
    let shares = PrepareDataset { validation_split: None, ..request.clone() };
    assert!(refused(shares).await.to_string().contains("shares that sum to 1"));
    let nothing = PrepareDataset { datasets: Vec::new(), ..request.clone() };
    assert_eq!(refused(nothing).await.kind, ProblemKind::InvalidInput);
    let missing = PrepareDataset { datasets: vec!["data/none.csv".into()], ..request };
    assert_eq!(refused(missing).await.code, "data.missing");
}

#[tokio::test]
async fn the_diagnosis_names_what_works_and_what_does_not() {
    let sandbox = Sandbox::new("trains").await;
    let request = Diagnose { project_path: Some(sandbox.project.root().to_owned()) };
    let diagnosis = sandbox.workbench.diagnose(request.clone()).await.unwrap();
    assert!(diagnosis.success, "{:?}", diagnosis.checks);
    assert_eq!(diagnosis.devices[0].device, "cpu");
    let names: Vec<_> = diagnosis.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        ["worker", "energy counters", "home", "disk", "state store", "settings", "hub", "project"]
    );

    fs::remove_file(sandbox.root().join("base/config.json")).unwrap();
    let diagnosis = sandbox.with_mode("dies-at-once").diagnose(request).await.unwrap();
    assert!(!diagnosis.success);
    let failed = diagnosis.checks.iter().filter(|check| check.status == CheckStatus::Failed);
    assert_eq!(failed.map(|check| check.name.as_str()).collect::<Vec<_>>(), ["worker", "project"]);
}
