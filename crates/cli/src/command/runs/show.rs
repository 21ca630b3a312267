//! `greentune runs show`: everything about a run.

use clap::Args;
use greentune_core_config::{
    manifest::{RunManifest, StageRecord},
    memory::bytes_in_words,
    quantities::{counted, duration, emissions, energy},
    resolve::{KeyDoc, registry},
};
use greentune_workbench::operation::{ShowRun, ShowRunResponse};

use super::plan::how_far_off;
use crate::{comparison, failure::Failure, output::Paint, session::Session};

/// Arguments of `runs show`.
#[derive(Args, Debug)]
pub struct Show {
    /// The run: its id, its name or the beginning of one
    run: String,
}

impl Show {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ShowRun { project_path: session.project(), run_id: self.run };
        let response = session.workbench()?.show_run(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &ShowRunResponse, paint: Paint) -> String {
    let manifest = &response.manifest;
    let mut lines = vec![
        format!("{}  {}", paint.heading(&manifest.run_id), manifest.status),
        format!("  folder      {}", response.run_directory.display()),
        format!("  configured  {}", manifest.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        format!("  base model  {}", manifest.base_model_path.display()),
        format!("  log         {}", response.log_file.display()),
    ];
    lines.extend(manifest.git_revision.iter().map(|revision| format!("  revision    {revision}")));
    lines.extend(
        manifest.stages.iter().map(|stage| format!("  stage {}     {}", stage.stage, in_words(stage))),
    );
    lines.extend(manifest.changed_inputs.iter().map(|input| {
        let day = input.accepted_at.strftime("%Y-%m-%d %H:%M:%S UTC");
        paint.bad(format!("  changed     {} (accepted {day})", input.path.display()))
    }));
    lines.extend(manifest.problem.iter().map(|problem| paint.bad(format!("  problem     {problem}"))));
    lines.extend(response.warnings.iter().map(|warning| paint.doubtful(format!("  warning     {warning}"))));
    lines.extend(section("settings that are not defaults", paint, settings(manifest)));
    lines.extend(response.plan_accuracy.iter().flat_map(|accuracy| how_far_off(accuracy, paint)));
    lines.extend(section("evaluation", paint, comparison::of_run(manifest).map(|table| indented(&table))));
    let artifacts = manifest.artifacts.iter().map(|(role, path)| format!("  {role}: {}", path.display()));
    lines.extend(section("files", paint, lines_of(artifacts)));
    lines.join("\n")
}

fn section(heading: &str, paint: Paint, text: Option<String>) -> Vec<String> {
    text.map(|text| vec![paint.heading(heading), text]).unwrap_or_default()
}

/// What differs from the built-in defaults; a project's file spells most of them out.
fn settings(manifest: &RunManifest) -> Option<String> {
    let values = serde_json::to_value(&manifest.settings).unwrap_or_default();
    let of = |key: &KeyDoc| {
        values.pointer(&format!("/{}", key.key.replace('.', "/"))).cloned().unwrap_or_default()
    };
    let changed = registry().iter().filter(|key| of(key) != key.default);
    lines_of(changed.map(|key| {
        let source = manifest.sources.get(&key.key).map(|source| format!("  ({source})")).unwrap_or_default();
        format!("  {} = {}{source}", key.key, of(key))
    }))
}

fn lines_of(lines: impl Iterator<Item = String>) -> Option<String> {
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn in_words(stage: &StageRecord) -> String {
    let steps = format!("{}, {} of {}", stage.status, stage.steps_done, counted(stage.total_steps, "step"));
    let loss = stage.final_train_loss.map(|loss| format!("final training loss {loss:.3}"));
    let used = stage.emissions.as_ref().map(|used| {
        let (energy, emissions) = (energy(used.energy_kwh), emissions(used.emissions_kg_co2));
        format!("{energy} ({}) and {emissions} in {} metered", used.basis, duration(used.duration_seconds))
    });
    let peak = stage.peak_memory_bytes.map(|bytes| format!("peak memory {}", bytes_in_words(bytes)));
    [
        Some(steps),
        stage.duration_seconds.map(|seconds| format!("trained for {}", duration(seconds))),
        loss,
        used,
        peak,
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
