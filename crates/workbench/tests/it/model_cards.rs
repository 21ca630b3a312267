//! Model cards of runs whose files are written here, so that every figure of a card is known.

use std::{collections::BTreeMap, fs, path::Path};

use greentune_carbon::{codecarbon, sidecar};
use greentune_core_config::{
    Basis, ProblemKind,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
    evaluation::{
        ClassificationReport, EvaluatedModel, EvaluationReport, IntervalMethod, MetricFigure, MetricInterval,
    },
    event::{EpochMetrics, Event, EventKind},
    layout::RunLayout,
    manifest::{RunData, RunManifest, RunStatus, StageRecord},
    selection::SelectionSoFar,
    settings::{AstPolicy, AstUnit, Settings},
};
use greentune_workbench::{
    CardTemplate,
    operation::{CreateModelCard, CreateModelCardResponse, ShowRun, find},
};
use serde_json::json;

use crate::sandbox::{Sandbox, problem};

const TEMPLATES: [&str; 3] = ["standard", "competition", "research"];
const AST: &str = "sparse-20261126-101500";
const DENSE: &str = "dense-20261126-090000";
const LANGUAGE: &str = "instruct-20261126-080000";

/// Energy of a stage: kWh, the interval, seconds; measured or modelled.
type Energy = (f64, [f64; 2], f64, Basis);

struct Written {
    manifest: RunManifest,
    events: Vec<EventKind>,
    energy: Vec<Energy>,
}

impl Written {
    /// The run's files, as a worker leaves them.
    fn write(&self, sandbox: &Sandbox) -> RunLayout {
        let run = sandbox.project.run(&self.manifest.run_id);
        fs::create_dir_all(run.folder()).unwrap();
        fs::write(run.manifest(), serde_json::to_string(&self.manifest).unwrap()).unwrap();
        let at = self.manifest.created_at;
        let lines = self.events.iter().enumerate().map(|(seq, kind)| {
            serde_json::to_string(&Event { seq: seq as u64, at, kind: kind.clone() }).unwrap() + "\n"
        });
        fs::write(run.events(), lines.collect::<String>()).unwrap();
        for (stage, energy) in (1..).zip(&self.energy) {
            write_energy(&run, stage, energy);
        }
        run
    }
}

fn write_energy(run: &RunLayout, stage: u8, &(kwh, range, seconds, basis): &Energy) {
    let intensity = 363.0;
    let row = EmissionsRecord {
        duration: seconds,
        emissions: kwh * intensity / 1000.0,
        energy_consumed: kwh,
        country_name: "Germany".into(),
        country_iso_code: "DEU".into(),
        os: "Linux".into(),
        cpu_model: "A processor".into(),
        cpu_count: 4,
        ram_total_size: 16.0,
        tracking_mode: "machine".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    };
    codecarbon::append(&run.emissions_csv(stage), &row).unwrap();
    let provenance = EmissionsProvenance {
        format_version: 2,
        meter: "greentune 0.1.0".into(),
        components: vec![ComponentProvenance {
            component: "cpu".into(),
            basis,
            method: if basis == Basis::Measured { "RAPL package-0" } else { "load model: TDP 65 W" }.into(),
            source: "kernel powercap".into(),
            energy_kwh: kwh,
            range_kwh: Some(range),
            scope: "machine".into(),
            ..ComponentProvenance::default()
        }],
        carbon_intensity_g_per_kwh: intensity,
        carbon_intensity_source: "Ember 2025, year 2024, CC-BY-4.0".into(),
        pue: 1.0,
        notes: vec!["GPU: none found".into()],
        attempts: 1,
        energy_range_kwh: Some(range),
        emissions_range_kg: Some(range.map(|kwh| kwh * intensity / 1000.0)),
        ..EmissionsProvenance::default()
    };
    sidecar::write(&run.provenance(stage), &provenance).unwrap();
}

