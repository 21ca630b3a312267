//! What is done with a trained run, and with data before: evaluation, export, emissions, inspection, diagnosis.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use greentune_carbon::{
    codecarbon,
    summary::{Recommendation, RecommendationKind},
};
use greentune_core_config::{
    Basis, ProblemKind,
    emissions::EmissionsRecord,
    event::{EmissionsSoFar, EventKind, StepMetrics},
    layout::RunLayout,
    port::RunReporter as _,
};
use greentune_workbench::{
    ExportFormat, Quantization, Workbench,
    operation::{
        CheckStatus, CustomMetric, Diagnose, EvaluateModel, ExportModel, GetEmissionsSummary, InspectDataset,
        PrepareDataset, find,
    },
    worker::{Outcome, WorkerSession},
};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, problem};

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

/// Notes in the manifest what stage 2 came to on stage 1's validation records.
fn remember(run: &RunLayout, token_accuracy: f64) {
    let report = json!({
        "model": "stage", "stage": 2, "dataset_role": "stage1 validation", "dataset": "validation.jsonl",
        "records": 4, "tokens": 40, "loss": 1.0, "perplexity": 2.7, "token_accuracy": token_accuracy,
        "exact_match": null, "bleu": null, "generated_records": 0,
    });
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(run.manifest()).unwrap()).unwrap();
    manifest["stages"][1]["evaluations"] = json!([report]);
    fs::write(run.manifest(), manifest.to_string()).unwrap();
}

fn to_huggingface(run: &RunLayout) -> ExportModel {
    ExportModel {
        run_id: run.run_id(),
        stage: 2,
        export_format: ExportFormat::Huggingface,
        export_path: "exported".into(),
        ..ExportModel::default()
    }
}

#[tokio::test]
async fn stage_2_passes_only_with_what_it_keeps_of_stage_1() {
    let (sandbox, run) = trained().await;
    let request = EvaluateModel { stage: 2, ..evaluation(&run) };
    let evaluate = async || sandbox.workbench.evaluate_model(request.clone()).await.unwrap();
    let unknown = evaluate().await;
    assert!(!unknown.passed_thresholds, "nobody measured what was forgotten");
    for (kept, passes) in [(0.61, true), (0.59, false)] {
        remember(&run, kept);
        let response = evaluate().await;
        assert_eq!(response.passed_thresholds, passes, "{kept}");
        let gate = response.checks.last().unwrap();
        assert_eq!((gate.setting.as_str(), gate.value), ("evaluation.sequential_threshold", Some(kept)));
        assert!(gate.reason.contains("stage 1's validation records"), "{}", gate.reason);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_command_of_the_users_scores_both_models() {
    let (sandbox, run) = trained().await;
    let metric = |script: &str| {
        let command = ["/bin/sh", "-c", script].map(Into::into).into();
        Some(CustomMetric { command, time_limit: Duration::from_secs(20) })
    };
    let script = r#"while read -r line; do case "$line" in *'"output":"hm"'*) s=0;; *) s=1;; esac; echo "{\"score\": $s}"; done"#;
    let request = EvaluateModel { custom_metric: metric(script), ..evaluation(&run) };
    let response = sandbox.workbench.evaluate_model(request).await.unwrap();
    let metrics = &response.evaluation_results.custom_metrics;
    assert!(metrics["custom"] > 0.999 && metrics["base_custom"] < 0.001, "{metrics:?}");

    let request = EvaluateModel { custom_metric: metric("exit 3"), ..evaluation(&run) };
    let refused = problem(sandbox.workbench.evaluate_model(request).await.unwrap_err());
    assert_eq!(refused.code, "evaluation.metric_failed");
    assert!(refused.message.contains("exit status: 3"), "{}", refused.message);
}

#[tokio::test]
async fn no_call_brings_a_command() {
    let (sandbox, run) = trained().await;
    let touched = sandbox.root().join("touched");
    let operation = find("evaluate_model").unwrap();
    let command = json!(["/usr/bin/touch", touched]);
    for given in [json!({"command": command.clone(), "time_limit": {"secs": 9, "nanos": 0}}), command] {
        let arguments = json!({
            "run_id": run.run_id(), "test_dataset": "data/processed/validation.jsonl", "stage": 1,
            "custom_metric": given,
        });
        let arguments = arguments.as_object().unwrap().clone();
        let refused = problem(operation.perform(&sandbox.workbench, arguments).await.err().unwrap());
        let said = serde_json::to_string(&refused).unwrap();
        assert!(said.contains("custom_metric"), "{said}");
    }
    assert!(!touched.exists());
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
    let outputs = fs::read_to_string(response.outputs_file.unwrap()).unwrap();
    let records: Vec<serde_json::Value> =
        outputs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        records[0],
        json!({"prompt": "Say one.", "reference": "one", "outputs": {"base": "hm", "stage 1": "one"}})
    );
    assert_eq!(records.len(), 2);
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
        export_format: ExportFormat::Safetensors,
        export_path: "merged".into(),
        ..to_huggingface(&run)
    };
    let response = sandbox.workbench.export_model(merged).await.unwrap();
    assert_eq!(response.verification.merged_tensors, 1);
}

