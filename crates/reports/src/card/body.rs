//! What the templates of `templates/cards` are given: text with units, by section.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    Suggestion,
    manifest::{RunManifest, StageRecord},
    platform::PlatformKind,
    quantities::percent,
    settings::Settings,
};
use greentune_scaffold::{CardTemplate, settings_as_toml};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Subject, Weights,
    badges::Badge,
    figures::{devices, trained_parameters},
    inputs::{Input, changed_inputs, data_name, inputs},
    loading::{Loading, loading},
    references::references,
    results::{
        Classification, EpochLine, Evaluation, FigureLine, Headline, classification, epochs, evaluations,
        figures, headline, statistics,
    },
    row::{Row, row},
    sustainability::{
        ComponentLine, StageCost, components, energy_sentence, hardware, limits, stage_costs, sustainability,
    },
};
use crate::Result;

/// Everything that a template may show.
#[derive(Debug, Serialize)]
pub(super) struct Body {
    title: String,
    description: String,
    summary: String,
    saving: Option<String>,
    badges: Vec<Badge>,
    is_language_model: bool,
    details: Vec<Row>,
    training: String,
    stages: Vec<StageLine>,
    headline: Option<Headline>,
    classification: Option<Classification>,
    evaluations: Vec<Evaluation>,
    figures: Vec<FigureLine>,
    energy_sentence: Option<String>,
    sustainability: Vec<Row>,
    stage_energy: Vec<StageCost>,
    components: Vec<ComponentLine>,
    limits: Vec<String>,
    reproducing: Reproducing,
    inputs: Vec<Input>,
    changed_inputs: Vec<String>,
    loading: Loading,
    submission: Vec<String>,
    epochs: Vec<EpochLine>,
    hardware: Vec<Row>,
    statistics: Vec<String>,
    references: String,
}

/// A stage in the table of training.
#[derive(Debug, Serialize)]
struct StageLine {
    stage: u8,
    phase: &'static str,
    epochs: usize,
    steps: u64,
    samples_per_step: u64,
    learning_rate: String,
    trained_on: String,
    data: String,
    hash: Option<String>,
}

#[derive(Debug, Serialize)]
struct Reproducing {
    how: String,
    commands: String,
    settings: String,
    is_full: bool,
}

pub(super) fn body(subject: &Subject, template: CardTemplate, badges: &[Badge]) -> Result<Body> {
    let manifest = subject.manifest();
    let description = manifest.settings.project.description.trim();
    Ok(Body {
        title: title(subject),
        description: description.to_owned(),
        summary: summary(subject),
        saving: subject.comparison.and_then(super::Comparison::sentence),
        badges: badges.to_vec(),
        is_language_model: !subject.is_classifier(),
        details: if subject.is_classifier() { classifier_details(subject) } else { adapter_details(subject) },
        training: training(subject),
        stages: subject.trained.iter().map(|record| stage(subject, record)).collect(),
        headline: headline(subject),
        classification: classification(subject),
        evaluations: evaluations(subject),
        figures: figures(subject),
        energy_sentence: energy_sentence(subject),
        sustainability: sustainability(subject),
        stage_energy: stage_costs(subject),
        components: components(subject),
        limits: limits(subject),
        reproducing: reproducing(subject, template)?,
        // What has no hash is named by the commands alone.
        changed_inputs: changed_inputs(manifest),
        inputs: inputs(manifest).into_iter().filter(|input| input.sha256.is_some()).collect(),
        loading: loading(subject),
        submission: submission(subject),
        epochs: epochs(subject),
        hardware: hardware(subject),
        statistics: statistics(subject),
        references: references(&manifest.settings),
    })
}

pub(super) fn title(subject: &Subject) -> String {
    let settings = &subject.manifest().settings;
    match &settings.vision.model {
        Some(model) if subject.is_adaptive() => format!("{} (AST-trained)", architecture(model)),
        Some(model) => architecture(model).to_owned(),
        None => settings.project.name.clone(),
    }
}

/// Architectures as their papers write them.
fn architecture(model: &str) -> &str {
    const NAMES: &[(&str, &str)] = &[
        ("simplecnn", "SimpleCNN"),
        ("resnet18", "ResNet18"),
        ("resnet34", "ResNet34"),
        ("resnet50", "ResNet50"),
        ("resnet101", "ResNet101"),
        ("efficientnet_b0", "EfficientNet-B0"),
        ("efficientnet_b1", "EfficientNet-B1"),
        ("efficientnet_b2", "EfficientNet-B2"),
        ("efficientnet_b3", "EfficientNet-B3"),
        ("vit_tiny", "ViT-Tiny"),
        ("vit_small", "ViT-Small"),
    ];
    NAMES.iter().find(|(word, _)| *word == model).map_or(model, |(_, name)| name)
}