fn manifest(sandbox: &Sandbox, run_id: &str, settings: Settings) -> RunManifest {
    let root = sandbox.project.root();
    let data = RunData {
        train: root.join("data/flowers/train"),
        validation: root.join("data/flowers/val"),
        ..RunData::default()
    };
    let hash = |digit: &str| digit.repeat(64);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let hashes = [(text(&data.train), hash("a")), (text(&data.validation), hash("b"))];
    RunManifest {
        format_version: 1,
        greentune_version: "0.1.0".into(),
        run_id: run_id.into(),
        run_name: run_id.split('-').next().unwrap().into(),
        created_at: "2026-11-26T10:15:00Z".parse().unwrap(),
        updated_at: "2026-11-26T10:15:00Z".parse().unwrap(),
        status: RunStatus::Completed,
        platform: greentune_core_config::platform::Job::default(),
        last_seq: None,
        problem: None,
        pid: None,
        requested_stages: Vec::new(),
        settings,
        sources: BTreeMap::new(),
        data,
        base_model_path: "".into(),
        input_hashes: BTreeMap::from(hashes),
        changed_inputs: Vec::new(),
        git_revision: Some("c8a3eb0d5f1e4b6a7c8d9e0f1a2b3c4d5e6f7a8b".into()),
        tuning: None,
        stages: Vec::new(),
        artifacts: BTreeMap::new(),
        exports: Vec::new(),
    }
}

fn record(stage: u8) -> StageRecord {
    serde_json::from_value(
        json!({ "stage": stage, "status": "not_started", "total_steps": 0, "steps_done": 0 }),
    )
    .unwrap()
}

fn started(stage: u8, train_records: u64, trainable_parameters: u64) -> EventKind {
    EventKind::StageStarted { stage, total_steps: 100, from_step: 100, train_records, trainable_parameters }
}

fn finished(stage: u8, duration_seconds: f64) -> EventKind {
    EventKind::StageFinished {
        stage,
        duration_seconds,
        final_train_loss: 0.25,
        emissions: None,
        peak_memory_bytes: Some(512_000_000),
    }
}

fn classified(stage: u8, classes: &[&str], right: u64) -> EventKind {
    // Of 100 images of each class `right` are recognised; the others are taken for the next class.
    let count = classes.len();
    let row = |actual: usize| {
        let mut row = vec![0; count];
        row[actual] = right;
        row[(actual + 1) % count] += 100 - right;
        row
    };
    EventKind::Classified {
        stage,
        report: ClassificationReport {
            dataset_role: "validation".into(),
            dataset: "/somewhere/data/flowers/val".into(),
            images: 100 * count as u64,
            skipped: 1,
            loss: 0.321,
            accuracy: right as f64 / 100.0,
            top5_accuracy: (count > 5).then_some(0.995),
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            confusion: (0..count).map(row).collect(),
        },
    }
}

fn epoch(stage: u8, epoch: u64, selection: Option<SelectionSoFar>) -> EventKind {
    EventKind::EpochFinished(EpochMetrics {
        stage,
        step: 10 * epoch,
        epoch,
        total_epochs: 5,
        train_loss: 1.0 / epoch as f64,
        validation_loss: 1.1 / epoch as f64,
        accuracy: 0.9 - 0.5 / epoch as f64,
        top5_accuracy: None,
        seconds: 60.0 * epoch as f64,
        energy_kwh: Some(0.001 * epoch as f64),
        selection,
    })
}

fn worker() -> EventKind {
    EventKind::Started { pid: 1, device: "cpu (flex, 4 threads)".into(), resumed: false }
}

fn image_settings() -> Settings {
    let mut settings = Settings::default();
    settings.project.name = "flowers".into();
    settings.vision.model = Some("resnet18".into());
    settings.vision.image_size = Some(64);
    settings.vision.epochs = 5;
    settings
}

const FLOWERS: [&str; 6] = ["daisy", "iris", "poppy", "rose", "tulip", "violet"];

