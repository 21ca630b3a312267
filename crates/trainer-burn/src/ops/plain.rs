//! The operations in plain burn: the default of every backend, and under burn's own autodiff the oracle.

use burn::tensor::{Bool, Int, Tensor, TensorData, activation, backend::Backend};

use super::{AttentionSpec, CrossEntropy, LabelScore, Labels, LoraSpec, Segment};

/// See [`super::Ops::project`].
pub fn linear<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    x.matmul(weight.transpose())
}

/// See [`super::Ops::lora_linear`].
pub fn lora_linear<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    a: Tensor<B, 2>,
    b: Tensor<B, 2>,
    lora: LoraSpec,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let low = linear(dropped(x.clone(), lora), a);
    (linear(x, weight) + linear(low.clone(), b) * lora.scale, low)
}

/// See [`super::Ops::lora_linear_backward`].
#[allow(clippy::too_many_arguments)] // the state of one backward pass
pub fn lora_linear_backward<B: Backend>(
    x: Tensor<B, 2>,
    weight: impl FnOnce() -> Tensor<B, 2>,
    a: Tensor<B, 2>,
    b: Tensor<B, 2>,
    low: Tensor<B, 2>,
    lora: LoraSpec,
    dy: Tensor<B, 2>,
    needs_dx: bool,
) -> (Option<Tensor<B, 2>>, Tensor<B, 2>, Tensor<B, 2>) {
    let dlow = dy.clone().matmul(b) * lora.scale;
    let db = dy.clone().transpose().matmul(low) * lora.scale;
    let da = dlow.clone().transpose().matmul(dropped(x, lora));
    let dx = needs_dx.then(|| dy.matmul(weight()) + dropped(dlow.matmul(a), lora));
    (dx, da, db)
}

/// `x` with the dropout of a low-rank path applied.
fn dropped<B: Backend>(x: Tensor<B, 2>, lora: LoraSpec) -> Tensor<B, 2> {
    let Some(dropout) = lora.dropout else { return x };
    let shape = x.dims();
    let mask = (0..shape[0] * shape[1]).map(|index| dropout.factor(index)).collect();
    let mask = Tensor::from_data(TensorData::new::<f32, _>(mask, shape), &x.device());
    x * mask
}

/// See [`super::Ops::rms_norm`].
pub fn rms_norm<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, eps: f32) -> Tensor<B, 2> {
    let inverse = inverse_rms(x.clone(), eps);
    x * inverse * weight
}

/// See [`super::Ops::rms_norm_backward`].
pub fn rms_norm_backward<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    eps: f32,
    dy: Tensor<B, 2>,
    needs_dweight: bool,
) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
    let inverse = inverse_rms(x.clone(), eps);
    let normal = x * inverse.clone();
    let dweight = needs_dweight.then(|| (dy.clone() * normal.clone()).sum_dim(0));
    let dnormal = dy * weight;
    let mean = (dnormal.clone() * normal.clone()).mean_dim(1);
    ((dnormal - normal * mean) * inverse, dweight)
}

fn inverse_rms<B: Backend>(x: Tensor<B, 2>, eps: f32) -> Tensor<B, 2> {
    (x.clone() * x).mean_dim(1).add_scalar(eps).sqrt().recip()
}

/// See [`super::Ops::unweighted_layer_norm`].
pub fn unweighted_layer_norm<B: Backend>(x: Tensor<B, 2>, eps: f32) -> Tensor<B, 2> {
    let centred = x.clone() - x.mean_dim(1);
    centred.clone() * inverse_rms(centred, eps)
}

/// See [`super::Ops::unweighted_layer_norm_backward`].
pub fn unweighted_layer_norm_backward<B: Backend>(
    x: Tensor<B, 2>,
    eps: f32,
    dy: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let centred = x.clone() - x.mean_dim(1);
    let inverse = inverse_rms(centred.clone(), eps);
    let normal = centred * inverse.clone();
    let along = (dy.clone() * normal.clone()).mean_dim(1);
    (dy.clone() - dy.mean_dim(1) - normal * along) * inverse
}

/// See [`super::Ops::swiglu`].
pub fn swiglu<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    activation::silu(gate) * up
}

/// See [`super::Ops::swiglu_backward`].
pub fn swiglu_backward<B: Backend>(
    gate: Tensor<B, 2>,
    up: Tensor<B, 2>,
    dy: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let sigmoid = activation::sigmoid(gate.clone());
    let silu = gate.clone() * sigmoid.clone();
    // d silu(g) / dg = σ(g) · (1 + g · (1 − σ(g)))
    let dsilu = sigmoid.clone() * (gate * (-sigmoid).add_scalar(1.0)).add_scalar(1.0);
    (dy.clone() * up * dsilu, dy * silu)
}

