//! What would lower the memory of a run, each with what it would come to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MemoryInputs, ModelShape, WeightFormat, estimate};
use crate::{
    availability::unavailable,
    settings::{Quantization, Settings},
};

/// A change of the settings, and the memory that training needs with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reduction {
    /// The settings to change, as `--set` takes them.
    pub settings: Vec<String>,
    /// Bytes needed with them.
    pub needed_bytes: u64,
}

/// Changes of `settings` that would lower the memory of `stage`, the one with the largest batch; the strongest first.
///
/// Only what this version can train with is proposed.
pub fn reductions(
    shape: &ModelShape,
    inputs: &MemoryInputs,
    settings: &Settings,
    stage: u8,
) -> Vec<Reduction> {
    let now = estimate(shape, inputs).peak_bytes();
    let mut found: Vec<_> = [
        smaller_batch(inputs, settings, stage),
        shorter_records(inputs, settings, stage),
        checkpointing(inputs, settings),
        quantized(inputs, settings, Quantization::Q8),
        quantized(inputs, settings, Quantization::Q4),
    ]
    .into_iter()
    .flatten()
    .map(|(settings, inputs)| Reduction { settings, needed_bytes: estimate(shape, &inputs).peak_bytes() })
    .filter(|reduction| reduction.needed_bytes < now)
    .collect();
    found.sort_by_key(|reduction| reduction.needed_bytes);
    found
}

type Change = (Vec<String>, MemoryInputs);

/// One record per forward pass, the same records per optimizer step.
fn smaller_batch(inputs: &MemoryInputs, settings: &Settings, stage: u8) -> Option<Change> {
    let now = settings.training.stage(stage);
    let records = now.records_per_step();
    (now.batch_size > 1).then(|| {
        let keys = vec![
            format!("training.stage{stage}.batch_size=1"),
            format!("training.stage{stage}.gradient_accumulation={records}"),
        ];
        // The longest record may be much longer than the mean; its length is bounded by the context.
        let longest = settings.training.max_seq_length.min(inputs.batch_tokens);
        let tokens = (inputs.batch_tokens.saturating_mul(2) / now.batch_size).min(longest);
        (keys, with_batch(inputs, tokens, true))
    })
}

fn shorter_records(inputs: &MemoryInputs, settings: &Settings, stage: u8) -> Option<Change> {
    let half = settings.training.max_seq_length / 2;
    let tokens = half.saturating_mul(settings.training.stage(stage).batch_size);
    (half >= 64 && tokens < inputs.batch_tokens).then(|| {
        (vec![format!("training.max_seq_length={half}")], with_batch(inputs, tokens, inputs.accumulates))
    })
}

fn with_batch(inputs: &MemoryInputs, tokens: u64, accumulates: bool) -> MemoryInputs {
    MemoryInputs {
        batch_tokens: tokens,
        batch_labels: inputs.batch_labels.min(tokens),
        accumulates,
        ..inputs.clone()
    }
}

fn checkpointing(inputs: &MemoryInputs, settings: &Settings) -> Option<Change> {
    let mut changed = settings.clone();
    changed.training.gradient_checkpointing = true;
    (!inputs.gradient_checkpointing && unavailable(&changed).is_empty()).then(|| {
        let keys = vec![String::from("training.gradient_checkpointing=true")];
        (keys, MemoryInputs { gradient_checkpointing: true, ..inputs.clone() })
    })
}

fn quantized(inputs: &MemoryInputs, settings: &Settings, quantization: Quantization) -> Option<Change> {
    let mut changed = settings.clone();
    changed.base_model.quantization = quantization;
    (settings.base_model.quantization == Quantization::None && unavailable(&changed).is_empty()).then(|| {
        let keys = vec![format!("base_model.quantization={quantization}")];
        (keys, MemoryInputs { weights: WeightFormat::of(&changed), ..inputs.clone() })
    })
}
