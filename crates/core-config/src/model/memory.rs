//! How much memory a training step needs: one documented formula per part, from a model's sizes and the settings.
//!
//! The formulas follow what this trainer keeps (`trainer-burn/src/ops/autodiff.rs` says what each node saves):
//! sequences are never padded, logits exist for [`LOGIT_ROWS`] labelled rows at a time, attention's probabilities are
//! computed again in the backward pass, adapters alone have gradients and moments. `docs/benchmarks/plan.md` compares
//! them with measured peaks.

mod insufficient;
mod reductions;
mod shape;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use insufficient::{bytes_in_words, insufficient};
pub use reductions::{Reduction, reductions};
pub use shape::ModelShape;

use crate::settings::{Precision, Quantization, Settings};

/// Bytes of an f32.
const F32: u64 = 4;
/// Labelled rows whose logits exist at once. Smaller chunks were measured slower (64 rows: 2× the step's time).
pub const LOGIT_ROWS: u64 = 512;
/// Tokens that an evaluation puts through the model at once, at most.
pub const EVALUATION_TOKENS: u64 = 4096;
/// Weights of a row that share a scale where they are packed into 8 or 4 bits.
pub const WEIGHTS_PER_SCALE: u64 = 32;
/// Program and tokenizer before anything of the model is there; this and the next three are fitted to measured peaks
/// (`docs/benchmarks/plan.md`).
const RUNTIME_BYTES: u64 = 45_000_000;
/// Inner values of a product that are packed at once, at most (`ops/flex/amx` of the trainer).
const WIDEST_PART: u64 = 1152;
/// What each thread keeps: packed blocks of matrix products, its part of the allocator.
const THREAD_BYTES: u64 = 5_000_000;
/// What the allocator keeps of freed memory: this much, blocks of a step up to the second figure, and a share of more.
const ALLOCATOR_BYTES: u64 = 10_000_000;
const ALLOCATOR_KEEPS: u64 = 40_000_000;
const ALLOCATOR_SHARE: u64 = 20;

/// How frozen matrices are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightFormat {
    /// 32 bits per weight.
    F32,
    /// 16 bits per weight (f16 or bf16).
    Half,
    /// 8 bits and one f32 scale to [`WEIGHTS_PER_SCALE`] weights: 9 bits per weight.
    Q8,
    /// 4 bits and two f32 to [`WEIGHTS_PER_SCALE`] weights: 6 bits per weight.
    Q4,
}

impl WeightFormat {
    /// How these settings keep frozen projections.
    pub fn of(settings: &Settings) -> Self {
        match (settings.base_model.quantization, settings.training.precision) {
            (Quantization::Q8, _) => Self::Q8,
            (Quantization::Q4, _) => Self::Q4,
            (Quantization::None, Precision::F32) => Self::F32,
            (Quantization::None, Precision::F16 | Precision::Bf16) => Self::Half,
        }
    }

    /// Bytes of so many weights.
    pub fn bytes(self, weights: u64) -> u64 {
        let with_scales = |bits: u64, scales: u64| weights * (bits + 32 * scales / WEIGHTS_PER_SCALE) / 8;
        match self {
            Self::F32 => weights * 4,
            Self::Half => weights * 2,
            Self::Q8 => with_scales(8, 1),
            Self::Q4 => with_scales(4, 2),
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::F32 => "4 bytes",
            Self::Half => "2 bytes",
            Self::Q8 => "9 bits",
            Self::Q4 => "6 bits",
        }
    }
}

/// What memory depends on besides the model's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInputs {
    /// Threads that compute.
    pub threads: u64,
    /// Bytes that a processor's matrix unit keeps of packed operands, for each inner value of the widest product; 0
    /// without such a unit.
    #[serde(default)]
    pub packed_bytes: u64,
    /// How frozen projections are kept.
    pub weights: WeightFormat,
    /// Rank of the adapters.
    pub rank: u64,
    /// Projections that have one.
    pub target_modules: Vec<String>,
    /// Whether each output of an adapted projection is scaled to a magnitude (DoRA).
    pub use_dora: bool,
    /// Values that the optimizer keeps for each trained one.
    pub optimizer_moments: u64,
    /// Whether activations are computed again in the backward pass.
    pub gradient_checkpointing: bool,
    /// Whether several micro-batches add up to a step.
    pub accumulates: bool,
    /// Tokens of the largest micro-batch.
    pub batch_tokens: u64,
    /// Labelled tokens of the largest micro-batch.
    pub batch_labels: u64,
    /// Tokens of the largest batch of an evaluation, at most [`EVALUATION_TOKENS`] or one record.
    pub evaluation_tokens: u64,
    /// Encoded records that are held at once.
    pub data_bytes: u64,
}

