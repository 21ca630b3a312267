//! Memory that is too small: refused before a worker starts where that is certain, explained where one was killed.

use std::path::Path;

use greentune_carbon::{Host, memory};
use greentune_core_config::{
    Problem, ProblemKind, Suggestion,
    layout::RunLayout,
    manifest::RunManifest,
    memory::{MemoryInputs, ModelShape, bytes_in_words, estimate, insufficient, reductions},
    plan::AvailableMemory,
    settings::{Device, Settings},
};
use greentune_durable::read_text_at_most;
use greentune_run_folder::{MemoryBeat, last_memory};
use jiff::Timestamp;

use crate::{Result, base_model::MODEL_CONFIG_BYTES, plan::kept_plan, platform::local::last_words};

/// Share of the memory within reach below which a worker counts as having been near the limit.
const NEAR_LIMIT: f64 = 0.05;
/// What Rust's allocator says before it aborts.
const ALLOCATION_FAILED: &str = "memory allocation of";

/// Memory as it is now.
pub(crate) fn memory_now() -> MemoryBeat {
    let host = Host::default();
    MemoryBeat {
        resident_bytes: memory::resident(&host),
        available_bytes: memory::available(&host).bytes,
        kills: memory::out_of_memory_kills(&host),
    }
}

/// Why memory probably ended the worker whose last beat was `beat`, by the count of `kills` now.
fn cause(beat: MemoryBeat, kills: Option<u64>) -> Option<String> {
    let held = beat.resident_bytes.map(|bytes| format!("it held {}", bytes_in_words(bytes)));
    if let (Some(before), Some(now)) = (beat.kills, kills)
        && now > before
    {
        let held = held.map(|held| format!(", at which {held}")).unwrap_or_default();
        return Some(format!(
            "the kernel has killed a process for want of memory since its last heartbeat{held}"
        ));
    }
    let (resident, free) = (beat.resident_bytes?, beat.available_bytes?);
    let is_near = (free as f64) < NEAR_LIMIT * (resident as f64 + free as f64);
    is_near.then(|| {
        let free = bytes_in_words(free);
        format!("it held {} and {free} were free at its last heartbeat", bytes_in_words(resident))
    })
}

/// The problem `memory.exhausted` for a worker that ended without a terminal event, when memory is the likely cause.
pub(crate) fn explain(layout: &RunLayout, log_tail: &str) -> Option<Problem> {
    let said =
        log_tail.lines().find(|line| line.contains(ALLOCATION_FAILED)).map(|line| line.trim().to_owned());
    let noted = || cause(last_memory(layout)?, memory::out_of_memory_kills(&Host::default()));
    let cause = said.or_else(noted)?;
    let message = format!("the worker was ended, probably because memory ran out: {cause}");
    let problem = Problem::new(ProblemKind::Unsupported, "memory.exhausted", message);
    let run_id = layout.run_id();
    let resume =
        Suggestion::new("free some memory and go on", "resume_training").with("run_id", run_id.as_str());
    let lower = lower_settings(layout);
    let problem = problem.suggesting(resume);
    Some(if lower.is_empty() {
        let plan = Suggestion::new("see what is needed", "plan_training").with("run_id", run_id);
        problem.suggesting(plan).with_hint(
            "or configure a run that needs less: a smaller batch_size with more gradient_accumulation, or a smaller \
             training.max_seq_length",
        )
    } else {
        problem.with_hint(format!("or configure a run that needs less: {}", lower.join("; ")))
    })
}

/// The same of a run that was found interrupted and whose worker was there `since` then.
pub(crate) fn explain_interrupted(layout: &RunLayout, since: Timestamp) -> Option<Problem> {
    explain(layout, &last_words(&layout.log(), since))
}

/// Settings that the run's plan says need less memory.
fn lower_settings(layout: &RunLayout) -> Vec<String> {
    let planned = kept_plan(layout);
    let reductions = planned.iter().flat_map(|plan| &plan.memory.reductions);
    reductions
        .map(|reduction| {
            format!("{} ({})", reduction.settings.join(" "), bytes_in_words(reduction.needed_bytes))
        })
        .collect()
}

