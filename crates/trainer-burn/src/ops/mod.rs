//! The operations that a decoder's training step spends its time in, as one trait over burn's backends.
//!
//! Every operation has a plain-burn default, forward and backward, so that any backend trains. A backend
//! overrides what it can do faster ([`flex`]: fused kernels on the processor). [`autodiff`] makes each operation
//! one node of burn's graph with the hand-written backward, on whatever backend is inside. The oracle for all of
//! them is [`plain`] under burn's own autodiff.
//!
//! Sequences are never padded: the tokens of a batch lie one after another in the rows of `[tokens, hidden]`, and
//! only attention knows where one sequence ends ([`Segment`]). Vectors (norm weights) are `[1, n]`.

pub mod autodiff;
pub mod flex;
pub mod image;
pub mod plain;
mod rope;
mod weight;

use std::sync::Arc;

use burn::tensor::{Tensor, backend::Backend};
use greentune_core_config::memory::LOGIT_ROWS;

pub use rope::{Rope, RopeTable};
pub use weight::{Packed, Packing, Weight};

/// Operations of a decoder; see the module's documentation.
pub trait Ops: Backend {
    /// Whether products read weights of 16 bits as they lie, at least as fast as full ones.
    const READS_HALVES: bool = false;

    /// `x · weightᵀ`: `x [n, in]`, `weight [out, in]`, result `[n, out]`.
    fn project(x: Tensor<Self, 2>, weight: &Weight<Self>) -> Tensor<Self, 2> {
        plain::linear(x, weight.full())
    }

    /// Gradient `dy · weight` of [`Ops::project`] to `x`.
    fn project_dx(weight: &Weight<Self>, dy: Tensor<Self, 2>) -> Tensor<Self, 2> {
        dy.matmul(weight.full())
    }

    /// Gradient `dyᵀ · x` of [`Ops::project`] to a full weight.
    fn project_dweight(x: Tensor<Self, 2>, dy: Tensor<Self, 2>) -> Tensor<Self, 2> {
        dy.transpose().matmul(x)
    }

    /// `x · weightᵀ + scale · (dropout(x) · aᵀ) · bᵀ` along the low-rank path, never composing `weight + b·a`:
    /// `a [rank, in]`, `b [out, rank]`. Also returns `dropout(x) · aᵀ [n, rank]`, which the backward pass needs.
    fn lora_linear(
        x: Tensor<Self, 2>,
        weight: &Weight<Self>,
        a: Tensor<Self, 2>,
        b: Tensor<Self, 2>,
        lora: LoraSpec,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::lora_linear(x, weight.full(), a, b, lora)
    }

    /// Gradients `(dx, da, db)` of [`Ops::lora_linear`]; the base weight is frozen.
    #[allow(clippy::too_many_arguments)] // the state of one backward pass
    fn lora_linear_backward(
        x: Tensor<Self, 2>,
        weight: &Weight<Self>,
        a: Tensor<Self, 2>,
        b: Tensor<Self, 2>,
        low: Tensor<Self, 2>,
        lora: LoraSpec,
        dy: Tensor<Self, 2>,
        needs_dx: bool,
    ) -> (Option<Tensor<Self, 2>>, Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::lora_linear_backward(x, || weight.full(), a, b, low, lora, dy, needs_dx)
    }

    /// Root mean square norm (Zhang & Sennrich 2019): `x / sqrt(mean(x²) + eps) · weight`, by row.
    fn rms_norm(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, eps: f32) -> Tensor<Self, 2> {
        plain::rms_norm(x, weight, eps)
    }

