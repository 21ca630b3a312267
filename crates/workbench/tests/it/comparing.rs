//! Sparse training beside full training, over run folders that the tests write.

use std::fs;

use greentune_carbon::{codecarbon, sidecar};
use greentune_core_config::{
    Basis, ProblemKind,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport},
    event::{EpochMetrics, Event, EventKind, SampleMetrics, StepMetrics},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
    selection::SelectionSoFar,
};
use greentune_workbench::{
    comparison::{IntervalSource, Metric},
    operation::{CompareRuns, CompareRunsResponse, ComparisonFormat, PlotRuns},
};

use crate::sandbox::{Sandbox, manifest, problem};

/// Training images, and epochs of warm-up and in all.
const IMAGES: u64 = 1000;
const EPOCHS: [u64; 2] = [2, 8];

/// What a run folder says.
#[derive(Clone)]
struct Written {
    id: &'static str,
    is_ast: bool,
    seed: u64,
    accuracy: f64,
    /// kWh of both stages; nothing is metered when absent.
    kwh: Option<f64>,
    basis: Basis,
    /// Half-width of the meter's interval, as a fraction.
    uncertainty: f64,
    seconds: f64,
}

const AST: Written = Written {
    id: "ast-20260301-100000",
    is_ast: true,
    seed: 1,
    accuracy: 0.912,
    kwh: Some(0.6),
    basis: Basis::Measured,
    uncertainty: 0.05,
    seconds: 5400.0,
};
const DENSE: Written = Written {
    id: "dense-20260301-110000",
    is_ast: false,
    accuracy: 0.915,
    kwh: Some(1.0),
    seconds: 7200.0,
    ..AST
};