/// See [`super::Ops::causal_attention`].
pub fn attention<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    spec: &AttentionSpec,
) -> Tensor<B, 2> {
    let parts = spec.segments.iter().map(|segment| {
        let heads = Heads::of(q.clone(), k.clone(), v.clone(), spec, *segment);
        let probabilities = heads.probabilities(spec, *segment);
        rows_of(probabilities.matmul(heads.v))
    });
    Tensor::cat(parts.collect(), 0)
}

/// See [`super::Ops::causal_attention_backward`].
pub fn attention_backward<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    spec: &AttentionSpec,
    dy: Tensor<B, 2>,
) -> [Tensor<B, 2>; 3] {
    let scale = scale_of(spec);
    let mut gradients = [Vec::new(), Vec::new(), Vec::new()];
    for segment in spec.segments.iter() {
        let heads = Heads::of(q.clone(), k.clone(), v.clone(), spec, *segment);
        let p = heads.probabilities(spec, *segment);
        let dy = heads_of(rows(dy.clone(), segment.q_start, segment.q_len), spec.heads);
        let dv = p.clone().swap_dims(1, 2).matmul(dy.clone());
        let dp = dy.matmul(heads.v.swap_dims(1, 2));
        let mean = (p.clone() * dp.clone()).sum_dim(2);
        let ds = p * (dp - mean) * scale;
        let dq = ds.clone().matmul(heads.k);
        let dk = ds.swap_dims(1, 2).matmul(heads.q);
        gradients[0].push(rows_of(rotated(dq, spec, segment.k_len - segment.q_len, true)));
        gradients[1].push(rows_of(rotated(ungrouped(dk, spec), spec, 0, true)));
        gradients[2].push(rows_of(ungrouped(dv, spec)));
    }
    gradients.map(|parts| Tensor::cat(parts, 0))
}

/// The rotated heads of one segment, each `[heads, rows, head_dim]`, keys and values repeated for their group.
struct Heads<B: Backend> {
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
}

impl<B: Backend> Heads<B> {
    fn of(q: Tensor<B, 2>, k: Tensor<B, 2>, v: Tensor<B, 2>, spec: &AttentionSpec, segment: Segment) -> Self {
        let q = heads_of(rows(q, segment.q_start, segment.q_len), spec.heads);
        let k = heads_of(rows(k, segment.k_start, segment.k_len), spec.kv_heads);
        let v = heads_of(rows(v, segment.k_start, segment.k_len), spec.kv_heads);
        Self {
            q: rotated(q, spec, segment.k_len - segment.q_len, false),
            k: grouped(rotated(k, spec, 0, false), spec),
            v: grouped(v, spec),
        }
    }

    /// Softmax of the scaled and masked scores, `[heads, q_len, k_len]`.
    fn probabilities(&self, spec: &AttentionSpec, segment: Segment) -> Tensor<B, 3> {
        let scores = self.q.clone().matmul(self.k.clone().swap_dims(1, 2)) * scale_of(spec);
        let offset = (segment.k_len - segment.q_len) as i64;
        let shape = [segment.q_len, segment.k_len];
        // True above the diagonal: what a query must not see.
        let mask = |offset: i64| Tensor::<B, 2, Bool>::tril_mask(shape, offset, &self.q.device());
        let mask = match spec.window {
            None => mask(offset),
            Some(window) => mask(offset).bool_or(mask(offset - window as i64).bool_not()),
        };
        activation::softmax(scores.mask_fill(mask.unsqueeze::<3>(), f32::NEG_INFINITY), 2)
    }
}

fn scale_of(spec: &AttentionSpec) -> f32 {
    1.0 / (spec.head_dim as f32).sqrt()
}

fn rows<B: Backend>(x: Tensor<B, 2>, start: usize, len: usize) -> Tensor<B, 2> {
    x.narrow(0, start, len)
}

/// `[rows, heads · head_dim]` to `[heads, rows, head_dim]`.
fn heads_of<B: Backend>(x: Tensor<B, 2>, heads: usize) -> Tensor<B, 3> {
    let [rows, width] = x.dims();
    x.reshape([rows, heads, width / heads]).swap_dims(0, 1)
}

/// `[heads, rows, head_dim]` to `[rows, heads · head_dim]`.
fn rows_of<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 2> {
    let [heads, rows, head_dim] = x.dims();
    x.swap_dims(0, 1).reshape([rows, heads * head_dim])
}

/// Repeats each key or value head for its group of query heads.
fn grouped<B: Backend>(x: Tensor<B, 3>, spec: &AttentionSpec) -> Tensor<B, 3> {
    let [heads, rows, head_dim] = x.dims();
    let group = spec.heads / heads;
    x.unsqueeze_dim::<4>(1).expand([heads, group, rows, head_dim]).reshape([spec.heads, rows, head_dim])
}

/// Sums the gradients of a group's query heads.
fn ungrouped<B: Backend>(x: Tensor<B, 3>, spec: &AttentionSpec) -> Tensor<B, 3> {
    let [heads, rows, head_dim] = x.dims();
    let group = heads / spec.kv_heads;
    x.reshape([spec.kv_heads, group, rows, head_dim]).sum_dim(1).reshape([spec.kv_heads, rows, head_dim])
}

