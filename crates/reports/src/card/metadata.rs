//! The Hub's metadata in front of a card.
//!
//! Keys are those of <https://github.com/huggingface/hub-docs/blob/main/modelcard.md>; what is not known has no key.
//! There is no licence: settings name none, and one is not guessed.

use std::path::Path;

use greentune_core_config::{
    Basis,
    evaluation::{EvaluationReport, metric as names},
    ids::check_model_id,
    quantities::{percent, range},
};
use serde_json::{Map, Value, json};

use super::{Subject, Weights, badges::Badge, body::title, figures::own_evaluations, inputs::data_name};

/// The metadata, an object.
pub(super) fn metadata(subject: &Subject, badges: &[Badge]) -> Value {
    let settings = &subject.manifest().settings;
    let base_model = settings.base_model.hub_id().filter(|_| !subject.is_classifier());
    let data = subject.manifest().data.train_of(subject.stage.stage);
    let results = results(subject);
    let mut metrics: Vec<&Value> = Vec::new();
    for metric in results.iter().filter_map(|result| result["metrics"].as_array()).flatten() {
        if !metrics.contains(&&metric["type"]) {
            metrics.push(&metric["type"]);
        }
    }
    let entries = [
        ("base_model", base_model.map(|id| json!(id))),
        ("library_name", Some(json!(library(subject)))),
        ("pipeline_tag", Some(json!(task(subject)))),
        ("tags", Some(json!(tags(subject, badges)))),
        ("datasets", hub_dataset(data).map(|id| json!([id]))),
        ("metrics", (!metrics.is_empty()).then(|| json!(metrics))),
        ("co2_eq_emissions", emissions(subject)),
        (
            "model-index",
            (!results.is_empty()).then(|| json!([{ "name": title(subject), "results": results }])),
        ),
    ];
    let known = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(known.collect::<Map<_, _>>())
}

fn task(subject: &Subject) -> &'static str {
    if subject.is_classifier() { "image-classification" } else { "text-generation" }
}

fn library(subject: &Subject) -> &'static str {
    match subject.weights {
        _ if subject.is_classifier() => "greentune",
        Weights::Merged => "transformers",
        Weights::OfRun | Weights::Adapters => "peft",
    }
}

fn tags(subject: &Subject, badges: &[Badge]) -> Vec<String> {
    let has = |name: &str| badges.iter().any(|badge| badge.name == name);
    let model = subject.manifest().settings.vision.model.as_deref();
    let tags = [
        Some("greentune"),
        if subject.is_classifier() { Some("image-classification") } else { Some("lora") },
        model.filter(|_| subject.is_classifier()),
        subject.is_adaptive().then_some("adaptive-sparse-training"),
        has("energy-efficient").then_some("energy-efficient"),
        subject.energy.total().map(|_| "sustainability"),
    ];
    tags.into_iter().flatten().map(str::to_owned).collect()
}

/// The Hub's id of a data set that lies in its cache, `datasets--OWNER--NAME`; any other has none that is known.
fn hub_dataset(path: &Path) -> Option<String> {
    path.components().find_map(|component| {
        let id = component.as_os_str().to_str()?.strip_prefix("datasets--")?.replacen("--", "/", 1);
        check_model_id(&id).is_ok().then_some(id)
    })
}