fn summary(subject: &Subject) -> String {
    let manifest = subject.manifest();
    let (run, stage, version) = (&manifest.run_id, subject.stage.stage, &manifest.greentune_version);
    if !subject.is_classifier() {
        let what = match subject.weights {
            Weights::Merged => "Model, the adapters merged into its weights",
            Weights::Adapters | Weights::OfRun => "LoRA adapters",
        };
        let base = base_model(manifest);
        return format!(
            "{what} of the run {run}, stage {stage}, fine-tuned from {base} with greentune {version}."
        );
    }
    let classes =
        subject.stage.classification.as_ref().map(|report| format!(" of {} classes", report.classes.len()));
    let trained_on = subject
        .stage
        .selection
        .as_ref()
        .map(|selection| {
            let rate = percent(selection.activation_rate());
            format!("; of the samples of its sparse phase it was trained on {rate}")
        })
        .unwrap_or_default();
    format!(
        "Image classifier{} of the run {run}, trained on {} with greentune {version}{trained_on}.",
        classes.unwrap_or_default(),
        data_name(manifest.data.train_of(1)),
    )
}

fn base_model(manifest: &RunManifest) -> String {
    match manifest.settings.base_model.model_id.as_str() {
        "" => manifest.base_model_path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        id => id.to_owned(),
    }
}

fn classifier_details(subject: &Subject) -> Vec<Row> {
    let manifest = subject.manifest();
    let vision = &manifest.settings.vision;
    let start = match &vision.pretrained {
        Some(_) => manifest.base_model_path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        None => String::from("drawn at random"),
    };
    let images = subject.run.train_records(1).map(|images| format!("{images} images"));
    let data = [Some(data_name(manifest.data.train_of(1))), images];
    let [method, target, achieved] = selection_rows(subject);
    let classes = subject.stage.classification.as_ref().map(|report| report.classes.len().to_string());
    let rows = [
        row("architecture", vision.model.as_deref().map(architecture)),
        row(
            "parameters",
            trained_parameters(subject.run, subject.stage.stage).map(|count| count.to_string()),
        ),
        row("initial weights", Some(start)),
        row("training data", Some(data.into_iter().flatten().collect::<Vec<_>>().join(", "))),
        row("classes", classes),
        row("image size", vision.image_size.map(|side| format!("{side} × {side}"))),
        method.or_else(|| row("training method", Some(String::from("dense: all samples in every epoch")))),
        target,
        achieved,
        row("device", Some(devices(subject.run).join(", "))),
    ];
    rows.into_iter().flatten().collect()
}

/// How samples were selected, at what rate, and at what rate really; nothing where they were not.
fn selection_rows(subject: &Subject) -> [Option<Row>; 3] {
    let ast = &subject.manifest().settings.ast;
    let selection = subject.stage.selection.as_ref();
    let kind = if subject.is_adaptive() { "adaptive sparse" } else { "sparse" };
    [
        row(
            "training method",
            ast.enabled
                .then(|| format!("{kind} training on selected {}, policy {}", ast.unit.noun(), ast.policy)),
        ),
        row("target activation rate", selection.map(|_| percent(ast.target_activation_rate))),
        row("achieved activation rate", selection.map(|selection| percent(selection.activation_rate()))),
    ]
}

fn adapter_details(subject: &Subject) -> Vec<Row> {
    let manifest = subject.manifest();
    let lora = &manifest.settings.lora;
    let [method, target, achieved] = selection_rows(subject);
    let rows = [
        row("base model", Some(base_model(manifest))),
        row("adapters", Some(lora.describe())),
        row("target modules", Some(lora.targets().join(", "))),
        row(
            "parameters trained",
            trained_parameters(subject.run, subject.stage.stage).map(|count| count.to_string()),
        ),
        method,
        target,
        achieved,
        row("device", Some(devices(subject.run).join(", "))),
    ];
    rows.into_iter().flatten().collect()
}