/// Rotates by the positions `first..`; backwards for gradients.
fn rotated<B: Backend>(x: Tensor<B, 3>, spec: &AttentionSpec, first: usize, inverse: bool) -> Tensor<B, 3> {
    let [heads, rows, head_dim] = x.dims();
    let half = head_dim / 2;
    let (mut cos, mut sin) = (Vec::with_capacity(rows * half), Vec::with_capacity(rows * half));
    for position in first..first + rows {
        let (c, s) = spec.rope.at(position);
        cos.extend_from_slice(c);
        sin.extend(s.iter().map(|s| if inverse { -s } else { *s }));
    }
    let device = x.device();
    let table =
        |values| Tensor::<B, 3>::from_data(TensorData::new::<f32, _>(values, [1, rows, half]), &device);
    let (cos, sin) = (table(cos), table(sin));
    let first = x.clone().slice([0..heads, 0..rows, 0..half]);
    let second = x.slice([0..heads, 0..rows, half..head_dim]);
    Tensor::cat(
        vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin],
        2,
    )
}

/// See [`super::Ops::linear_cross_entropy`]: the oracle, tracked by burn's own autodiff.
pub fn linear_cross_entropy<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    labels: &Labels,
) -> Tensor<B, 2> {
    let device = hidden.device();
    let logits = linear(hidden.select(0, indices(&labels.rows, &device)), weight);
    let targets = indices(&labels.targets, &device).unsqueeze_dim::<2>(1);
    let picked = activation::log_softmax(logits, 1).gather(1, targets);
    (picked * column(&labels.weights, &device)).sum_dim(0).neg()
}

/// See [`super::Ops::linear_cross_entropy_gradients`].
pub fn linear_cross_entropy_gradients<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    labels: &Labels,
    needs_dweight: bool,
) -> CrossEntropy<B> {
    let device = hidden.device();
    let mut loss = Tensor::zeros([1, 1], &device);
    let mut dhidden = hidden.zeros_like();
    let mut dweight = needs_dweight.then(|| weight.zeros_like());
    let mut scores = Vec::new();
    for (rows, targets, weights) in labels.chunks() {
        let (rows, weights) = (indices(rows, &device), column(weights, &device));
        let targets: Tensor<B, 2, Int> = indices(targets, &device).unsqueeze_dim(1);
        let x = hidden.clone().select(0, rows.clone());
        let log_p = activation::log_softmax(linear(x.clone(), weight.clone()), 1);
        let picked = log_p.clone().gather(1, targets.clone());
        loss = loss - (picked.clone() * weights.clone()).sum_dim(0);
        scores.push(Tensor::cat(vec![picked.neg(), entropy(log_p.clone())], 1));
        let minus_one = Tensor::full([targets.dims()[0], 1], -1.0, &device);
        let dlogits =
            log_p.exp().scatter(1, targets, minus_one, burn::tensor::IndexingUpdateOp::Add) * weights;
        dweight = dweight.map(|dw| dw + dlogits.clone().transpose().matmul(x));
        dhidden = dhidden.select_assign(
            0,
            rows,
            dlogits.matmul(weight.clone()),
            burn::tensor::IndexingUpdateOp::Add,
        );
    }
    let scores = if scores.is_empty() { Tensor::zeros([0, 2], &device) } else { Tensor::cat(scores, 0) };
    CrossEntropy { loss, scores, dhidden, dweight }
}

/// See [`super::Ops::score_labels`].
pub fn score_labels<B: Backend>(
    hidden: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    labels: &Labels,
) -> Vec<LabelScore> {
    let device = hidden.device();
    let mut scores = Vec::with_capacity(labels.rows.len());
    for (rows, targets, _) in labels.chunks() {
        let logits = linear(hidden.clone().select(0, indices(rows, &device)), weight.clone());
        let log_p = activation::log_softmax(logits, 1);
        let picked = log_p.clone().gather(1, indices(targets, &device).unsqueeze_dim(1));
        let losses = picked.neg().into_data().convert::<f32>();
        let entropies = entropy(log_p.clone()).into_data().convert::<f32>();
        let predicted = log_p.argmax(1).into_data().convert::<i64>();
        let of_rows = losses.iter::<f32>().zip(entropies.iter::<f32>()).zip(predicted.iter::<i64>());
        scores.extend(of_rows.map(|((loss, entropy), token)| LabelScore {
            loss,
            entropy,
            predicted: token as u32,
        }));
    }
    scores
}

/// `−Σ p·ln p` by row: `[n, classes]` to `[n, 1]`.
fn entropy<B: Backend>(log_p: Tensor<B, 2>) -> Tensor<B, 2> {
    (log_p.clone().exp() * log_p).sum_dim(1).neg()
}

fn column<B: Backend>(values: &[f32], device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), device)
}

fn indices<B: Backend>(values: &[u32], device: &B::Device) -> Tensor<B, 1, Int> {
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