fn ast_run(sandbox: &Sandbox) -> Written {
    let mut settings = image_settings();
    settings.ast.enabled = true;
    settings.ast.policy = AstPolicy::Infobatch;
    let mut manifest = manifest(sandbox, AST, settings);
    manifest.stages = vec![record(1), record(2)];
    let of_epoch = |selected| SelectionSoFar {
        candidates: 1000,
        selected,
        forced: 12,
        threshold: Some(0.5),
        ..SelectionSoFar::default()
    };
    let mut second = vec![started(2, 1000, 11_000_000)];
    second.extend((3..=5).map(|number| epoch(2, number, Some(of_epoch(400 + number)))));
    second.extend([classified(2, &FLOWERS, 91), finished(2, 150.0)]);
    // A step tells what was selected in the stage so far.
    let total = (3..=5).fold(SelectionSoFar::default(), |sum, number| sum.and(&of_epoch(400 + number)));
    manifest.stages[1].selection = Some(total);
    let mut events = vec![worker(), started(1, 1000, 11_000_000), epoch(1, 1, None), epoch(1, 2, None)];
    events.extend([classified(1, &FLOWERS, 80), finished(1, 120.0)]);
    events.extend(second);
    events.push(EventKind::Finished { duration_seconds: 270.0 });
    let measured = Basis::Measured;
    Written {
        manifest,
        events,
        energy: vec![(0.002, [0.0018, 0.0022], 120.0, measured), (0.001, [0.0009, 0.0011], 150.0, measured)],
    }
}

fn dense_run(sandbox: &Sandbox) -> Written {
    let mut manifest = manifest(sandbox, DENSE, image_settings());
    manifest.stages = vec![record(1)];
    let mut events = vec![worker(), started(1, 1000, 11_000_000)];
    events.extend((1..=5).map(|number| epoch(1, number, None)));
    events.extend([
        classified(1, &FLOWERS, 92),
        finished(1, 400.0),
        EventKind::Finished { duration_seconds: 400.0 },
    ]);
    Written { manifest, events, energy: vec![(0.006, [0.0054, 0.0066], 400.0, Basis::Measured)] }
}

/// Figures with and without an interval, and of a field whose name is Markdown.
fn figures() -> Vec<MetricFigure> {
    let figure = |metric: &str, value: f64, interval: Option<[f64; 2]>, records: u64| MetricFigure {
        metric: metric.to_owned(),
        value,
        interval: interval.map(|[low, high]| MetricInterval { low, high, method: IntervalMethod::Bootstrap }),
        records,
    };
    vec![
        figure("token_accuracy", 0.715, Some([0.68, 0.75]), 20),
        figure("chrf", 0.412, Some([0.35, 0.47]), 16),
        figure("field.a|b *c*", 0.5, None, 1),
    ]
}

fn language_run(sandbox: &Sandbox) -> Written {
    let mut settings = Settings::default();
    settings.project.name = "health answers".into();
    settings.project.description = "Answers on health.".into();
    settings.base_model.model_id = "allenai/OLMo-2-0425-1B".into();
    let mut manifest = manifest(sandbox, LANGUAGE, settings);
    let root = sandbox.project.root();
    manifest.data.train = root.join("data/processed/train.jsonl");
    manifest.data.validation = root.join("data/processed/validation.jsonl");
    manifest.base_model_path = sandbox.root().join("base");
    let inputs =
        [&manifest.data.train, &manifest.data.validation, &manifest.base_model_path.join("config.json")];
    manifest.input_hashes = inputs.map(|path| (path.to_string_lossy().into_owned(), "c".repeat(64))).into();
    manifest.stages = vec![record(1), record(2)];
    let report = |model, perplexity, token_accuracy| EvaluationReport {
        model,
        dataset_role: "stage2 validation".into(),
        dataset: manifest.data.validation.clone(),
        records: 20,
        tokens: 400,
        loss: 0.5,
        perplexity,
        token_accuracy,
        exact_match: None,
        bleu: Some(0.25),
        generated_records: 16,
        samples: Vec::new(),
        choice_form: None,
        figures: Vec::new(),
    };
    let mut reports =
        vec![report(EvaluatedModel::Base, 9.5, 0.41), report(EvaluatedModel::Stage(2), 3.25, 0.715)];
    reports[1].figures = figures();
    let events = vec![
        worker(),
        started(1, 80, 4096),
        finished(1, 60.0),
        started(2, 80, 4096),
        EventKind::ModelsEvaluated { stage: 2, reports },
        finished(2, 90.0),
        EventKind::Finished { duration_seconds: 150.0 },
    ];
    let modelled = Basis::Modelled;
    Written {
        manifest,
        events,
        energy: vec![(0.0005, [0.0002, 0.0015], 60.0, modelled), (0.0007, [0.0003, 0.002], 90.0, modelled)],
    }
}