impl MemoryInputs {
    /// The inputs that `settings` fix, with an empty batch and one thread.
    pub fn new(settings: &Settings) -> Self {
        let training = &settings.training;
        let stages = 1..=training.num_stages;
        Self {
            threads: 1,
            packed_bytes: 0,
            weights: WeightFormat::of(settings),
            rank: settings.lora.rank,
            target_modules: settings.lora.targets(),
            use_dora: settings.lora.use_dora,
            optimizer_moments: training.optimizer.moments().len() as u64,
            gradient_checkpointing: training.gradient_checkpointing,
            accumulates: stages.into_iter().any(|stage| training.stage(stage).gradient_accumulation > 1),
            batch_tokens: 0,
            batch_labels: 0,
            evaluation_tokens: 0,
            data_bytes: 0,
        }
    }

    fn targets(&self, names: &[&str]) -> bool {
        self.target_modules.iter().any(|target| names.contains(&target.as_str()))
    }
}

/// A part of the memory that training needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPart {
    /// What it holds, such as `activations`.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// How the bytes were computed, in words.
    pub formula: String,
}

/// The memory that training needs at its peak, by part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryEstimate {
    /// The parts; their sum is the peak.
    pub parts: Vec<MemoryPart>,
}

impl MemoryEstimate {
    /// The largest resident memory, in bytes; [`u64::MAX`] where it is more than that.
    pub fn peak_bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    fn add(&mut self, name: &str, bytes: u64, formula: String) {
        if bytes > 0 {
            self.parts.push(MemoryPart { name: name.to_owned(), bytes, formula });
        }
    }
}

/// Estimates the memory of training `shape` under `inputs`. What the largest batches that settings allow would take can be
/// beyond 2^64 bytes, which [`u64::MAX`] stands for; everything without a batch in it is far below.
pub fn estimate(shape: &ModelShape, inputs: &MemoryInputs) -> MemoryEstimate {
    let mut estimate = MemoryEstimate::default();
    let trained = shape.trainable_parameters(inputs.rank, &inputs.target_modules);
    let matrices = shape.projection_parameters() + shape.table_parameters();
    let norms = shape.norm_parameters();
    let weights = inputs.weights.bytes(matrices) + F32 * norms;
    let words = inputs.weights.in_words();
    let formula = format!("{matrices} weights x {words} + {norms} of norms x 4 bytes");
    estimate.add("base weights", weights, formula);
    let formula = format!("{trained} x 4 bytes");
    estimate.add("adapters", F32 * trained, formula);
    let moments = inputs.optimizer_moments;
    let formula = format!("{trained} x {moments} x 4 bytes");
    estimate.add("optimizer moments", moments * F32 * trained, formula);
    estimate.add("data", inputs.data_bytes, String::from("encoded records with their texts"));
    let runtime = RUNTIME_BYTES + THREAD_BYTES * inputs.threads;
    let formula = format!("program and tokenizer, {} threads x {THREAD_BYTES} bytes", inputs.threads);
    estimate.add("runtime", runtime, formula);
    let widest = shape.hidden_size.max(shape.intermediate_size).min(WIDEST_PART);
    let formula = format!("{widest} inner values x {} bytes", inputs.packed_bytes);
    estimate.add("packed operands of products", widest * inputs.packed_bytes, formula);
    let step = add_step(&mut estimate, shape, inputs, trained);
    add_other_phases(&mut estimate, shape, inputs, trained, step);
    let kept = ALLOCATOR_BYTES + step.min(ALLOCATOR_KEEPS) + step / ALLOCATOR_SHARE;
    let formula = format!("freed memory that is kept, of a step of {step} bytes");
    estimate.add("allocator", kept, formula);
    estimate
}