#[tokio::test]
async fn adapters_are_merged_only_into_the_base_that_they_were_trained_on() {
    let (sandbox, run) = trained().await;
    let base = sandbox.root().join("base");
    let weights = base.join("model.safetensors");
    let original = fs::read(&weights).unwrap();
    let merged = |name: &str| ExportModel {
        merge_adapters: Some(true),
        export_path: name.into(),
        ..to_huggingface(&run)
    };
    let mut other = original.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&weights, other).unwrap();
    let refused = problem(sandbox.workbench.export_model(merged("changed")).await.unwrap_err());
    assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::Conflict, "model.changed"));
    assert!(refused.message.contains("model.safetensors"), "{}", refused.message);
    // Adapters alone are what they are; they name the folder, for PEFT.
    let adapters = sandbox.workbench.export_model(to_huggingface(&run)).await.unwrap();
    let config = fs::read(adapters.export_path.join("adapter_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], base.to_str().unwrap());

    // Other weights that came later would be read first: they are not what was trained on either.
    fs::write(&weights, &original).unwrap();
    fs::rename(&weights, base.join("shard.safetensors")).unwrap();
    let file = safetensors_names(&original);
    let map: serde_json::Map<String, serde_json::Value> =
        file.into_iter().map(|name| (name, "shard.safetensors".into())).collect();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(base.join("model.safetensors.index.json"), index).unwrap();
    let refused = problem(sandbox.workbench.export_model(merged("sharded")).await.unwrap_err());
    assert_eq!(refused.code, "model.changed");
    fs::rename(base.join("shard.safetensors"), &weights).unwrap();
    sandbox.workbench.export_model(merged("restored")).await.unwrap();
}

#[tokio::test]
async fn a_stage_is_evaluated_only_on_the_base_that_it_was_trained_on() {
    let (sandbox, run) = trained().await;
    let base = sandbox.root().join("base");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = base.join(name);
        let original = fs::read(&path).unwrap();
        fs::write(&path, [&original[..], b"\n"].concat()).unwrap();
        let refused = problem(sandbox.workbench.evaluate_model(evaluation(&run)).await.unwrap_err());
        assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::Conflict, "model.changed"));
        assert!(refused.message.contains(name), "{}", refused.message);
        fs::write(&path, original).unwrap();
    }
    // Weights behind an index are not read where a single file lies beside them, and are where it is gone.
    let weights = base.join("model.safetensors");
    let names = safetensors_names(&fs::read(&weights).unwrap());
    fs::rename(&weights, base.join("shard.safetensors")).unwrap();
    let map: serde_json::Map<String, serde_json::Value> =
        names.into_iter().map(|name| (name, "shard.safetensors".into())).collect();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(base.join("model.safetensors.index.json"), index).unwrap();
    let refused = problem(sandbox.workbench.evaluate_model(evaluation(&run)).await.unwrap_err());
    assert_eq!(refused.code, "model.changed");
    fs::rename(base.join("shard.safetensors"), &weights).unwrap();
    sandbox.workbench.evaluate_model(evaluation(&run)).await.unwrap();
}

/// The names of the tensors in a safetensors file.
fn safetensors_names(file: &[u8]) -> Vec<String> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&file[8..8 + length]).unwrap();
    header.keys().cloned().collect()
}