/// Writes the run, changed by `change`, beside the manifest that the project's settings give.
async fn write_with(sandbox: &Sandbox, run: &Written, change: impl FnOnce(&mut RunManifest)) -> RunLayout {
    let template = sandbox.configured().await;
    let mut manifest = manifest(&template);
    fs::remove_dir_all(template.folder()).unwrap();
    let layout = sandbox.project.run(run.id);
    manifest.run_id = run.id.into();
    manifest.run_name = run.id.split('-').next().unwrap().into();
    manifest.status = RunStatus::Completed;
    manifest.settings.vision.model = Some("resnet18".into());
    manifest.settings.vision.epochs = EPOCHS.iter().sum();
    manifest.settings.ast.enabled = run.is_ast;
    manifest.settings.training.seed = run.seed;
    manifest.stages = vec![stage(run, 1), stage(run, 2)];
    change(&mut manifest);
    fs::create_dir_all(layout.folder()).unwrap();
    fs::write(layout.manifest(), serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    write_events(&layout, run, false);
    if let Some(kwh) = run.kwh {
        for (stage, share) in [(1, 0.3), (2, 0.7)] {
            write_emissions(&layout, stage, kwh * share, run, |_| {});
        }
    }
    layout
}

async fn write(sandbox: &Sandbox, run: &Written) -> RunLayout {
    write_with(sandbox, run, |_| {}).await
}

fn stage(run: &Written, stage: u8) -> StageRecord {
    let epochs = EPOCHS[usize::from(stage) - 1];
    let before = if stage == 1 { 0 } else { EPOCHS[0] };
    let selects = run.is_ast && stage == 2;
    let selection = |epochs: u64| {
        selects.then(|| SelectionSoFar {
            candidates: IMAGES * epochs,
            selected: IMAGES * epochs * 4 / 10,
            scored: IMAGES * epochs / 4,
            threshold: Some(1.0 / epochs as f64),
            ..SelectionSoFar::default()
        })
    };
    let kwh = |done: u64| run.kwh.map(|kwh| kwh * done as f64 / EPOCHS.iter().sum::<u64>() as f64);
    StageRecord {
        stage,
        status: RunStatus::Completed,
        total_steps: epochs,
        steps_done: epochs,
        duration_seconds: Some(run.seconds / 2.0),
        final_train_loss: Some(0.2),
        emissions: None,
        peak_memory_bytes: None,
        evaluations: Vec::new(),
        epochs: (1..=epochs)
            .map(|epoch| EpochMetrics {
                stage,
                step: epoch,
                epoch: before + epoch,
                total_epochs: EPOCHS.iter().sum(),
                train_loss: 1.0,
                validation_loss: 0.5,
                accuracy: run.accuracy - 0.4 / (before + epoch) as f64,
                top5_accuracy: Some(0.99),
                seconds: 60.0 * epoch as f64,
                energy_kwh: kwh(before + epoch),
                selection: selection(1),
            })
            .collect(),
        classification: Some(ClassificationReport {
            dataset_role: "validation".into(),
            dataset: "data/val".into(),
            images: 10_000,
            skipped: 0,
            loss: 0.31,
            accuracy: run.accuracy,
            top5_accuracy: Some(0.991),
            classes: Vec::new(),
            confusion: Vec::new(),
        }),
        selection: selection(epochs),
    }
}

/// A step per epoch.
fn write_events(layout: &RunLayout, run: &Written, resumed: bool) {
    let mut kinds = vec![EventKind::Started { pid: 1, device: "cpu".into(), resumed }];
    for stage in [1, 2] {
        let steps = EPOCHS[usize::from(stage) - 1];
        let selects = run.is_ast && stage == 2;
        kinds.push(EventKind::StageStarted {
            stage,
            total_steps: steps,
            from_step: 0,
            train_records: IMAGES,
            trainable_parameters: 1,
        });
        kinds.extend((1..=steps).map(|step| {
            EventKind::Step(StepMetrics {
                stage,
                step,
                total_steps: steps,
                train_loss: 1.0,
                learning_rate: 0.1,
                gradient_norm: 1.0,
                tokens: 0,
                tokens_per_second: 0.0,
                samples: Some(SampleMetrics {
                    trained: if selects { IMAGES * 4 / 10 } else { IMAGES },
                    per_second: 100.0,
                    epoch: step as f64,
                    selection: None,
                }),
            })
        }));
    }
    let at = "2026-03-01T10:00:00Z".parse().unwrap();
    let events = (0..).zip(kinds).map(|(seq, kind)| Event { seq, at, kind });
    let lines: String = events.map(|event| serde_json::to_string(&event).unwrap() + "\n").collect();
    fs::write(layout.events(), lines).unwrap();
}

fn write_emissions(
    layout: &RunLayout,
    stage: u8,
    kwh: f64,
    run: &Written,
    change: impl FnOnce(&mut EmissionsRecord),
) {
    let mut record = EmissionsRecord {
        timestamp: "2026-03-01T10:00:00".into(),
        duration: run.seconds / 2.0,
        emissions: kwh * 0.4,
        energy_consumed: kwh,
        cpu_model: "Xeon".into(),
        gpu_model: "1 x H100".into(),
        country_iso_code: "DEU".into(),
        tracking_mode: "machine".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    };
    change(&mut record);
    let provenance = EmissionsProvenance {
        format_version: 1,
        components: vec![ComponentProvenance {
            component: "gpu".into(),
            basis: run.basis,
            energy_kwh: record.energy_consumed,
            uncertainty: run.uncertainty,
            ..ComponentProvenance::default()
        }],
        carbon_intensity_g_per_kwh: 400.0,
        pue: record.pue,
        attempts: 1,
        ..EmissionsProvenance::default()
    };
    codecarbon::write(&layout.emissions_csv(stage), &[record]).unwrap();
    sidecar::write(&layout.provenance(stage), &provenance).unwrap();
}

async fn sandbox() -> Sandbox {
    Sandbox::new("trains").await
}

fn request(sandbox: &Sandbox, ast: &str, baseline: Option<&str>) -> CompareRuns {
    CompareRuns {
        project_path: Some(sandbox.project.root().to_owned()),
        ast_run_id: ast.into(),
        baseline_run_id: baseline.map(Into::into),
        format: None,
    }
}

async fn compared(sandbox: &Sandbox, ast: &str, baseline: Option<&str>) -> CompareRunsResponse {
    sandbox.workbench.compare_runs(request(sandbox, ast, baseline)).await.unwrap()
}

fn codes(response: &CompareRunsResponse) -> Vec<&str> {
    response.caveats.iter().map(|caveat| caveat.code.as_str()).collect()
}

fn close(a: Option<f64>, b: f64) {
    assert!(a.is_some_and(|a| (a - b).abs() < 1e-9 * b.abs().max(1.0)), "{a:?} {b}");
}

#[tokio::test]
async fn selection_that_costs_accuracy_is_said_with_what_it_saved() {
    let sandbox = sandbox().await;
    write(&sandbox, &Written { accuracy: DENSE.accuracy - 0.3, ..AST }).await;
    write(&sandbox, &DENSE).await;
    let response = compared(&sandbox, AST.id, None).await;
    let caveat = response.caveats.iter().find(|caveat| caveat.code == "accuracy.below_baseline").unwrap();
    assert!(
        caveat.message.contains("30") && caveat.message.contains("points less accurate"),
        "{}",
        caveat.message
    );
    assert!(caveat.message.contains("40.0 % less energy"), "{}", caveat.message);
}

#[tokio::test]
async fn damage_in_the_record_of_a_run_is_said() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    write(&sandbox, &DENSE).await;
    assert!(!codes(&compared(&sandbox, AST.id, None).await).contains(&"run.events_damaged"));
    let events = sandbox.project.run(AST.id).events();
    let text = fs::read_to_string(&events).unwrap();
    fs::write(&events, text.replacen('\n', "\nno event\n", 1)).unwrap();
    let response = compared(&sandbox, AST.id, None).await;
    assert!(codes(&response).contains(&"run.events_damaged"), "{:?}", codes(&response));
}