/// <https://huggingface.co/docs/hub/model-cards-co2>: grams, of the whole training alone.
fn emissions(subject: &Subject) -> Option<Value> {
    let total = subject.energy.whole().filter(|total| total.kg.is_finite())?;
    let settings = &subject.manifest().settings;
    let from_scratch = subject.is_classifier() && settings.vision.pretrained.is_none();
    let row = subject.energy.stages.iter().find_map(|stage| stage.record.as_ref());
    let place = row.map(|row| [row.country_name.as_str(), row.region.as_str()]).unwrap_or_default();
    let hardware = row.map(|row| {
        let gpus = (row.gpu_count > 0).then(|| format!("{} × {}", row.gpu_count, row.gpu_model));
        [Some(row.cpu_model.clone()), gpus].into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    let text = |text: String| (!text.trim().is_empty()).then(|| json!(text.trim()));
    let entries = [
        ("emissions", Some(json!(total.kg * 1000.0))),
        ("source", Some(json!(format!("greentune, energy {}", total.basis)))),
        ("training_type", Some(json!(if from_scratch { "pre-training" } else { "fine-tuning" }))),
        (
            "geographical_location",
            text(place.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")),
        ),
        ("hardware_used", hardware.and_then(text)),
    ];
    Some(entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

/// Entries of `model-index`: one for each data set that the stage was evaluated on.
fn results(subject: &Subject) -> Vec<Value> {
    let stage = subject.stage;
    let mut results: Vec<Value> = Vec::new();
    let mut add = |path: &Path, role: &str, mut metrics: Vec<Value>| {
        // What is no number, as of a training that diverged, is null in JSON.
        metrics.retain(|metric| metric["value"].is_number());
        if !metrics.is_empty() {
            results.push(json!({
                "task": { "type": task(subject) },
                "dataset": { "type": dataset_type(path), "name": data_name(path), "split": role },
                "metrics": metrics,
            }));
        }
    };
    if let Some(report) = &stage.classification {
        let mut metrics = vec![metric("accuracy", "Accuracy", Some(report.accuracy))];
        metrics.push(metric("accuracy", "Top-5 accuracy", report.top5_accuracy));
        metrics.push(metric("loss", "Cross-entropy", Some(report.loss)));
        metrics.extend(saving(subject));
        add(&report.dataset, &report.dataset_role, metrics);
    }
    for report in own_evaluations(stage) {
        let mut metrics = vec![
            metric("perplexity", "Perplexity", Some(report.perplexity)),
            metric("accuracy", "Token accuracy", Some(report.token_accuracy)),
            metric("exact_match", "Exact match", report.exact_match),
            metric("bleu", "BLEU", report.bleu),
        ];
        metrics.extend(further(report));
        add(&report.dataset, &report.dataset_role, metrics);
    }
    results
}

/// Figures beyond those that every report has, those of single fields left out.
fn further(report: &EvaluationReport) -> impl Iterator<Item = Value> + '_ {
    report.figures.iter().filter_map(|figure| {
        let kind = match figure.metric.as_str() {
            names::CHRF => "chrf",
            names::ROUGE_L => "rouge",
            names::JSON_EQUAL | names::FIELD_ACCURACY => "accuracy",
            _ => return None,
        };
        Some(metric(kind, &names::in_words(&figure.metric), Some(figure.value)))
    })
}

fn metric(kind: &str, name: &str, value: Option<f64>) -> Value {
    json!({ "type": kind, "name": name, "value": value })
}

/// The saving, with its basis in its name.
fn saving(subject: &Subject) -> Option<Value> {
    let comparison = subject.comparison?;
    let saving = comparison.saving.as_ref().filter(|saving| saving.basis != Basis::Compute)?;
    let interval = saving.range.map_or(String::new(), |bounds| format!(", {}", range(bounds, percent)));
    let name =
        format!("Energy saved against {} ({}{interval})", comparison.baseline.run_id, saving.basis.as_str());
    Some(metric("energy_savings", &name, Some(saving.fraction)))
}

/// The Hub's id, else the name of the `datasets` library's builder that reads such files.
fn dataset_type(path: &Path) -> String {
    hub_dataset(path).unwrap_or_else(|| {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        String::from(match extension.as_str() {
            "json" | "jsonl" => "json",
            "csv" => "csv",
            "parquet" => "parquet",
            _ => "imagefolder",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_the_hubs_only_in_the_hubs_cache() {
        let cached =
            Path::new("/home/x/.cache/huggingface/hub/datasets--uoft-cs--cifar10/snapshots/ab/train.parquet");
        assert_eq!(hub_dataset(cached).as_deref(), Some("uoft-cs/cifar10"));
        assert_eq!(hub_dataset(Path::new("/data/cifar10/train")), None);
        assert_eq!(hub_dataset(Path::new("/data/datasets--a b/train")), None);
    }
}