async fn card(sandbox: &Sandbox, request: CreateModelCard) -> CreateModelCardResponse {
    let request = CreateModelCard { project_path: Some(sandbox.project.root().to_owned()), ..request };
    sandbox.workbench.create_model_card(request).await.unwrap()
}

fn request(run_id: &str, template: &str, baseline: Option<&str>) -> CreateModelCard {
    CreateModelCard {
        run_id: run_id.into(),
        template: CardTemplate::named(template),
        baseline_run_id: baseline.map(Into::into),
        ..CreateModelCard::default()
    }
}

async fn refused(sandbox: &Sandbox, request: CreateModelCard) -> (ProblemKind, String, String) {
    let request = CreateModelCard { project_path: Some(sandbox.project.root().to_owned()), ..request };
    let error = problem(sandbox.workbench.create_model_card(request).await.unwrap_err());
    (error.kind, error.code.clone(), error.to_string())
}

#[tokio::test]
async fn cards_of_every_kind_of_run_by_every_template() {
    let sandbox = Sandbox::new("trains").await;
    let run = ast_run(&sandbox).write(&sandbox);
    fs::create_dir_all(run.final_model()).unwrap();
    fs::write(run.final_model().join("model.safetensors"), "").unwrap();
    dense_run(&sandbox).write(&sandbox);
    language_run(&sandbox).write(&sandbox);
    for template in TEMPLATES {
        for (name, run_id, baseline) in
            [("ast", AST, Some(DENSE)), ("dense", DENSE, None), ("language", LANGUAGE, None)]
        {
            let card = card(&sandbox, request(run_id, template, baseline)).await;
            assert!(!card.markdown.contains(&*sandbox.root().to_string_lossy()), "folders are nobody else's");
            insta::assert_snapshot!(format!("card_{name}_{template}"), card.markdown);
        }
    }
}