#[tokio::test]
async fn a_run_is_compared_with_its_twin_and_meters_bound_the_saving() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    write(&sandbox, &DENSE).await;
    // Another seed, and another length: no twins.
    write(&sandbox, &Written { id: "seed-20260301-120000", seed: 2, ..DENSE }).await;
    write_with(&sandbox, &Written { id: "long-20260301-130000", ..DENSE }, |run| {
        run.settings.vision.epochs = 99;
    })
    .await;
    let response = compared(&sandbox, AST.id, None).await;
    assert_eq!(response.baseline_run_ids, [DENSE.id]);
    close(response.accuracy_diff, -0.003);
    close(response.energy_savings, 0.4);
    assert_eq!(response.energy_savings_basis, Some(Basis::Measured));
    close(response.time_savings_hours, 0.5);
    close(response.emissions_avoided_g, 160.0);
    assert_eq!(response.cost_savings_usd, None, "no price is set");

    let saving = response.quantities.energy_savings.as_ref().unwrap();
    let [low, high] = saving.interval.unwrap();
    close(Some(low), 1.0 - 0.6 * 1.05 / 0.95);
    close(Some(high), 1.0 - 0.6 * 0.95 / 1.05);
    assert_eq!(saving.interval_from, Some(IntervalSource::Meter));
    let accuracy = response.quantities.accuracy_diff.as_ref().unwrap();
    assert_eq!(accuracy.interval_from, Some(IntervalSource::Records));
    assert_eq!(
        codes(&response),
        ["seeds.single", "accuracy.unpaired_records", "accuracy.within_interval"],
        "0.3 points of 10 000 images are noise; nothing else is wrong"
    );
    let trained = response.rows.iter().find(|row| row.metric == Metric::SamplesTrained).unwrap();
    assert_eq!(
        (trained.ast.as_ref().unwrap().mean, trained.baseline.as_ref().unwrap().mean),
        (5200.0, 10_000.0)
    );
}

#[tokio::test]
async fn without_a_baseline_nothing_is_called_measured() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    let response = compared(&sandbox, AST.id, None).await;
    assert!(response.baseline_run_ids.is_empty());
    assert_eq!(response.energy_savings_basis, Some(Basis::Compute));
    // Of 10 000 samples 5 200 were trained on and 2 000 scored, each at a third.
    close(response.energy_savings, 1.0 - (3.0 * 5200.0 + 2000.0) / 30_000.0);
    assert_eq!(
        (response.accuracy_diff, response.time_savings_hours, response.emissions_avoided_g),
        (None, None, None)
    );
    let absent = &response.caveats[0];
    assert_eq!(absent.code, "baseline.absent");
    assert!(absent.message.contains("--baseline") && absent.message.contains("--epochs 10"));
    assert!(codes(&response).contains(&"energy.compute_only"), "{:?}", codes(&response));
    let table = response.text.unwrap();
    assert!(table.contains("Saving of arithmetic: 41.3 %"), "{table}");
    assert!(!table.contains("baseline  "), "no empty columns: {table}");
}