    /// Gradients `(dx, dweight)` of [`Ops::rms_norm`]; `dweight` when asked for.
    fn rms_norm_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        eps: f32,
        dy: Tensor<Self, 2>,
        needs_dweight: bool,
    ) -> (Tensor<Self, 2>, Option<Tensor<Self, 2>>) {
        plain::rms_norm_backward(x, weight, eps, dy, needs_dweight)
    }

    /// Layer norm without weight and bias (Ba et al. 2016): `(x − mean) / sqrt(variance + eps)`, by row.
    fn unweighted_layer_norm(x: Tensor<Self, 2>, eps: f32) -> Tensor<Self, 2> {
        plain::unweighted_layer_norm(x, eps)
    }

    /// Gradient of [`Ops::unweighted_layer_norm`].
    fn unweighted_layer_norm_backward(x: Tensor<Self, 2>, eps: f32, dy: Tensor<Self, 2>) -> Tensor<Self, 2> {
        plain::unweighted_layer_norm_backward(x, eps, dy)
    }

    /// `silu(gate) · up` (Shazeer 2020), element by element.
    fn swiglu(gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        plain::swiglu(gate, up)
    }

    /// Gradients `(dgate, dup)` of [`Ops::swiglu`].
    fn swiglu_backward(
        gate: Tensor<Self, 2>,
        up: Tensor<Self, 2>,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::swiglu_backward(gate, up, dy)
    }

    /// Causal attention with rotary positions, within each segment: `q [rows, heads · head_dim]`,
    /// `k, v [keys, kv_heads · head_dim]`, all before rotation; result like `q`.
    fn causal_attention(
        q: Tensor<Self, 2>,
        k: Tensor<Self, 2>,
        v: Tensor<Self, 2>,
        spec: &AttentionSpec,
    ) -> Tensor<Self, 2> {
        plain::attention(q, k, v, spec)
    }

    /// Gradients `(dq, dk, dv)` of [`Ops::causal_attention`]; the probabilities are computed again.
    fn causal_attention_backward(
        q: Tensor<Self, 2>,
        k: Tensor<Self, 2>,
        v: Tensor<Self, 2>,
        spec: &AttentionSpec,
        dy: Tensor<Self, 2>,
    ) -> [Tensor<Self, 2>; 3] {
        plain::attention_backward(q, k, v, spec, dy)
    }

    /// Cross-entropy of `hidden · weightᵀ` on the labelled rows alone, summed by `labels.weights`:
    /// `hidden [n, h]`, `weight [vocabulary, h]`, result `[1, 1]`. Also returns what the model says of each labelled
    /// row, `[labels, 2]`, untracked: loss without its weight, and entropy of the prediction, both in nats.
    fn linear_cross_entropy(
        hidden: Tensor<Self, 2>,
        weight: &Weight<Self>,
        labels: &Labels,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let out = Self::linear_cross_entropy_gradients(hidden, weight, labels, false);
        (out.loss, out.scores)
    }

    /// [`Ops::linear_cross_entropy`] with its gradients, computed in one pass over chunks of rows, so that logits
    /// never exist for the whole batch.
    fn linear_cross_entropy_gradients(
        hidden: Tensor<Self, 2>,
        weight: &Weight<Self>,
        labels: &Labels,
        needs_dweight: bool,
    ) -> CrossEntropy<Self> {
        plain::linear_cross_entropy_gradients(hidden, weight.full(), labels, needs_dweight)
    }

    /// What the model says of each labelled row; weights do not count, and nothing is tracked.
    fn score_labels(hidden: Tensor<Self, 2>, weight: &Weight<Self>, labels: &Labels) -> Vec<LabelScore> {
        plain::score_labels(hidden, weight.full(), labels)
    }
}

/// Scale and dropout of a low-rank path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSpec {
    /// alpha / rank.
    pub scale: f32,
    /// Dropout on the path's input; `None` when evaluating.
    pub dropout: Option<Dropout>,
}

/// Inverted dropout whose mask is a function of seed and element, so that the backward pass and a resumed run
/// compute the same mask without storing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Share of elements that is zeroed, in `[0, 1)`.
    pub rate: f32,
    /// Seed of this site in this step.
    pub seed: u64,
}

impl Dropout {
    /// Factor of the element at flat index `index`: `0` or `1 / (1 - rate)`.
    /// The hash is SplitMix64's finaliser (Steele, Lea & Flood 2014).
    #[inline]
    pub fn factor(self, index: usize) -> f32 {
        let mut z = self.seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let uniform = ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32;
        if uniform < self.rate { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }
}

/// One sequence in the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First row in `q`.
    pub q_start: usize,
    /// Rows in `q`: the last positions of the sequence.
    pub q_len: usize,
    /// First row in `k` and `v`.
    pub k_start: usize,
    /// Rows in `k` and `v`: the whole sequence so far, positions `0..k_len`.
    pub k_len: usize,
}

impl Segment {
    /// Segments of whole sequences with these lengths, one after another.
    pub fn whole(lengths: impl IntoIterator<Item = usize>) -> Vec<Self> {
        let mut start = 0;
        lengths
            .into_iter()
            .map(|length| {
                let segment = Self { q_start: start, q_len: length, k_start: start, k_len: length };
                start += length;
                segment
            })
            .collect()
    }
}

/// Shape and positions of an attention.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// The sequences.
    pub segments: Arc<[Segment]>,
    /// Rotation by position.
    pub rope: Arc<Rope>,
    /// How many of the last positions a query sees, itself included; all of them when `None`.
    pub window: Option<usize>,
}

/// The rows on which a loss is computed.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Rows of `hidden`, ascending.
    pub rows: Arc<[u32]>,
    /// The token that each row should predict.
    pub targets: Arc<[u32]>,
    /// Factor of each row's loss in the sum: for a mean, one by the labelled tokens of the whole optimizer step.
    pub weights: Arc<[f32]>,
}

impl Labels {
    /// Rows, targets and weights of each chunk whose logits are computed at once.
    fn chunks(&self) -> impl Iterator<Item = (&[u32], &[u32], &[f32])> {
        const ROWS: usize = LOGIT_ROWS as usize;
        let targets_and_weights = self.targets.chunks(ROWS).zip(self.weights.chunks(ROWS));
        self.rows
            .chunks(ROWS)
            .zip(targets_and_weights)
            .map(|(rows, (targets, weights))| (rows, targets, weights))
    }
}

/// A loss with its gradients.
#[derive(Debug)]
pub struct CrossEntropy<B: Backend> {
    /// `[1, 1]`.
    pub loss: Tensor<B, 2>,
    /// `[labels, 2]`: loss and entropy of each row.
    pub scores: Tensor<B, 2>,
    /// Like `hidden`.
    pub dhidden: Tensor<B, 2>,
    /// Like `weight`, when asked for.
    pub dweight: Option<Tensor<B, 2>>,
}

/// What a model says of one labelled row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelScore {
    /// Negative log-likelihood of the target, in nats.
    pub loss: f32,
    /// Entropy of the prediction, in nats.
    pub entropy: f32,
    /// The most likely token.
    pub predicted: u32,
}