#[tokio::test]
async fn a_saving_needs_a_baseline_of_the_same_task_and_says_how_it_is_known() {
    let sandbox = Sandbox::new("trains").await;
    ast_run(&sandbox).write(&sandbox);
    let alone = card(&sandbox, request(AST, "standard", None)).await;
    assert!(!alone.markdown.contains("less energy") && !alone.markdown.contains("energy_savings"));
    assert!(alone.markdown.contains("No baseline run was named"));
    assert_eq!(alone.badges, ["ast-trained", "energy-measured", "carbon-reported", "reproducible"]);

    dense_run(&sandbox).write(&sandbox);
    let found = card(&sandbox, request(AST, "standard", None)).await;
    assert!(found.markdown.contains(&format!("than the baseline run {DENSE}")), "{}", found.markdown);

    // 3 Wh against 6 Wh; the corners of the intervals are 3.3/5.4 and 2.7/6.6.
    let beside = card(&sandbox, request(AST, "standard", Some(DENSE))).await;
    let sentence = format!(
        "Trained with 50.0 % less energy than the baseline run {DENSE} (measured, interval 38.9 % to 59.1 %)"
    );
    assert!(beside.markdown.contains(&sentence), "{}", beside.markdown);
    assert!(beside.badges.contains(&"energy-efficient".to_owned()));
    assert!(beside.markdown.contains("| CO2 avoided | 1.09 g (measured) |"), "{}", beside.markdown);

    let mut other = dense_run(&sandbox);
    other.manifest.run_id = "other-20261126-090000".into();
    other.manifest.settings.vision.model = Some("resnet50".into());
    other.write(&sandbox);
    let unlike = card(&sandbox, request(AST, "standard", Some("other-20261126-090000"))).await;
    assert!(!unlike.markdown.contains("less energy") && !unlike.markdown.contains("CO2 avoided"));
    assert!(unlike.markdown.contains("the model differ"), "{}", unlike.markdown);
    assert!(!unlike.badges.contains(&"energy-efficient".to_owned()));

    let mut unmetered = dense_run(&sandbox);
    unmetered.manifest.run_id = "unmetered-20261126-090000".into();
    unmetered.energy.clear();
    unmetered.write(&sandbox);
    let compute = card(&sandbox, request(AST, "standard", Some("unmetered-20261126-090000"))).await;
    // 2000 + 1212 of 5000 samples.
    assert!(compute.markdown.contains("Trained with 35.8 % less arithmetic"), "{}", compute.markdown);
    assert!(!compute.markdown.contains("less energy") && !compute.markdown.contains("CO2 avoided"));
    assert!(!compute.badges.contains(&"energy-efficient".to_owned()));

    // A token that is not selected still passes through every layer.
    let mut tokens = ast_run(&sandbox);
    tokens.energy.clear();
    let selection = tokens.manifest.stages[1].selection.as_mut().unwrap();
    selection.unit = AstUnit::Token;
    for event in &mut tokens.events {
        if let EventKind::EpochFinished(epoch) = event {
            epoch.selection.iter_mut().for_each(|selection| selection.unit = AstUnit::Token);
        }
    }
    tokens.write(&sandbox);
    let nothing = card(&sandbox, request(AST, "standard", Some("unmetered-20261126-090000"))).await;
    assert!(!nothing.markdown.contains("arithmetic"), "{}", nothing.markdown);
}

#[tokio::test]
async fn energy_of_a_machine_that_ran_something_else_too_earns_no_badge() {
    let sandbox = Sandbox::new("trains").await;
    let own = ast_run(&sandbox).write(&sandbox);
    let dense = dense_run(&sandbox).write(&sandbox);
    let at = |run: &RunLayout, stage: u8, minute: u8| {
        let csv = run.emissions_csv(stage);
        let rows = codecarbon::read(&csv).unwrap();
        let timestamp = format!("2026-11-26T10:{minute:02}:00");
        let rows: Vec<_> =
            rows.into_iter().map(|row| EmissionsRecord { timestamp: timestamp.clone(), ..row }).collect();
        codecarbon::write(&csv, &rows).unwrap();
    };
    // One after the other: every badge.
    at(&own, 1, 3);
    at(&own, 2, 6);
    at(&dense, 1, 20);
    let alone = card(&sandbox, request(AST, "standard", Some(DENSE))).await;
    assert!(
        ["energy-measured", "energy-efficient"]
            .iter()
            .all(|badge| alone.badges.contains(&(*badge).to_owned()))
    );
    // The baseline began before the run had ended.
    at(&dense, 1, 9);
    let shared = card(&sandbox, request(AST, "standard", Some(DENSE))).await;
    assert_eq!(shared.badges, ["ast-trained", "carbon-reported", "reproducible"]);
    assert!(shared.markdown.contains("on which other runs were metered too"), "{}", shared.markdown);
}