#[tokio::test]
async fn a_group_is_paired_by_seed() {
    let sandbox = sandbox().await;
    let seeds = [
        (1, "a1-20260301-100000", "d1-20260301-100000", 0.60, 1.00, 0.910, 0.912),
        (2, "a2-20260301-100000", "d2-20260301-100000", 0.58, 0.99, 0.913, 0.914),
        (3, "a3-20260301-100000", "d3-20260301-100000", 0.62, 1.02, 0.909, 0.912),
    ];
    for (seed, ast, dense, kwh, dense_kwh, accuracy, dense_accuracy) in seeds {
        write(&sandbox, &Written { id: ast, seed, kwh: Some(kwh), accuracy, ..AST }).await;
        write(
            &sandbox,
            &Written { id: dense, seed, kwh: Some(dense_kwh), accuracy: dense_accuracy, ..DENSE },
        )
        .await;
    }
    // The order in which they are named does not matter.
    let ids = "a3-20260301-100000, a1-20260301-100000,a2-20260301-100000";
    let response = compared(&sandbox, ids, None).await;
    assert_eq!(response.baseline_run_ids.len(), 3);
    let accuracy = response.quantities.accuracy_diff.as_ref().unwrap();
    // Differences -2, -1 and -3 thousandths: mean -2, standard deviation 1, t(2) = 4.3027.
    close(Some(accuracy.value), -0.002);
    let [low, high] = accuracy.interval.unwrap();
    assert!((low + 0.002 + 0.004_302_7 / 3f64.sqrt()).abs() < 1e-6 && high > 0.0, "{low} {high}");
    assert_eq!(accuracy.interval_from, Some(IntervalSource::PairedSeeds));
    let saving = response.quantities.energy_savings.as_ref().unwrap();
    let ratio = (0.60f64 / 1.0 * 0.58 / 0.99 * 0.62 / 1.02).cbrt();
    close(Some(saving.value), 1.0 - ratio);
    let [low, high] = saving.interval.unwrap();
    assert!(low > 0.35 && saving.value < high && high < 0.45, "{low} {high}");
    assert_eq!(codes(&response), ["accuracy.within_interval"]);
    let table = response.text.unwrap();
    assert!(table.contains("91.07 ± 0.21") && table.contains("paired by seed"), "{table}");

    let unpaired = compared(
        &sandbox,
        "a1-20260301-100000,a2-20260301-100000",
        Some("d2-20260301-100000,d3-20260301-100000"),
    )
    .await;
    assert_eq!(
        unpaired.quantities.accuracy_diff.as_ref().unwrap().interval_from,
        Some(IntervalSource::WelchSeeds)
    );
    assert!(codes(&unpaired).contains(&"seeds.differ"));
}

#[tokio::test]
async fn energy_is_measured_only_when_both_sides_were() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    write(&sandbox, &Written { basis: Basis::Modelled, uncertainty: 0.5, ..DENSE }).await;
    let response = compared(&sandbox, AST.id, Some(DENSE.id)).await;
    assert_eq!(response.energy_savings_basis, Some(Basis::Mixed));
    let codes = codes(&response);
    for code in ["energy.basis_differs", "energy.basis_mixed", "energy.intervals_overlap"] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
    let unmetered = Written { id: "bare-20260301-150000", kwh: None, ..DENSE };
    write(&sandbox, &unmetered).await;
    let response = compared(&sandbox, AST.id, Some(unmetered.id)).await;
    assert_eq!(response.energy_savings_basis, Some(Basis::Compute));
    assert!(
        response
            .caveats
            .iter()
            .any(|one| one.code == "energy.unmetered" && one.message.contains(unmetered.id))
    );
}