/// The parts of an optimizer step; their sum.
fn add_step(estimate: &mut MemoryEstimate, shape: &ModelShape, inputs: &MemoryInputs, trained: u64) -> u64 {
    let before = estimate.peak_bytes();
    let (tokens, hidden) = (inputs.batch_tokens, shape.hidden_size);
    let copies = if inputs.accumulates { 2 } else { 1 };
    let formula =
        format!("{trained} x 4 bytes{}", if inputs.accumulates { " x 2 (sum and summand)" } else { "" });
    estimate.add("gradients", copies * F32 * trained, formula);
    let per_layer = saved_per_token(shape, inputs);
    let layers = if inputs.gradient_checkpointing {
        shape.num_hidden_layers * hidden + per_layer
    } else {
        shape.num_hidden_layers * per_layer
    };
    // Beside the layers: the last norm's input, the gradient of its output, and the head's input.
    let saved = layers + 3 * hidden;
    let formula = format!("{tokens} tokens of the largest batch x {saved} values x 4 bytes");
    estimate.add("activations", product([F32, tokens, saved]), formula);
    let rows = inputs.batch_labels.min(LOGIT_ROWS);
    let logits = F32 * rows * (shape.vocab_size + 2 * hidden);
    // The backward pass of one MLP holds its three inner gradients and the copies that dropout and adapters need.
    let layer = product([F32, tokens, 4 * shape.intermediate_size + 3 * hidden]);
    if logits >= layer {
        let formula = format!("{rows} labelled rows x {} words x 4 bytes", shape.vocab_size);
        estimate.add("logits", logits, formula);
    } else {
        let formula = format!("gradients inside one layer, {tokens} tokens");
        estimate.add("working memory of the backward pass", layer, formula);
    }
    estimate.peak_bytes() - before
}

/// The product of `factors`, or [`u64::MAX`] where it is beyond.
fn product<const N: usize>(factors: [u64; N]) -> u64 {
    factors.into_iter().fold(1, u64::saturating_mul)
}

/// f32 values that the backward pass of one layer needs per token.
///
/// Attention keeps q, k, v (before their norms too, where it has them), a projection with an adapter keeps its input
/// and the low-rank product, both block norms keep what they read, SwiGLU keeps gate and up. A projection without an
/// adapter keeps nothing: its weight is frozen. DoRA keeps each adapted projection's output before it is scaled.
fn saved_per_token(shape: &ModelShape, inputs: &MemoryInputs) -> u64 {
    let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
    let (query, key) = (shape.query_width(), shape.key_width());
    let when = |names: &[&str], values: u64| if inputs.targets(names) { values } else { 0 };
    let normed = if shape.query_key_norm { query + key } else { 0 };
    query
        + 2 * key
        + normed
        + when(&["q_proj", "k_proj", "v_proj"], hidden)
        + when(&["o_proj"], query)
        + 2 * hidden
        + when(&["gate_proj", "up_proj"], hidden)
        + 2 * inner
        + when(&["down_proj"], inner)
        + inputs.rank * inputs.target_modules.len() as u64
        + if inputs.use_dora {
            inputs.target_modules.iter().map(|name| shape.outputs_of(name)).sum()
        } else {
            0
        }
}

/// What evaluating and saving need beyond a step, which frees its own parts before them.
fn add_other_phases(
    estimate: &mut MemoryEstimate,
    shape: &ModelShape,
    inputs: &MemoryInputs,
    trained: u64,
    step: u64,
) {
    let (hidden, tokens) = (shape.hidden_size, inputs.evaluation_tokens);
    let mlp = 3 * shape.intermediate_size + 2 * hidden;
    let attention = 2 * hidden + 4 * shape.query_width() + 2 * shape.key_width();
    let logits = F32 * tokens.min(LOGIT_ROWS) * shape.vocab_size;
    let evaluation = product([F32, tokens, mlp.max(attention)]).saturating_add(logits);
    // Adapters and both moments on the host, once as values, once as bytes, once as a file.
    let checkpoint = 2 * F32 * trained * 3;
    let beyond = evaluation.max(checkpoint).saturating_sub(step);
    let (name, formula) = if evaluation >= checkpoint {
        ("evaluation, beyond a step", format!("{tokens} tokens through one layer and the head"))
    } else {
        ("checkpoint, beyond a step", format!("{trained} x 2 moments x 3 copies x 4 bytes"))
    };
    estimate.add(name, beyond, formula);
}

#[cfg(test)]
mod tests;