fn training(subject: &Subject) -> String {
    let settings = &subject.manifest().settings;
    let seed = settings.training.seed;
    if !subject.is_classifier() {
        return format!(
            "{}, alpha {}, on {}; base weights kept as {}; seed {seed}.",
            settings.lora.describe(),
            settings.lora.alpha,
            settings.lora.targets().join(", "),
            settings.frozen_weights(),
        );
    }
    let vision = &settings.vision;
    format!(
        "Optimizer {}, peak learning rate {} ({}), momentum {}, weight decay {}, label smoothing {}, mixup alpha {}, \
         augmentation {}; seed {seed}.",
        vision.optimizer,
        vision.learning_rate,
        vision.scheduler,
        vision.momentum,
        vision.weight_decay,
        vision.label_smoothing,
        vision.mixup_alpha,
        vision.augmentation,
    )
}

fn stage(subject: &Subject, record: &StageRecord) -> StageLine {
    let manifest = subject.manifest();
    let settings = manifest.settings.training.stage(record.stage);
    let vision = &manifest.settings.vision;
    let data = manifest.data.train_of(record.stage);
    let is_sparse = record.selection.is_some();
    StageLine {
        stage: record.stage,
        phase: match (manifest.settings.ast.enabled, is_sparse) {
            (_, true) => "sparse",
            (true, false) => "warm-up, all samples",
            (false, false) => "all samples",
        },
        epochs: record.epochs.len(),
        steps: record.steps_done,
        samples_per_step: if subject.is_classifier() {
            vision.batch_size
        } else {
            settings.records_per_step()
        },
        learning_rate: if subject.is_classifier() { vision.learning_rate } else { settings.learning_rate }
            .to_string(),
        trained_on: record.selection.as_ref().map_or(String::from("all"), |selection| {
            let rate = percent(selection.activation_rate());
            let unit = selection.unit.noun();
            format!("{} of {} {unit} ({rate})", selection.selected, selection.candidates)
        }),
        data: data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        hash: manifest.input_hashes.get(&*data.to_string_lossy()).cloned(),
    }
}

fn reproducing(subject: &Subject, template: CardTemplate) -> Result<Reproducing> {
    let manifest = subject.manifest();
    let is_full = template == CardTemplate::Research;
    let revision =
        manifest.git_revision.as_ref().map(|revision| format!(", git revision {revision} of the project"));
    let settings = shared_settings(&manifest.settings, is_full);
    Ok(Reproducing {
        how: format!(
            "With greentune {}, seed {}{}: put the settings below into a project, and the data at its paths.",
            manifest.greentune_version,
            manifest.settings.training.seed,
            revision.unwrap_or_default(),
        ),
        commands: commands(subject),
        settings: settings_as_toml(&settings)?,
        is_full,
    })
}