#[tokio::test]
async fn what_differs_is_said() {
    let sandbox = sandbox().await;
    let ast = write(&sandbox, &AST).await;
    write_events(&ast, &AST, true);
    let dense = write_with(&sandbox, &DENSE, |run| {
        run.greentune_version = "0.0.9".into();
        run.settings.vision.epochs = 20;
        run.settings.vision.batch_size = 128;
        run.settings.training.seed = 7;
        run.settings.ast.enabled = true;
        let train = run.data.train.to_string_lossy().into_owned();
        run.input_hashes.insert(train, "f".repeat(64));
    })
    .await;
    for stage in [1, 2] {
        write_emissions(&dense, stage, 0.6, &DENSE, |record| {
            record.cpu_model = "EPYC".into();
            record.gpu_model = String::new();
            record.tracking_mode = "process".into();
            record.pue = 1.2;
            record.emissions *= 2.0;
            record.country_iso_code = "POL".into();
        });
    }
    let response = compared(&sandbox, AST.id, Some(DENSE.id)).await;
    assert_eq!(
        codes(&response),
        [
            "baseline.is_ast",
            "data.train",
            "training.length",
            "hardware.cpu",
            "hardware.gpu",
            "meter.tracking_mode",
            "code.version",
            "settings.differ",
            "carbon.pue",
            "carbon.intensity",
            "seeds.differ",
            "seeds.single",
            "accuracy.unpaired_records",
            "accuracy.within_interval",
            "run.resumed",
        ]
    );
    // 1.2 kWh with a PUE of 1.2 are 1.0 without.
    close(response.energy_savings, 0.4);
    assert_eq!(response.emissions_avoided_g, None, "of two grids");
    let message = |code: &str| &response.caveats.iter().find(|caveat| caveat.code == code).unwrap().message;
    assert!(message("settings.differ").contains("vision.batch_size"));
    assert!(message("carbon.intensity").contains("480 g against 800 g"), "{}", message("carbon.intensity"));
    assert!(message("hardware.gpu").contains("1 x H100 (AST), none (baseline)"));
}

#[tokio::test]
async fn cost_is_named_in_the_currency_of_its_price_and_never_invented() {
    let sandbox = sandbox().await;
    let priced = |currency: &'static str, price: f64| {
        move |run: &mut RunManifest| {
            run.settings.carbon.electricity_price_per_kwh = Some(price);
            run.settings.carbon.electricity_currency = Some(currency.into());
        }
    };
    write_with(&sandbox, &AST, priced("USD", 0.3)).await;
    write_with(&sandbox, &DENSE, priced("USD", 0.3)).await;
    let response = compared(&sandbox, AST.id, None).await;
    close(response.cost_savings_usd, 0.12);

    write_with(&sandbox, &AST, priced("EUR", 0.3)).await;
    write_with(&sandbox, &DENSE, priced("EUR", 0.3)).await;
    let response = compared(&sandbox, AST.id, None).await;
    assert_eq!(response.cost_savings_usd, None);
    let cost = response.quantities.cost_savings.unwrap();
    assert_eq!(cost.unit, "EUR");
    close(Some(cost.value), 0.12);

    write(&sandbox, &DENSE).await;
    let response = compared(&sandbox, AST.id, None).await;
    assert_eq!(response.quantities.cost_savings, None);
    assert!(codes(&response).contains(&"cost.price"));
    assert!(response.rows.iter().all(|row| row.metric != Metric::Cost));
}