#[tokio::test]
async fn exports_that_cannot_be_are_refused() {
    let (sandbox, run) = trained().await;
    let refused = async |request| {
        let error = problem(sandbox.workbench.export_model(request).await.unwrap_err());
        (error.kind, error.code)
    };
    let outside = ExportModel { export_path: "../elsewhere".into(), ..to_huggingface(&run) };
    assert_eq!(refused(outside).await, (ProblemKind::InvalidInput, "path.outside_project".into()));
    assert_eq!(problem("onnx".parse::<ExportFormat>().unwrap_err()).kind, ProblemKind::InvalidInput);
    let packed = ExportModel { quantization: Some(Quantization::Q4KM), ..to_huggingface(&run) };
    assert_eq!(
        refused(packed).await,
        (ProblemKind::InvalidInput, "export.quantization_not_of_format".into())
    );
}

#[tokio::test]
async fn an_export_is_listed_in_the_manifest_with_what_was_compared() {
    let (sandbox, run) = trained().await;
    let exported = sandbox.workbench.export_model(to_huggingface(&run)).await.unwrap();
    assert_eq!(exported.agreement.unwrap().same_prompts, 3);
    let unasked = ExportModel {
        compare: Some(false),
        export_path: "unasked".into(),
        merge_adapters: Some(true),
        ..to_huggingface(&run)
    };
    let unasked = sandbox.workbench.export_model(unasked).await.unwrap();
    assert_eq!((unasked.agreement, unasked.not_compared.is_some()), (None, true));
    let listed = manifest(&run).exports;
    let [first, second] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((first.merged, first.stage), (false, 2));
    assert!(first.path.ends_with("exported"), "{first:?}");
    assert_eq!((first.agreement, second.agreement, second.merged), (exported.agreement, None, true));
    assert!(first.files.contains_key("adapter_model.safetensors"), "{:?}", first.files);
}

#[tokio::test]
async fn only_an_earlier_export_is_replaced_as_it_was_written() {
    let (sandbox, run) = trained().await;
    let forced =
        |merge| ExportModel { force: Some(true), merge_adapters: Some(merge), ..to_huggingface(&run) };
    let folder = sandbox.project.root().join("exported");
    sandbox.workbench.export_model(forced(false)).await.unwrap();
    assert!(sandbox.workbench.export_model(to_huggingface(&run)).await.is_err());
    sandbox.workbench.export_model(forced(true)).await.unwrap();
    assert!(folder.join("model.safetensors").is_file() && !folder.join("adapter_config.json").exists());
    for (name, text) in [("notes.txt", "mine"), ("README.md", "changed")] {
        fs::write(folder.join(name), text).unwrap();
        let refused = problem(sandbox.workbench.export_model(forced(false)).await.unwrap_err());
        assert_eq!(refused.code, "path.not_greentunes");
        assert!(folder.join("model.safetensors").is_file());
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), text);
        fs::remove_file(folder.join(name)).unwrap();
    }
}

#[tokio::test]
async fn an_export_that_is_another_model_gets_no_name() {
    let (sandbox, run) = trained().await;
    let workbench = sandbox.with_mode("exports-another-model");
    let project_path = Some(sandbox.project.root().to_owned());
    let request = ExportModel { project_path, ..to_huggingface(&run) };
    let problem = problem(workbench.export_model(request).await.unwrap_err());
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Internal, "export.another_model"));
    assert!(!sandbox.project.root().join("exported").exists());
    let left = fs::read_dir(sandbox.project.root()).unwrap().flatten();
    assert!(
        left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".greentune-export"))
    );
    assert_eq!(manifest(&run).exports, []);
}

#[tokio::test]
async fn what_forbids_a_comparison_does_not_forbid_the_export() {
    let (sandbox, run) = trained().await;
    for (mode, reason) in [
        ("cannot-compare", "the trained model is too small"),
        ("dies-comparing", "the worker that was to read both models ended (signal: 6"),
        ("fails", "the worker that was to read both models failed: no records"),
    ] {
        let request = ExportModel {
            project_path: Some(sandbox.project.root().to_owned()),
            export_path: mode.into(),
            ..to_huggingface(&run)
        };
        let exported = sandbox.with_mode(mode).export_model(request).await.unwrap();
        let why = exported.not_compared.unwrap();
        assert!(why.starts_with(reason), "{why}");
        assert_eq!((exported.agreement, exported.export_path.is_dir()), (None, true));
    }
}

