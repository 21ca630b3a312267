//! The demo in words.

use std::path::Path;

use greentune_carbon::summary::EmissionsSummary;
use greentune_core_config::{
    evaluation::{EvaluatedModel, GenerationSample},
    manifest::RunManifest,
    quantities::{counted, duration, number},
};
use greentune_workbench::{
    command_line::word,
    operation::{ConfigureTrainingRunResponse, ExportModelResponse},
};

use super::super::emissions::{basis, total};
use crate::{
    bundle::{BASE_MODEL_FOLDER, DATA_FOLDER},
    comparison,
    output::Paint,
};

/// What is about to happen.
pub fn opening(paint: Paint) -> String {
    paint.heading(
        "greentune demo: a small language model learns to write health narratives, on this machine, offline",
    )
}

/// 1: the project.
pub fn project(project: &Path, records: u64, paint: Paint) -> String {
    let made = format!(
        "the bundled base model is in {BASE_MODEL_FOLDER}, {} in {DATA_FOLDER}",
        counted(records, "record")
    );
    chapter(1, "project", &project.display().to_string(), &[made], paint)
}

/// 2: the run.
pub fn run(run: &ConfigureTrainingRunResponse, paint: Paint) -> String {
    let summary = &run.configuration_summary;
    let steps: Vec<_> = summary
        .stages
        .iter()
        .map(|stage| {
            let data = stage.train_dataset.file_stem().unwrap_or_default().to_string_lossy();
            format!("stage {}: {} on {data}", stage.stage, counted(stage.iterations, "step"))
        })
        .collect();
    let adapters = format!(
        "{} base model, LoRA of rank {} on {} projections per layer; {}",
        summary.architecture,
        summary.lora_rank,
        summary.target_modules.len(),
        steps.join(", "),
    );
    chapter(2, "run", &run.run_id, &[adapters], paint)
}

/// 3: training, whose progress follows.
pub fn training(paint: Paint) -> String {
    chapter(3, "training", "in a worker process; Ctrl-C stops it with a checkpoint", &[], paint)
}

/// 4: what the stages learned.
pub fn results(manifest: &RunManifest, paint: Paint) -> String {
    let mut lines: Vec<_> =
        comparison::of_run(manifest).iter().flat_map(|table| table.lines()).map(str::to_owned).collect();
    if let Some((base, stage2)) = samples(manifest) {
        lines.push(String::from("one of the validation records:"));
        lines.push(format!("  prompt    {}", one_line(&stage2.prompt)));
        lines.push(format!("  expected  {}", one_line(&stage2.expected)));
        lines.extend(base.map(|base| format!("  base      {}", one_line(&base.generated))));
        lines.push(format!("  stage 2   {}", one_line(&stage2.generated)));
    }
    chapter(
        4,
        "results",
        "base model and stages side by side, on records they were not trained on",
        &lines,
        paint,
    )
}

/// 5: the exported models.
pub fn exports(exports: &[ExportModelResponse], paint: Paint) -> String {
    let line = |export: &ExportModelResponse| {
        let megabytes = number(export.model_size_mb);
        format!("{} ({megabytes} MB of weights, read back and compared)", export.export_path.display())
    };
    let lines: Vec<_> = exports.iter().map(line).chain(exports.iter().find_map(card)).collect();
    chapter(5, "export", "merged for transformers, and the adapter for PEFT", &lines, paint)
}

/// 6: energy and emissions.
pub fn emissions(summary: Option<&EmissionsSummary>, paint: Paint) -> String {
    let not_metered = || (String::from("not metered, because carbon.enabled is false"), Vec::new());
    let (total, basis) = summary.map_or_else(not_metered, |summary| (total(summary), basis(summary)));
    chapter(6, "energy", &total, &basis, paint)
}

/// 7: what to try next.
pub fn next(project: &Path, run_id: &str, seconds: f64, paint: Paint) -> String {
    let lines = [
        format!("cd {}", word(&project.to_string_lossy())),
        format!("greentune runs show {run_id}"),
        String::from("greentune data inspect data/processed/narratives_train.jsonl"),
        format!("greentune evaluate {run_id} --test data/processed/narratives_test.jsonl --stage 2"),
        format!("greentune emissions summary {run_id}"),
    ];
    let title = format!("done in {}; to try from here", duration(seconds));
    chapter(7, "next", &title, &lines, paint)
}

fn chapter(number: u8, name: &str, title: &str, lines: &[String], paint: Paint) -> String {
    let heading = format!("{} {title}", paint.heading(format!("{number} {name:<9}")));
    std::iter::once(heading)
        .chain(lines.iter().map(|line| format!("  {line}")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What stage 2 wrote for a validation record, and what the base model wrote for the same.
fn samples(manifest: &RunManifest) -> Option<(Option<&GenerationSample>, &GenerationSample)> {
    let samples = |model| {
        let reports = manifest.stages.iter().flat_map(|stage| &stage.evaluations);
        let mut reports = reports.filter(move |report| report.model == model);
        let report = reports.find(|report| report.dataset_role == "stage2 validation");
        report.map(|report| report.samples.as_slice()).unwrap_or_default()
    };
    let stage2 = samples(EvaluatedModel::Stage(2)).first()?;
    let base = samples(EvaluatedModel::Base).iter().find(|sample| sample.prompt == stage2.prompt);
    Some((base, stage2))
}

fn card(export: &ExportModelResponse) -> Option<String> {
    let has_card = export.files.iter().any(|file| file.name == "README.md");
    has_card.then(|| format!("model card: {}", export.export_path.join("README.md").display()))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