#[tokio::test]
async fn language_models_are_compared_by_their_last_stage() {
    let sandbox = sandbox().await;
    let trained = |accuracy: f64| {
        move |run: &mut RunManifest| {
            run.settings.vision.model = None;
            for stage in &mut run.stages {
                stage.classification = None;
                stage.epochs.clear();
                stage.evaluations = vec![EvaluationReport {
                    model: EvaluatedModel::Stage(stage.stage),
                    dataset_role: format!("stage{} validation", stage.stage),
                    dataset: "v.jsonl".into(),
                    records: 200,
                    tokens: 4000,
                    loss: 0.9,
                    perplexity: 2.5,
                    token_accuracy: accuracy - if stage.stage == 1 { 0.2 } else { 0.0 },
                    exact_match: None,
                    bleu: None,
                    generated_records: 0,
                    samples: Vec::new(),
                    choice_form: None,
                    figures: Vec::new(),
                }];
            }
        }
    };
    write_with(&sandbox, &AST, trained(0.70)).await;
    write_with(&sandbox, &DENSE, trained(0.72)).await;
    let response = compared(&sandbox, AST.id, None).await;
    assert_eq!(response.baseline_run_ids, [DENSE.id]);
    close(response.accuracy_diff, -0.02);
    let table = response.text.unwrap();
    assert!(table.contains("records evaluated") && table.contains("Accuracy of tokens"), "{table}");
    let error = problem(sandbox.workbench.plot_runs(plot(&sandbox)).await.unwrap_err());
    assert!(error.message.contains("less than twice"), "{error}");
}

#[tokio::test]
async fn what_says_nothing_is_refused() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    write(&sandbox, &DENSE).await;
    let refused = async |ast: &str, baseline: Option<&str>| {
        problem(sandbox.workbench.compare_runs(request(&sandbox, ast, baseline)).await.unwrap_err())
    };
    let itself = refused(AST.id, Some(AST.id)).await;
    assert_eq!((itself.kind, itself.code.as_str()), (ProblemKind::InvalidInput, "compare.not_comparable"));
    assert!(itself.hint.unwrap().contains(DENSE.id), "says what can be compared");
    let unknown = refused("ast-20260301-100001", None).await;
    assert_eq!(unknown.code, "run.unknown");
    assert!(unknown.message.contains(AST.id), "{}", unknown.message);
    assert_eq!(refused(" , ", None).await.code, "request.value");
    assert_eq!(refused("../elsewhere", None).await.code, "name.invalid");

    let other = Written { id: "other-20260301-100000", ..DENSE };
    write_with(&sandbox, &other, |run| run.settings.vision.model = Some("resnet50".into())).await;
    let model = refused(AST.id, Some(other.id)).await;
    assert!(model.message.contains("resnet18") && model.message.contains("resnet50"), "{}", model.message);
    assert!(model.hint.unwrap().contains(DENSE.id));
    write_with(&sandbox, &other, |run| run.settings.vision.model = None).await;
    assert!(refused(AST.id, Some(other.id)).await.message.contains("another task"));

    let layout = write_with(&sandbox, &other, |run| run.stages[1].status = RunStatus::Cancelled).await;
    // Its events tell of a stage that was begun, and nothing of its end.
    fs::remove_file(layout.events()).unwrap();
    let unfinished = refused(AST.id, Some(other.id)).await;
    assert_eq!((unfinished.kind, unfinished.code.as_str()), (ProblemKind::Conflict, "run.not_completed"));
    assert!(
        unfinished.message.contains("cancelled") && unfinished.suggestions[0].operation == "resume_training"
    );
}

