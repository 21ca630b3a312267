//! What training a run will need: the work of its stages, its memory, and the pace of a few steps.

mod measure;
mod work;

use std::{fs, path::Path, time::Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::{Host, memory};
use greentune_core_config::{
    layout::RunLayout,
    manifest::RunManifest,
    memory::{EVALUATION_TOKENS, MemoryInputs, ModelShape, estimate, insufficient, reductions},
    plan::AvailableMemory,
    settings::Settings,
    task::{PlanFindings, PlanTask},
};
use greentune_text_data::Encoder;

use self::work::StageWork;
use super::open;
use crate::{
    error::TrainError,
    model::config,
    ops::{Ops, flex},
};

/// Finds out what training a run will need on the backend `A`. Nothing is written.
pub fn find<A>(
    task: &PlanTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    device: &A::Device,
    device_name: &str,
    on_cpu: bool,
) -> Result<PlanFindings, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let begin = Instant::now();
    let settings = &manifest.settings;
    let shape = ModelShape::from(&config::read(&manifest.base_model_path)?);
    let encoder = Encoder::new(&manifest.base_model_path, settings, manifest.created_at)?;
    let stages: Vec<u8> = (1..=settings.training.num_stages).collect();
    let work = work::of(manifest, layout, &encoder, &stages)?;
    let (memory, largest_stage) = inputs(manifest, &work)?;
    let mut findings = PlanFindings {
        device: device_name.to_owned(),
        on_cpu,
        largest_stage,
        stages: work.iter().map(|work| work.plan).collect(),
        measured: None,
        shape,
        memory,
    };
    let needed = estimate(&findings.shape, &findings.memory).peak_bytes();
    if task.measure && available(on_cpu).bytes.is_none_or(|free| needed <= free) {
        let (_, decoder) = open::<A>(&manifest.base_model_path, settings, manifest.created_at, device)?;
        let loading_seconds = begin.elapsed().as_secs_f64();
        findings.measured = Some(measure::measure::<A>(manifest, &work, &decoder, device, loading_seconds)?);
    }
    Ok(findings)
}

/// Refuses a run whose `stages` do not fit into memory, before any of its weights are loaded.
///
/// The first check takes the longest records that the settings allow, which costs nothing. Only if that is too much, a
/// second check takes the batches that will really be drawn.
pub fn check_memory(
    manifest: &RunManifest,
    layout: &RunLayout,
    stages: &[u8],
    on_cpu: bool,
) -> Result<(), TrainError> {
    let settings = &manifest.settings;
    let available = available(on_cpu);
    let (true, Some(free)) = (settings.training.memory_check, available.bytes) else { return Ok(()) };
    // A model whose sizes cannot be read is refused, with the reason, where it is loaded.
    let Some(shape) = shape_of(&manifest.base_model_path) else { return Ok(()) };
    if estimate(&shape, &longest_possible(manifest, stages)).peak_bytes() <= free {
        return Ok(());
    }
    let encoder = Encoder::new(&manifest.base_model_path, settings, manifest.created_at)?;
    let (inputs, stage) = inputs(manifest, &work::of(manifest, layout, &encoder, stages)?)?;
    let reductions = reductions(&shape, &inputs, settings, stage);
    match insufficient(&estimate(&shape, &inputs), &available, &reductions) {
        Some(problem) => Err(TrainError::Memory(problem)),
        None => Ok(()),
    }
}

/// The memory that is free: the machine's, or the graphics card's.
pub(crate) fn available(on_cpu: bool) -> AvailableMemory {
    if on_cpu { memory::available(&Host::default()) } else { memory::gpu_available() }
}

fn shape_of(folder: &Path) -> Option<ModelShape> {
    config::read(folder).ok().map(|config| ModelShape::from(&config))
}

/// What memory depends on, with the largest batch of all stages, and the stage that it is of.
fn inputs(manifest: &RunManifest, work: &[StageWork]) -> Result<(MemoryInputs, u8), TrainError> {
    let largest = work.iter().max_by_key(|work| work.plan.largest_batch_tokens);
    let most = |of: fn(&StageWork) -> u64| work.iter().map(of).max().unwrap_or(0);
    let mut evaluation_tokens = 0;
    for stage in work {
        evaluation_tokens = stage.largest_evaluation_tokens()?.max(evaluation_tokens);
    }
    let inputs = MemoryInputs {
        batch_tokens: most(|work| work.plan.largest_batch_tokens),
        batch_labels: most(|work| work.largest_batch_labels),
        evaluation_tokens,
        data_bytes: most(StageWork::bytes),
        threads: rayon::current_num_threads() as u64,
        packed_bytes: flex::packed_bytes(),
        ..MemoryInputs::new(&manifest.settings)
    };
    Ok((inputs, largest.map_or(1, |work| work.plan.stage)))
}

/// The same from the settings alone: every record as long as it may be.
fn longest_possible(manifest: &RunManifest, stages: &[u8]) -> MemoryInputs {
    let settings: &Settings = &manifest.settings;
    let records = stages.iter().map(|stage| settings.training.stage(*stage).batch_size).max().unwrap_or(0);
    let context = settings.training.max_seq_length;
    let data = &manifest.data;
    let files = [
        Some(&data.train),
        Some(&data.validation),
        data.stage2_train.as_ref(),
        data.stage2_validation.as_ref(),
    ];
    let bytes = files.into_iter().flatten().filter_map(|file| Some(fs::metadata(file).ok()?.len()));
    MemoryInputs {
        batch_tokens: records * context,
        batch_labels: records * context,
        evaluation_tokens: EVALUATION_TOKENS.max(context),
        // Texts, and one token of four bytes per byte of text at most.
        data_bytes: 5 * bytes.sum::<u64>(),
        threads: rayon::current_num_threads() as u64,
        packed_bytes: flex::packed_bytes(),
        ..MemoryInputs::new(settings)
    }
}