/// Refuses a run whose model alone does not fit into memory, whatever its data: the worker, which knows the data,
/// looks at the rest before it loads a weight.
pub(crate) fn refuse_too_large(manifest: &RunManifest) -> Result<()> {
    let settings = &manifest.settings;
    let in_memory = matches!(settings.training.device, Device::Auto | Device::Cpu);
    let Some(shape) = shape_of(&manifest.base_model_path) else { return Ok(()) };
    if !settings.training.memory_check || !in_memory {
        return Ok(());
    }
    match too_large(&shape, settings, &memory::available(&Host::default())) {
        Some(problem) => Err(problem.into()),
        None => Ok(()),
    }
}

fn too_large(shape: &ModelShape, settings: &Settings, available: &AvailableMemory) -> Option<Problem> {
    let inputs = MemoryInputs { batch_tokens: 1, batch_labels: 1, ..MemoryInputs::new(settings) };
    let reductions = reductions(shape, &inputs, settings, 1);
    insufficient(&estimate(shape, &inputs), available, &reductions)
}

/// The sizes in a model's `config.json`; `None` when they cannot be read. Loading the model then reports the reason.
pub(crate) fn shape_of(folder: &Path) -> Option<ModelShape> {
    let text = read_text_at_most(&folder.join("config.json"), MODEL_CONFIG_BYTES).ok()?;
    ModelShape::from_config(&text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use greentune_core_config::layout::ProjectLayout;
    use serde_json::json;

    use super::*;

    fn beat(resident: u64, available: u64, kills: u64) -> MemoryBeat {
        MemoryBeat { resident_bytes: Some(resident), available_bytes: Some(available), kills: Some(kills) }
    }

    #[test]
    fn a_kill_or_a_full_memory_is_a_cause_and_nothing_else_is() {
        assert_eq!(cause(beat(1 << 30, 1 << 30, 2), Some(2)), None);
        assert_eq!(cause(MemoryBeat::default(), Some(7)), None);
        let killed = cause(beat(3_000_000_000, 1 << 30, 2), Some(3)).unwrap();
        assert!(killed.contains("the kernel has killed") && killed.contains("3.00 GB"), "{killed}");
        let full = cause(beat(3_000_000_000, 20_000_000, 0), Some(0)).unwrap();
        assert!(full.contains("20.0 MB were free"), "{full}");
    }

    #[test]
    fn the_explanation_comes_from_heartbeat_or_log() {
        let folder = tempfile::tempdir().unwrap();
        let run = ProjectLayout::new(folder.path()).run("first-20260101-000000");
        fs::create_dir_all(run.folder()).unwrap();
        assert_eq!(explain(&run, "no such thing"), None);
        let problem = explain(&run, "x\nmemory allocation of 99 bytes failed\n").unwrap();
        assert_eq!(problem.code, "memory.exhausted");
        assert!(problem.message.ends_with("memory allocation of 99 bytes failed"), "{}", problem.message);
        let text = json!({"pid": 1, "at": "2026-01-01T00:00:00Z", "memory": beat(1 << 33, 1 << 20, 0)});
        fs::write(run.heartbeat(), text.to_string()).unwrap();
        let problem = explain(&run, "").unwrap();
        let resume = &problem.suggestions[0];
        assert_eq!(
            (resume.operation.as_str(), &resume.arguments["run_id"]),
            ("resume_training", &json!("first-20260101-000000"))
        );
        // A heartbeat of an earlier version says nothing of memory.
        fs::write(run.heartbeat(), r#"{"pid": 1, "at": "2026-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!(explain(&run, ""), None);
    }

    #[test]
    fn a_model_that_is_larger_than_memory_is_refused() {
        let config = json!({
            "model_type": "olmo2", "vocab_size": 100_352, "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 4096,
        });
        let shape = ModelShape::from_config(&config.to_string()).unwrap();
        let free = |bytes| AvailableMemory { bytes: Some(bytes), limited_by: String::from("the machine") };
        let problem = too_large(&shape, &Settings::default(), &free(24_000_000_000)).unwrap();
        assert_eq!(problem.code, "memory.insufficient");
        assert!(problem.message.contains("29."), "{}", problem.message);
        assert_eq!(too_large(&shape, &Settings::default(), &free(64_000_000_000)), None);
    }
}