#[tokio::test]
async fn every_form_holds_every_row() {
    let sandbox = sandbox().await;
    write(&sandbox, &AST).await;
    write(&sandbox, &DENSE).await;
    let form = async |format| {
        let request = CompareRuns { format: Some(format), ..request(&sandbox, AST.id, None) };
        sandbox.workbench.compare_runs(request).await.unwrap()
    };
    let table = form(ComparisonFormat::Table).await.text.unwrap();
    assert!(table.contains("energy (kWh)") && table.contains("-0.400"), "{table}");
    assert!(table.contains("Saving of energy: 40.0 % [33.7 %, 45.7 %], measured (meter)"), "{table}");
    assert!(table.contains("-0:30"), "{table}");
    let response = form(ComparisonFormat::Json).await;
    assert_eq!(response.text, None);
    let rows = response.rows.len();
    assert_eq!(rows, 9);

    let markdown = form(ComparisonFormat::Markdown).await.text.unwrap();
    let lines: Vec<_> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines.len(), rows + 2);
    assert!(lines.iter().all(|line| line.matches('|').count() == 7), "{markdown}");

    let latex = form(ComparisonFormat::Latex).await.text.unwrap();
    for part in ["\\begin{table}", "\\caption{", "\\toprule", "\\midrule", "\\bottomrule", "\\end{table}"] {
        assert_eq!(latex.matches(part).count(), 1, "{part}");
    }
    assert_eq!(latex.lines().filter(|line| line.ends_with("\\\\")).count(), rows + 1);
    assert_eq!(
        latex.matches('{').count() - latex.matches("\\{").count(),
        latex.matches('}').count() - latex.matches("\\}").count()
    );
    // After the first line, which is a comment, no bare % may hide the rest of a line.
    let body = latex.split_once('\n').unwrap().1;
    assert_eq!(body.matches('%').count(), body.matches("\\%").count(), "{body}");
    if let Some(keep) = std::env::var_os("GREENTUNE_PLOTS") {
        fs::write(std::path::Path::new(&keep).join("comparison.tex"), &latex).unwrap();
        fs::write(std::path::Path::new(&keep).join("comparison.txt"), &table).unwrap();
    }

    let csv = form(ComparisonFormat::Csv).await.text.unwrap();
    let energy = csv.lines().find(|line| line.starts_with("energy,kWh,")).unwrap();
    assert!(energy.starts_with("energy,kWh,0.6,,") && energy.ends_with(",meter,measured"), "{energy}");
    assert_eq!(csv.lines().count(), rows + 1);
}

fn plot(sandbox: &Sandbox) -> PlotRuns {
    PlotRuns {
        project_path: Some(sandbox.project.root().to_owned()),
        ast_run_id: AST.id.into(),
        ..PlotRuns::default()
    }
}

#[tokio::test]
async fn charts_show_what_the_runs_have() {
    let sandbox = sandbox().await;
    for (seed, ast, dense, more) in
        [(1, AST.id, DENSE.id, 0.0), (2, "a2-20260301-100000", "d2-20260301-100000", 0.01)]
    {
        write(&sandbox, &Written { id: ast, seed, accuracy: AST.accuracy + more, ..AST }).await;
        write(&sandbox, &Written { id: dense, seed, accuracy: DENSE.accuracy + more, ..DENSE }).await;
    }
    let response = sandbox.workbench.plot_runs(plot(&sandbox)).await.unwrap();
    assert_eq!(response.files.len(), 6, "{:?}", response.files);
    assert!(response.files[0].starts_with(sandbox.project.root().join("comparisons").join(AST.id)));
    let svg = |name: &str| {
        let file = response.files.iter().find(|file| file.ends_with(format!("{name}.svg"))).unwrap();
        fs::read_to_string(file).unwrap()
    };
    let energy = svg("accuracy_energy");
    assert_eq!(energy.matches("<polyline").count(), 2);
    assert!(energy.contains("energy of the run so far (kWh)") || energy.contains("(Wh)"), "{energy}");
    assert_eq!(svg("threshold").matches("<polyline").count(), 1, "full training has no threshold");
    assert_eq!(svg("activation_rate").matches("<circle").count(), 20);

    let group = PlotRuns {
        ast_run_id: format!("{},a2-20260301-100000", AST.id).into(),
        to: Some("charts".into()),
        ..plot(&sandbox)
    };
    let grouped = sandbox.workbench.plot_runs(group).await.unwrap();
    let file = sandbox.project.root().join("charts/accuracy_energy.svg");
    assert_eq!(grouped.files[0], file);
    assert_eq!(fs::read_to_string(file).unwrap().matches("<polygon").count(), 2, "a band per group");
    if let Some(keep) = std::env::var_os("GREENTUNE_PLOTS") {
        for file in
            response.files.iter().chain(&grouped.files).filter(|file| file.extension().unwrap() == "png")
        {
            let folder = file.parent().unwrap().file_name().unwrap().to_string_lossy();
            let name = format!("{folder}-{}", file.file_name().unwrap().to_string_lossy());
            fs::copy(file, std::path::Path::new(&keep).join(name)).unwrap();
        }
    }
    let outside = PlotRuns { to: Some("../elsewhere".into()), ..plot(&sandbox) };
    assert_eq!(problem(sandbox.workbench.plot_runs(outside).await.unwrap_err()).code, "path.outside_project");
}
