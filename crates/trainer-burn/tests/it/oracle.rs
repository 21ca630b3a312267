//! The operations against plain burn under burn's own autodiff.

use std::sync::Arc;

use burn::{
    backend::{Autodiff, Flex, flex::FlexDevice},
    tensor::{Tensor, TensorData, backend::Backend},
};
use greentune_core_config::model::{RopeScaling, Rotary};
use greentune_trainer_burn::ops::{
    AttentionSpec, Dropout, Labels, LoraSpec, Ops, Packed, Packing, Rope, Segment, Weight,
    autodiff::only_graph, plain,
};

pub type Tracked = Autodiff<Flex>;

/// Values between −1 and 1 that differ by seed and place.
pub fn values(seed: u64, rows: usize, columns: usize) -> TensorData {
    let dropout = |index: usize| {
        let mut z = (seed << 32 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((z >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    TensorData::new((0..rows * columns).map(dropout).collect::<Vec<f32>>(), [rows, columns])
}

pub type Inputs<const N: usize> = [Tensor<Tracked, 2>; N];

/// Compares output and all gradients of an operation with its oracle, under an arbitrary upstream gradient.
pub fn compare<const N: usize>(
    shapes: [[usize; 2]; N],
    operation: impl Fn(Inputs<N>) -> Tensor<Tracked, 2>,
    oracle: impl Fn(Inputs<N>) -> Tensor<Tracked, 2>,
) {
    let _only = only_graph();
    let run = |f: &dyn Fn(Inputs<N>) -> Tensor<Tracked, 2>| {
        let mut seed = 0;
        let inputs = shapes.map(|[rows, columns]| {
            seed += 1;
            Tensor::<Tracked, 2>::from_data(values(seed, rows, columns), &FlexDevice).require_grad()
        });
        let out = f(inputs.clone());
        let [rows, columns] = out.dims();
        let upstream = Tensor::from_data(values(99, rows, columns), &out.device());
        let grads = (out.clone() * upstream).sum().backward();
        let mut results = vec![host(out.inner())];
        results.extend(inputs.iter().map(|input| host(input.grad(&grads).expect("a gradient"))));
        results
    };
    for (index, (mine, plain)) in run(&operation).into_iter().zip(run(&oracle)).enumerate() {
        assert_eq!(mine.len(), plain.len());
        // Long sums round by their size, not by that of their result.
        let largest = plain.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (a, b) in mine.iter().zip(&plain) {
            let allowed = 1e-5 + 1e-4 * b.abs() + 2e-6 * largest;
            assert!((a - b).abs() <= allowed, "result {index}: {a} is not {b}");
        }
    }
}

pub fn host<B: Backend>(tensor: Tensor<B, 2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn rope(positions: usize) -> Arc<Rope> {
    let rotary = Rotary { theta: 10_000.0, scaling: RopeScaling::Unscaled };
    Arc::new(Rope::new(&rotary, 8, positions))
}

/// A packed matrix on the backend inside, and the same in full.
fn packed(format: Packing, rows: usize, columns: usize) -> (Weight<Tracked>, Tensor<Tracked, 2>) {
    let (mut words, mut scales) = (Vec::new(), Vec::new());
    let data = values(77, rows, columns);
    for row in data.iter::<f32>().collect::<Vec<_>>().chunks(columns) {
        format.pack(row, &mut words, &mut scales);
    }
    let packed = Packed::<Flex>::new(format, [rows, columns], words, scales, &FlexDevice);
    let full = Weight::Packed(packed.clone()).full();
    (Weight::Packed(packed.lift()), Tensor::from_inner(full))
}

#[test]
fn products_with_packed_weights_equal_those_with_unpacked_ones() {
    for format in [Packing::F16, Packing::Bf16, Packing::Q8, Packing::Q4] {
        // Columns that are no multiple of a block, and more values than a panel.
        for (rows, columns) in [(70, 50), (1200, 1000)] {
            let (weight, full) = packed(format, rows, columns);
            compare(
                [[33, columns]],
                |[x]| Tracked::project(x, &weight),
                |[x]| plain::linear(x, full.clone()),
            );
            let lora = LoraSpec { scale: 0.5, dropout: None };
            compare(
                [[5, columns], [4, columns], [rows, 4]],
                |[x, a, b]| Tracked::lora_linear(x, &weight, a, b, lora).0,
                |[x, a, b]| plain::lora_linear(x, full.clone(), a, b, lora).0,
            );
            let labels = Labels {
                rows: [0, 3, 4].into(),
                targets: [1, 0, 69].into(),
                weights: [0.5, 0.2, 0.3].into(),
            };
            compare(
                [[6, columns]],
                |[h]| Tracked::linear_cross_entropy(h, &weight, &labels).0,
                |[h]| plain::linear_cross_entropy(h, full.clone(), &labels),
            );
        }
    }
}

#[test]
fn layer_norm() {
    compare(
        [[33, 48]],
        |[x]| Tracked::unweighted_layer_norm(x, 1e-5),
        |[x]| plain::unweighted_layer_norm(x, 1e-5),
    );
}

#[test]
fn projection() {
    compare([[33, 48], [70, 48]], |[x, w]| Tracked::project(x, &w.into()), |[x, w]| plain::linear(x, w));
}

#[test]
fn low_rank_projection_with_and_without_dropout() {
    for dropout in [None, Some(Dropout { rate: 0.3, seed: 7 })] {
        let lora = LoraSpec { scale: 2.0, dropout };
        let weight = || Tensor::<Tracked, 2>::from_data(values(50, 70, 48), &FlexDevice);
        compare(
            [[33, 48], [4, 48], [70, 4]],
            |[x, a, b]| Tracked::lora_linear(x, &weight().into(), a, b, lora).0,
            |[x, a, b]| plain::lora_linear(x, weight(), a, b, lora).0,
        );
    }
}

#[test]
fn norm() {
    for columns in [48, 50, 7] {
        compare(
            [[33, columns], [1, columns]],
            |[x, w]| Tracked::rms_norm(x, w, 1e-5),
            |[x, w]| plain::rms_norm(x, w, 1e-5),
        );
    }
}

#[test]
fn gate() {
    compare([[33, 70], [33, 70]], |[g, u]| Tracked::swiglu(g, u), |[g, u]| plain::swiglu(g, u));
}

#[test]
fn attention_over_ragged_sequences_grouped_heads_and_windows() {
    let shapes =
        [(4, 4, None), (4, 2, None), (6, 1, None), (4, 2, Some(1)), (2, 1, Some(70)), (2, 2, Some(500))];
    for (heads, kv_heads, window) in shapes {
        let spec = AttentionSpec {
            heads,
            kv_heads,
            head_dim: 8,
            segments: Segment::whole([5, 130, 1, 64]).into(),
            rope: rope(256),
            window,
        };
        compare(
            [[200, heads * 8], [200, kv_heads * 8], [200, kv_heads * 8]],
            |[q, k, v]| Tracked::causal_attention(q, k, v, &spec),
            |[q, k, v]| plain::attention(q, k, v, &spec),
        );
    }
}

#[test]
fn attention_of_the_last_positions_equals_that_of_the_whole() {
    let tensor = |seed| Tensor::<Flex, 2>::from_data(values(seed, 40, 16), &FlexDevice);
    for window in [None, Some(5)] {
        let spec = |segment: Segment| AttentionSpec {
            heads: 2,
            kv_heads: 2,
            head_dim: 8,
            segments: Arc::from([segment]),
            rope: rope(64),
            window,
        };
        let whole = Segment { q_start: 0, q_len: 40, k_start: 0, k_len: 40 };
        let last = Segment { q_start: 0, q_len: 3, k_start: 0, k_len: 40 };
        let all = Flex::causal_attention(tensor(1), tensor(2), tensor(3), &spec(whole)).narrow(0, 37, 3);
        let tail = Flex::causal_attention(tensor(1).narrow(0, 37, 3), tensor(2), tensor(3), &spec(last));
        for (a, b) in host(all).iter().zip(host(tail)) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}

#[test]
fn cross_entropy_on_labelled_rows_across_chunks() {
    let rows: Vec<u32> = (0..700).filter(|row| row % 7 != 3).collect();
    let targets: Vec<u32> = rows.iter().map(|row| (row * 13) % 90).collect();
    let weights: Vec<f32> = rows.iter().map(|row| 1e-3 * (1 + row % 5) as f32).collect();
    let labels = Labels { rows: rows.into(), targets: targets.into(), weights: weights.into() };
    compare(
        [[700, 24], [90, 24]],
        |[h, w]| Tracked::linear_cross_entropy(h, &w.into(), &labels).0,
        |[h, w]| plain::linear_cross_entropy(h, w, &labels),
    );
    let tensor = |seed, rows| Tensor::<Flex, 2>::from_data(values(seed, rows, 24), &FlexDevice);
    let fused = Flex::score_labels(tensor(1, 700), &tensor(2, 90).into(), &labels);
    let plain = plain::score_labels(tensor(1, 700), tensor(2, 90), &labels);
    let (loss, scores) = Flex::linear_cross_entropy(tensor(1, 700), &tensor(2, 90).into(), &labels);
    let by_plain = plain::linear_cross_entropy_gradients(tensor(1, 700), tensor(2, 90), &labels, false);
    let (scores, scores_by_plain) = (host(scores), host(by_plain.scores));
    for (index, (a, b)) in fused.iter().zip(&plain).enumerate() {
        assert!((a.loss - b.loss).abs() < 1e-5 && a.predicted == b.predicted);
        assert!((a.entropy - b.entropy).abs() < 1e-5);
        for scores in [&scores, &scores_by_plain] {
            assert!((scores[2 * index] - b.loss).abs() < 1e-5);
            assert!((scores[2 * index + 1] - b.entropy).abs() < 1e-5);
        }
    }
    let sum: f32 = plain.iter().zip(labels.weights.iter()).map(|(score, weight)| score.loss * weight).sum();
    assert!((host(loss)[0] - sum).abs() < 1e-4);
}