fn commands(subject: &Subject) -> String {
    let manifest = subject.manifest();
    let model = &manifest.settings.vision.model;
    let data = &manifest.data;
    let root = subject.run.layout.project().root();
    // Folders outside of the project are nobody else's.
    let path = |path: &Path| match path.strip_prefix(root) {
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let call = |operation: &str| Suggestion::new("train it again", operation);
    if let Some(model) = model {
        let mut train = call("configure_image_run")
            .with("platform", PlatformKind::Local.as_str())
            .with("model", model.as_str())
            .with("dataset", path(&data.train));
        if manifest.settings.ast.enabled {
            train = train.with("ast_config", json!({}));
        }
        return format!(
            "mkdir -p PROJECT/config  # the settings below are its fine_tuning_config.toml\ncd PROJECT\n{}",
            (subject.command)(&train)
        );
    }
    let file =
        |file: Option<&PathBuf>| file.filter(|file| !file.as_os_str().is_empty()).map(|file| path(file));
    let configure = call("configure_training_run").with("run_name", manifest.run_name.as_str()).with(
        "training_data",
        json!({
            "train_dataset": file(Some(&data.train)),
            "validation_dataset": file(Some(&data.validation)),
            "test_dataset": file(data.test.as_ref()),
            "stage2_train_dataset": file(data.stage2_train.as_ref()),
            "stage2_validation_dataset": file(data.stage2_validation.as_ref()),
        }),
    );
    let mut train = call("start_training").with("run_id", "RUN");
    if let [only] = manifest.requested_stages.as_slice() {
        train = train.with("stage", *only);
    }
    let mut new = call("generate_fine_tuning_project").with("project_name", "PROJECT");
    if let Some(folder) = &manifest.settings.base_model.local_path {
        new = new.with("base_model_config", json!({ "local_path": path(folder) }));
    }
    let [new, configure, train] = [new, configure, train].map(|step| (subject.command)(&step));
    [new, String::from("cd PROJECT"), configure, train].join("\n")
}

/// The settings that make the model, and how it was metered; all of them or those that are no defaults. Trackers,
/// accounts, endpoints and folders are nobody else's.
fn shared_settings(settings: &Settings, all: bool) -> Value {
    // The base model's folder is an argument of the first command.
    const PRIVATE: &[&str] =
        &["emissions_endpoint", "calibration_file", "equivalences_file", "project_name", "local_path"];
    const PATHS: &[&str] = &["pretrained"];
    let is_classifier = settings.vision.model.is_some();
    let sections: &[&str] = if is_classifier {
        &["training", "vision", "ast", "carbon"]
    } else {
        &["base_model", "training", "lora", "dataset", "evaluation", "carbon"]
    };
    let (own, defaults) = (json!(settings), json!(Settings::default()));
    let mut shared = json!({});
    for section in sections {
        let mut kept = if all { own[section].clone() } else { changed(&own[section], &defaults[section]) };
        let Value::Object(entries) = &mut kept else { continue };
        entries.retain(|key, _| !PRIVATE.contains(&key.as_str()));
        if is_classifier {
            // Its stages are phases of `vision.epochs`.
            entries.retain(|key, _| !key.starts_with("stage") && key != "num_stages");
        }
        for (key, value) in entries.iter_mut() {
            if let Some(path) = value.as_str().filter(|_| PATHS.contains(&key.as_str())) {
                *value = json!(Path::new(path).file_name().unwrap_or_default().to_string_lossy());
            }
        }
        if *section == "training" {
            // It decides over everything that is drawn.
            entries.insert(String::from("seed"), own["training"]["seed"].clone());
        }
        if !entries.is_empty() {
            shared[section] = kept;
        }
    }
    shared
}

/// The entries of `own` that are not those of `defaults`.
fn changed(own: &Value, defaults: &Value) -> Value {
    let Value::Object(entries) = own else { return own.clone() };
    let kept = entries.iter().filter(|(key, value)| defaults[key.as_str()] != **value);
    kept.map(|(key, value)| (key.clone(), changed(value, &defaults[key.as_str()]))).collect()
}

fn submission(subject: &Subject) -> Vec<String> {
    const SHOWN_CLASSES: usize = 20;
    let mut hints: Vec<_> =
        subject.run.damage.iter().map(|damage| format!("The run's record is damaged: {damage}.")).collect();
    if let Some(report) = &subject.stage.classification {
        match report.classes.len() {
            few if few <= SHOWN_CLASSES => {
                hints.push(format!("Outputs are in this order: {}.", report.classes.join(", ")));
            }
            many => hints.push(format!("{many} outputs, in the order of the classes in the run's manifest.")),
        }
    }
    if let Some(side) = subject.manifest().settings.vision.image_size.filter(|_| subject.is_classifier()) {
        hints.push(format!("The model takes square images of {side} × {side}."));
    }
    if !subject.is_classifier() {
        hints.push(format!(
            "One model without adapters: greentune export {} --stage {} --format huggingface --merge --to FOLDER.",
            subject.manifest().run_id,
            subject.stage.stage
        ));
    }
    hints.push(String::from(
        "The figure above is this run's own evaluation; a leaderboard's hidden test set may say something else.",
    ));
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_called_by_its_own_name() {
        assert_eq!(data_name(Path::new("/data/cifar10/train")), "cifar10");
        assert_eq!(data_name(Path::new("/data/general_train.jsonl")), "general_train.jsonl");
        assert_eq!(data_name(Path::new("/train")), "train");
    }

    #[test]
    fn nothing_private_is_shared() {
        let mut settings = Settings::default();
        settings.base_model.local_path = Some("/home/lovelace/models/base".into());
        settings.carbon.emissions_endpoint = Some("https://example.org/secret".into());
        settings.carbon.calibration_file = Some("/home/lovelace/wall.json".into());
        settings.mlflow.tracking_uri = "http://lovelace.example".into();
        settings.wandb.entity = Some("lovelace".into());
        for all in [false, true] {
            let shared = shared_settings(&settings, all).to_string();
            assert!(!shared.contains("lovelace") && !shared.contains("secret"), "{shared}");
            assert!(!shared.contains("local_path") && shared.contains(r#""seed":42"#), "{shared}");
        }
    }
}