#[tokio::test]
async fn a_saving_that_may_be_none_is_said_to_be_so() {
    let sandbox = Sandbox::new("trains").await;
    let mut run = ast_run(&sandbox);
    run.energy = vec![
        (0.002, [0.001, 0.006], 120.0, Basis::Modelled),
        (0.001, [0.0005, 0.003], 150.0, Basis::Modelled),
    ];
    run.write(&sandbox);
    dense_run(&sandbox).write(&sandbox);
    let card = card(&sandbox, request(AST, "standard", Some(DENSE))).await;
    assert!(card.markdown.contains("(mixed, interval"), "{}", card.markdown);
    assert!(card.markdown.contains("The meters cannot tell this from no difference."));
    assert_eq!(card.badges, ["ast-trained", "carbon-reported", "reproducible"]);
}

#[tokio::test]
async fn what_a_run_did_not_leave_is_not_on_its_card() {
    let sandbox = Sandbox::new("trains").await;
    let mut run = ast_run(&sandbox);
    run.energy.clear();
    run.manifest.git_revision = None;
    run.events.retain(|event| !matches!(event, EventKind::Classified { .. } | EventKind::EpochFinished(_)));
    run.write(&sandbox);
    for template in TEMPLATES {
        let card = card(&sandbox, request(AST, template, None)).await;
        let text = &card.markdown;
        for absent in
            ["co2_eq_emissions", "model-index", "sustainability\n", "Top-5", "NaN", "git revision", "license"]
        {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
        assert!(text.contains("was not evaluated"), "{text}");
        assert_eq!(card.badges, ["ast-trained"]);
    }
    // Half of the energy is not the whole of it.
    let mut half = ast_run(&sandbox);
    half.energy.truncate(1);
    half.manifest.run_id = "half-20261126-101500".into();
    half.write(&sandbox);
    let card = card(&sandbox, request("half-20261126-101500", "standard", None)).await;
    assert!(
        card.markdown.contains("without stage 2, not metered") && !card.markdown.contains("co2_eq_emissions")
    );
}

#[tokio::test]
async fn hostile_names_stay_names() {
    let sandbox = Sandbox::new("trains").await;
    let mut run = ast_run(&sandbox);
    let root = sandbox.project.root().to_owned();
    run.manifest.settings.project.description =
        "---\n# No heading\n<script>alert(1)</script> $x$ \u{2028}yes".into();
    run.manifest.data.train = root.join("data/it's: \"flöwers\"\n---\nlicense: mit/train");
    run.manifest.run_name = "it's $HOME".into();
    let classes = ["a|b", "\"quoted\": yes", "- list\n---\n", "null", "日本語 \u{85}", "`code` *x* [y](z)"];
    run.events.retain(|event| !matches!(event, EventKind::Classified { .. }));
    let at = run.events.len() - 2;
    let EventKind::Classified { stage, mut report } = classified(2, &classes, 91) else { unreachable!() };
    report.dataset = root.join("data/it's: \"flöwers\"\n---\nlicense: mit/val");
    run.events.insert(at, EventKind::Classified { stage, report });
    run.write(&sandbox);
    let mut language = language_run(&sandbox);
    language.manifest.settings.project.name = "a: \"b\"\n---\nlicense: mit # 'c' \u{7f}\u{feff}".into();
    language.write(&sandbox);
    for (name, run_id) in [("image", AST), ("language", LANGUAGE)] {
        let card = card(&sandbox, request(run_id, "research", None)).await;
        let (metadata, body) = card.markdown[4..].split_once("\n---\n").unwrap();
        assert!(!metadata.lines().any(|line| line.starts_with("license")), "{metadata}");
        assert!(
            body.trim_start().starts_with("# ") && !body.replace("\\<", "").contains("<script"),
            "{body}"
        );
        insta::assert_snapshot!(format!("card_hostile_{name}"), card.markdown);
    }
}

#[tokio::test]
async fn cards_that_cannot_be_are_refused() {
    let sandbox = Sandbox::new("trains").await;
    ast_run(&sandbox).write(&sandbox);
    language_run(&sandbox).write(&sandbox);
    let mut running = dense_run(&sandbox);
    running.events.pop();
    running.manifest.status = RunStatus::Cancelled;
    running.write(&sandbox);

    let (kind, code, _) = refused(&sandbox, request("none-20261126-101500", "standard", None)).await;
    assert_eq!((kind, code.as_str()), (ProblemKind::NotFound, "run.unknown"));
    let unknown =
        serde_json::Map::from_iter([("run_id".into(), json!(AST)), ("template".into(), json!("fancy"))]);
    let unknown = find("create_model_card").unwrap().perform(&sandbox.workbench, unknown).await.unwrap_err();
    let unknown = problem(unknown);
    assert_eq!(unknown.kind, ProblemKind::InvalidInput);
    assert!(unknown.to_string().contains("standard, competition, research"), "{unknown}");
    let (kind, code, text) = refused(&sandbox, request(DENSE, "standard", None)).await;
    assert_eq!((kind, code.as_str()), (ProblemKind::Conflict, "run.not_completed"));
    assert!(text.contains("cancelled"), "{text}");
    assert_eq!(refused(&sandbox, request(AST, "standard", Some(DENSE))).await.1, "run.not_completed");
    assert_eq!(refused(&sandbox, request(AST, "standard", Some(AST))).await.1, "request.value");
    assert_eq!(refused(&sandbox, request(AST, "standard", Some(LANGUAGE))).await.1, "request.value");
    assert_eq!(
        refused(&sandbox, request(AST, "standard", Some("none-20261126-101500"))).await.1,
        "run.unknown"
    );
}

#[tokio::test]
async fn damage_in_the_record_of_a_run_is_said_wherever_the_run_is_shown() {
    let sandbox = Sandbox::new("trains").await;
    let mut run = language_run(&sandbox);
    run.manifest.stages.iter_mut().for_each(|stage| stage.status = RunStatus::Completed);
    run.write(&sandbox);
    let layout = sandbox.project.run(LANGUAGE);
    let events = fs::read_to_string(layout.events()).unwrap();
    fs::write(layout.events(), events.replacen('\n', "\nno event\n", 1)).unwrap();
    let said = "line 2 of events.jsonl cannot be read";
    for template in ["standard", "competition", "research"] {
        let card = card(&sandbox, request(LANGUAGE, template, None)).await;
        assert!(card.markdown.contains("record is damaged"), "{template}: {}", card.markdown);
    }
    let request = ShowRun { run_id: LANGUAGE.into(), project_path: Some(sandbox.project.root().to_owned()) };
    let shown = sandbox.workbench.show_run(request).await.unwrap();
    assert!(shown.warnings[0].starts_with(said), "{:?}", shown.warnings);
}

#[tokio::test]
async fn a_card_is_written_where_nothing_is() {
    let sandbox = Sandbox::new("trains").await;
    ast_run(&sandbox).write(&sandbox);
    let to =
        |path: &str| CreateModelCard { output_path: Some(path.into()), ..request(AST, "standard", None) };
    let written = card(&sandbox, to("cards/flowers.md")).await;
    let path = written.path.unwrap();
    assert_eq!(path, sandbox.project.root().join("cards/flowers.md"));
    assert_eq!(fs::read_to_string(&path).unwrap(), written.markdown);
    assert_eq!(
        card(&sandbox, to("cards")).await.path.unwrap(),
        sandbox.project.root().join("cards/README.md")
    );

    fs::write(&path, "mine").unwrap();
    assert_eq!(refused(&sandbox, to("cards/flowers.md")).await.1, "request.value");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let replaced = CreateModelCard { overwrite: Some(true), ..to("cards/flowers.md") };
    assert_eq!(card(&sandbox, replaced).await.path, Some(path));
    assert_eq!(refused(&sandbox, to("../outside.md")).await.1, "path.outside_project");
}