#[tokio::test]
async fn an_export_that_cannot_be_read_or_does_not_stop_gets_no_name() {
    let (sandbox, run) = trained().await;
    let export = async |mode: &str, export_format, quantization| {
        let request = ExportModel {
            project_path: Some(sandbox.project.root().to_owned()),
            merge_adapters: Some(true),
            export_path: format!("{mode}-{export_format}").into(),
            export_format,
            quantization,
            ..to_huggingface(&run)
        };
        sandbox.with_mode(mode).export_model(request).await
    };
    let hub = ExportFormat::Huggingface;
    for (mode, code, words) in [
        ("cannot-read-export", "export.unreadable", "the header is broken"),
        ("export-runs-on", "export.another_model", "does not stop behind 1 of 2 texts"),
    ] {
        let problem = problem(export(mode, hub, Some(Quantization::Bf16)).await.unwrap_err());
        assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Internal, code));
        assert!(problem.message.contains(words), "{}", problem.message);
        assert!(!sandbox.project.root().join(format!("{mode}-huggingface")).exists());
    }
    // Two logits that are as near as rounding moves them say nothing.
    let near = export("export-runs-on-by-rounding", hub, None).await.unwrap();
    assert_eq!(near.agreement.unwrap().runs_on, 1);
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

async fn evaluated(sandbox: &Sandbox, losses: [&[(u64, f64)]; 2]) -> RunLayout {
    let run = sandbox.configured().await;
    train(&run, losses);
    run
}

/// Two stages with an hour and 1.5 kg in each, evaluated at these steps with these losses.
fn train(run: &RunLayout, losses: [&[(u64, f64)]; 2]) {
    let mut session = WorkerSession::begin(run.folder()).unwrap();
    for (stage, losses) in [(1, losses[0]), (2, losses[1])] {
        for &(step, validation_loss) in losses {
            session
                .report(EventKind::Step(StepMetrics {
                    stage,
                    step,
                    total_steps: 10,
                    train_loss: 1.0,
                    learning_rate: 0.1,
                    gradient_norm: 1.0,
                    tokens: 100,
                    tokens_per_second: 10.0,
                    samples: None,
                }))
                .unwrap();
            let perplexity = validation_loss.exp();
            session
                .report(EventKind::Evaluated {
                    stage,
                    step,
                    validation_loss,
                    perplexity,
                    token_accuracy: 0.5,
                })
                .unwrap();
        }
        session
            .report(EventKind::Emissions(EmissionsSoFar {
                stage,
                duration_seconds: 3600.0,
                energy_kwh: 4.0,
                emissions_kg_co2: 1.5,
                power_w: 4000.0,
                power: None,
                basis: "modelled".into(),
            }))
            .unwrap();
        let record = EmissionsRecord {
            duration: 3600.0,
            emissions: 1.5,
            energy_consumed: 4.0,
            country_iso_code: "NOR".into(),
            ..EmissionsRecord::default()
        };
        codecarbon::write(&run.emissions_csv(stage), &[record]).unwrap();
    }
    session.finish(Ok(Outcome::Finished)).unwrap();
}

async fn advice(workbench: &Workbench, run: &RunLayout, kind: RecommendationKind) -> Option<Recommendation> {
    let request = GetEmissionsSummary { run_id: run.run_id(), project_path: None };
    let summary = workbench.get_emissions_summary(request).await.unwrap();
    summary.recommendation_details.into_iter().find(|one| one.kind == kind)
}

#[tokio::test]
async fn early_stopping_counts_from_each_stages_best_evaluation_to_its_last() {
    let sandbox = Sandbox::new("trains").await;
    // Best 6 of 10 steps before the end, and at the end.
    let run = evaluated(&sandbox, [&[(2, 3.0), (4, 1.0), (7, 1.5), (10, 2.0)], &[(5, 2.0), (10, 1.0)]]).await;
    let told = advice(&sandbox.workbench, &run, RecommendationKind::EarlyStopping).await.unwrap();
    assert!(told.text.contains("6 of 20 steps"), "{told:?}");
    assert!((told.saves_kg.unwrap() - 3.0 * 6.0 / 20.0).abs() < 1e-9, "{told:?}");
    // A stage that nobody evaluated says nothing, and neither does a run that only got better.
    let unevaluated: [&[(u64, f64)]; 2] = [&[(5, 2.0), (10, 3.0)], &[]];
    let only_better: [&[(u64, f64)]; 2] = [&[(5, 2.0), (10, 1.0)], &[(10, 1.0)]];
    for losses in [unevaluated, only_better] {
        let run = evaluated(&sandbox, losses).await;
        assert_eq!(advice(&sandbox.workbench, &run, RecommendationKind::EarlyStopping).await, None);
    }
}

#[tokio::test]
async fn cleaner_hours_are_told_where_a_service_is_set_up_and_nobody_is_asked_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let hour = |hour: u8, figure: u16| json!({ "carbonIntensity": figure, "datetime": format!("2026-01-01T{hour:02}:00:00.000Z") });
            let figures = [hour(0, 400), hour(1, 300), hour(2, 100), hour(3, 100), hour(4, 200)];
            let body = json!({ "zone": "FR", "forecast": figures }).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    let sandbox = Sandbox::new("trains").await;
    let endpoint = format!("http://{address}/v3/carbon-intensity");
    let settings = json!({ "carbon": { "emissions_endpoint": endpoint, "country_iso_code": "FRA", "offline_mode": false } });
    let run = sandbox.configured_with(settings).await;
    train(&run, [&[(10, 1.0)], &[(10, 1.0)]]);
    let mut config = sandbox.config("trains");
    config.meter.live.cache = Some(sandbox.root().join("cache.json"));
    let with_access = Workbench::new(config);
    assert_eq!(advice(&sandbox.workbench, &run, RecommendationKind::CleanerHour).await, None);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    // Two hours of run: 350 g/kWh from now, 100 g/kWh from 2 to 4.
    let told = advice(&with_access, &run, RecommendationKind::CleanerHour).await.unwrap();
    let words = "Between 2026-01-01 02:00 and 2026-01-01 04:00 UTC the forecast of 127.0.0.1 for FR is 100 g/kWh, 71 %";
    assert!(told.text.starts_with(words), "{told:?}");
    assert_eq!(told.basis, Basis::Estimated);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
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
    assert_eq!(inspection.high_quality_records, 3, "the fake worker answers what was asked to be shown");
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
async fn what_killed_processes_left_is_said_and_removed() {
    let sandbox = Sandbox::new("trains").await;
    sandbox.configured().await; // makes the project known
    let home = sandbox.root().join("home");
    let exports = sandbox.root().join("exports");
    let left = [
        home.join("task-killed"),
        exports.join(".greentune-export-killed"),
        sandbox.project.processed_data().join(".preparing-killed"),
    ];
    for folder in &left {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("half"), "of it").unwrap();
    }
    fs::write(home.join("export-folders.txt"), format!("{}\n", exports.display())).unwrap();
    let leftovers = async || {
        let diagnosis = sandbox.workbench.diagnose(Diagnose::default()).await.unwrap();
        diagnosis.checks.into_iter().find(|check| check.name == "leftovers").unwrap()
    };
    let check = leftovers().await;
    assert_eq!(check.status, CheckStatus::Warning);
    for folder in &left {
        assert!(check.detail.contains(&*folder.to_string_lossy()), "{}", check.detail);
        assert!(!folder.exists());
    }
    assert_eq!(leftovers().await.status, CheckStatus::Ok);
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
        [
            "worker",
            "energy counters",
            "home",
            "disk",
            "state store",
            "leftovers",
            "settings",
            "hub",
            "project"
        ]
    );

    fs::remove_file(sandbox.root().join("base/config.json")).unwrap();
    let diagnosis = sandbox.with_mode("dies-at-once").diagnose(request).await.unwrap();
    assert!(!diagnosis.success);
    let failed = diagnosis.checks.iter().filter(|check| check.status == CheckStatus::Failed);
    assert_eq!(failed.map(|check| check.name.as_str()).collect::<Vec<_>>(), ["worker", "project"]);
}
