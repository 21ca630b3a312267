//! Causal rotary attention, one task per segment and key head; the probabilities are computed again in the
//! backward pass, a block of query rows at a time, and never above the diagonal's block.

use rayon::prelude::*;

use super::{
    matmul::{Matrix, matmul_local},
    simd::{exponentiate, max, sum, vectorised},
};
use crate::ops::{AttentionSpec, Rope, Segment};

/// Query rows whose scores exist at once: enough of them to pay for laying out the keys, few enough for the caches.
const QUERY_BLOCK: usize = 128;

/// See `Ops::causal_attention`.
pub fn forward(q: &[f32], k: &[f32], v: &[f32], spec: &AttentionSpec) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = tasks(spec).into_par_iter().map(|task| task.forward(q, k, v, spec)).collect();
    let group = spec.heads / spec.kv_heads * spec.head_dim;
    assemble(spec, &parts, spec.heads * spec.head_dim, group, |segment| (segment.q_start, segment.q_len))
}

/// See `Ops::causal_attention_backward`.
pub fn backward(q: &[f32], k: &[f32], v: &[f32], spec: &AttentionSpec, dy: &[f32]) -> [Vec<f32>; 3] {
    let parts: Vec<[Vec<f32>; 3]> =
        tasks(spec).into_par_iter().map(|task| task.backward(q, k, v, spec, dy)).collect();
    let [mut dq, mut dk, mut dv] = [Vec::new(), Vec::new(), Vec::new()];
    for [a, b, c] in parts {
        dq.push(a);
        dk.push(b);
        dv.push(c);
    }
    let (width, kv_width) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
    let group = width / spec.kv_heads;
    let queries = |segment: &Segment| (segment.q_start, segment.q_len);
    let keys = |segment: &Segment| (segment.k_start, segment.k_len);
    [
        assemble(spec, &dq, width, group, queries),
        assemble(spec, &dk, kv_width, spec.head_dim, keys),
        assemble(spec, &dv, kv_width, spec.head_dim, keys),
    ]
}

/// One segment and one key head with its group of query heads.
struct Task {
    segment: Segment,
    kv_head: usize,
}

/// Consecutive query rows of a task, and the keys that any of them sees.
#[derive(Clone, Copy)]
struct Block {
    /// First query row in the segment.
    start: usize,
    rows: usize,
    /// First key in the segment.
    first_key: usize,
    keys: usize,
    /// How many of the last positions a query sees.
    window: usize,
}

fn tasks(spec: &AttentionSpec) -> Vec<Task> {
    let heads = 0..spec.kv_heads;
    let of_segment = |segment: &Segment| {
        let segment = *segment;
        heads.clone().map(move |kv_head| Task { segment, kv_head })
    };
    spec.segments.iter().flat_map(of_segment).collect()
}

/// Puts the tasks' columns side by side into rows of `width`.
fn assemble(
    spec: &AttentionSpec,
    parts: &[Vec<f32>],
    width: usize,
    columns: usize,
    range: impl Fn(&Segment) -> (usize, usize),
) -> Vec<f32> {
    let total = spec.segments.iter().map(|segment| range(segment).0 + range(segment).1).max().unwrap_or(0);
    let mut out = vec![0.0; total * width];
    for (segment, parts) in spec.segments.iter().zip(parts.chunks(spec.kv_heads)) {
        let (start, len) = range(segment);
        out[start * width..(start + len) * width].par_chunks_mut(width).enumerate().for_each(|(row, out)| {
            for (out, part) in out.chunks_mut(columns).zip(parts) {
                out.copy_from_slice(&part[row * columns..(row + 1) * columns]);
            }
        });
    }
    out
}

impl Task {
    fn forward(&self, q: &[f32], k: &[f32], v: &[f32], spec: &AttentionSpec) -> Vec<f32> {
        let (d, Segment { q_len, k_len, .. }) = (spec.head_dim, self.segment);
        let group = spec.heads / spec.kv_heads;
        let keys = self.rotated_keys(k, spec);
        let (keys, values) = (Matrix::new(&keys, k_len, d), self.values(v, spec));
        let mut out = vec![0.0; q_len * group * d];
        let mut scores = vec![0.0; QUERY_BLOCK.min(q_len) * k_len];
        let mut inverse_sums = [0.0; QUERY_BLOCK];
        for head in 0..group {
            let queries = self.rotated_queries(q, spec, head);
            let queries = Matrix::new(&queries, q_len, d);
            for block in self.blocks(spec.window) {
                let keys = keys.row_range(block.first_key, block.keys);
                let queries = queries.row_range(block.start, block.rows);
                self.exponentials(&mut scores, &mut inverse_sums, queries, keys, block);
                let p = Matrix::new(&scores, block.rows, block.keys);
                let out = &mut out[block.start * group * d + head * d..];
                matmul_local(out, group * d, p, values.row_range(block.first_key, block.keys), 1.0, false);
                scale_rows(out, group * d, d, &inverse_sums[..block.rows]);
            }
        }
        out
    }

    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], spec: &AttentionSpec, dy: &[f32]) -> [Vec<f32>; 3] {
        let (d, Segment { q_start, q_len, k_len, .. }) = (spec.head_dim, self.segment);
        let (group, width) = (spec.heads / spec.kv_heads, spec.heads * spec.head_dim);
        let keys = self.rotated_keys(k, spec);
        let (keys, values) = (Matrix::new(&keys, k_len, d), self.values(v, spec));
        let (mut dq, mut dk, mut dv) =
            (vec![0.0; q_len * group * d], vec![0.0; k_len * d], vec![0.0; k_len * d]);
        let block = QUERY_BLOCK.min(q_len) * k_len;
        let (mut scores, mut dscores) = (vec![0.0; block], vec![0.0; block]);
        let (mut inverse_sums, mut scaled_dy) = ([0.0; QUERY_BLOCK], vec![0.0; QUERY_BLOCK * d]);
        for head in 0..group {
            let queries = self.rotated_queries(q, spec, head);
            let queries = Matrix::new(&queries, q_len, d);
            let column = (self.kv_head * group + head) * d;
            let dy = Matrix::strided(&dy[q_start * width + column..], q_len, d, width);
            for block in self.blocks(spec.window) {
                let Block { start, rows, first_key, keys: reach, .. } = block;
                let (queries, dy) = (queries.row_range(start, rows), dy.row_range(start, rows));
                let (keys, values) = (keys.row_range(first_key, reach), values.row_range(first_key, reach));
                self.exponentials(&mut scores, &mut inverse_sums, queries, keys, block);
                let inverse_sums = &inverse_sums[..rows];
                for (row, scaled) in scaled_dy.chunks_exact_mut(d).take(rows).enumerate() {
                    scaled.copy_from_slice(dy.row(row));
                }
                scale_rows(&mut scaled_dy, d, d, inverse_sums);
                let (e, scaled_dy) = (Matrix::new(&scores, rows, reach), Matrix::new(&scaled_dy, rows, d));
                matmul_local(&mut dv[first_key * d..], d, e.transposed(), scaled_dy, 1.0, true);
                matmul_local(&mut dscores, reach, dy, values.transposed(), 1.0, false);
                softmax_backward(&scores, &mut dscores, inverse_sums, reach, spec.head_dim);
                let ds = Matrix::new(&dscores, rows, reach);
                let dq = &mut dq[start * group * d + head * d..];
                matmul_local(dq, group * d, ds, keys, 1.0, false);
                matmul_local(&mut dk[first_key * d..], d, ds.transposed(), queries, 1.0, true);
            }
        }
        let first = self.first_query_position();
        dq.chunks_exact_mut(group * d).enumerate().for_each(|(row, dq)| {
            dq.chunks_exact_mut(d).for_each(|head| rotate(head, &spec.rope, first + row, true));
        });
        dk.chunks_exact_mut(d).enumerate().for_each(|(row, head)| rotate(head, &spec.rope, row, true));
        [dq, dk, dv]
    }

    /// Position of the segment's first query in its sequence.
    fn first_query_position(&self) -> usize {
        self.segment.k_len - self.segment.q_len
    }

    /// Blocks of query rows with the keys that any of them sees.
    fn blocks(&self, window: Option<usize>) -> impl Iterator<Item = Block> + use<> {
        let (q_len, first) = (self.segment.q_len, self.first_query_position());
        (0..q_len).step_by(QUERY_BLOCK).map(move |start| {
            let rows = QUERY_BLOCK.min(q_len - start);
            let window = window.unwrap_or(usize::MAX);
            let first_key = (first + start + 1).saturating_sub(window);
            Block { start, rows, first_key, keys: first + start + rows - first_key, window }
        })
    }

    /// Exponentials of the scaled scores of a block of queries, zero where a query must not look, and the inverse of
    /// their sum by row: softmax before it is normalised, which costs a pass less where a product follows.
    fn exponentials(
        &self,
        scores: &mut [f32],
        inverse_sums: &mut [f32],
        queries: Matrix,
        keys: Matrix,
        block: Block,
    ) {
        let scale = 1.0 / (keys.columns as f32).sqrt();
        matmul_local(scores, block.keys, queries, keys.transposed(), scale, false);
        let first = self.first_query_position() + block.start;
        vectorised(
            #[inline(always)]
            || {
                let rows = scores.chunks_exact_mut(block.keys).take(block.rows).zip(inverse_sums);
                for (row, (scores, inverse_sum)) in rows.enumerate() {
                    let (past, hidden) = scores.split_at_mut(first + row + 1 - block.first_key);
                    let (forgotten, seen) = past.split_at_mut(past.len().saturating_sub(block.window));
                    *inverse_sum = 1.0 / exponentiate(seen, max(seen));
                    forgotten.fill(0.0);
                    hidden.fill(0.0);
                }
            },
        );
    }

    fn rotated_keys(&self, k: &[f32], spec: &AttentionSpec) -> Vec<f32> {
        let Segment { k_start, k_len, .. } = self.segment;
        self.rotated(k, spec, (k_start, k_len), spec.kv_heads, self.kv_head, 0)
    }

    fn rotated_queries(&self, q: &[f32], spec: &AttentionSpec, head: usize) -> Vec<f32> {
        let Segment { q_start, q_len, .. } = self.segment;
        let head = self.kv_head * (spec.heads / spec.kv_heads) + head;
        self.rotated(q, spec, (q_start, q_len), spec.heads, head, self.first_query_position())
    }

    /// The rows of one head as a contiguous matrix, rotated from position `first` on.
    #[allow(clippy::unused_self)] // reads as a property of the task
    fn rotated(
        &self,
        x: &[f32],
        spec: &AttentionSpec,
        (start, len): (usize, usize),
        heads: usize,
        head: usize,
        first: usize,
    ) -> Vec<f32> {
        let (d, width) = (spec.head_dim, heads * spec.head_dim);
        let mut out = Vec::with_capacity(len * d);
        for row in 0..len {
            let from = (start + row) * width + head * d;
            out.extend_from_slice(&x[from..from + d]);
            rotate(&mut out[row * d..], &spec.rope, first + row, false);
        }
        out
    }

    fn values<'a>(&self, v: &'a [f32], spec: &AttentionSpec) -> Matrix<'a> {
        let (d, width) = (spec.head_dim, spec.kv_heads * spec.head_dim);
        let from = self.segment.k_start * width + self.kv_head * d;
        Matrix::strided(&v[from..], self.segment.k_len, d, width)
    }
}

/// Rotates one head by `position`; backwards for gradients.
fn rotate(head: &mut [f32], rope: &Rope, position: usize, inverse: bool) {
    let (cos, sin) = rope.at(position);
    let sign = if inverse { -1.0 } else { 1.0 };
    let (first, second) = head.split_at_mut(cos.len());
    for i in 0..cos.len() {
        let (a, b, s) = (first[i], second[i], sin[i] * sign);
        first[i] = a * cos[i] - b * s;
        second[i] = b * cos[i] + a * s;
    }
}

/// Multiplies each of the rows, `columns` long and `row_stride` apart, by its factor.
fn scale_rows(values: &mut [f32], row_stride: usize, columns: usize, factors: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (row, factor) in values.chunks_mut(row_stride).zip(factors) {
                for value in &mut row[..columns] {
                    *value *= factor;
                }
            }
        },
    );
}

/// `dscores = p · (dp − Σ p·dp) / sqrt(head_dim)` by row, in place of `dp`, with `p = exponentials · inverse sum`.
fn softmax_backward(
    exponentials: &[f32],
    dp: &mut [f32],
    inverse_sums: &[f32],
    columns: usize,
    head_dim: usize,
) {
    let scale = 1.0 / (head_dim as f32).sqrt();
    vectorised(
        #[inline(always)]
        || {
            let rows = exponentials.chunks_exact(columns).zip(dp.chunks_exact_mut(columns)).zip(inverse_sums);
            for ((e, dp), inverse_sum) in rows {
                let mean = sum(columns, |i| e[i] * dp[i]) * inverse_sum;
                let factor = inverse_sum * scale;
                for (dp, e) in dp.iter_mut().zip(e) {
                    *dp = e * (*dp - mean) * factor;
                }
            }
        },
    );
}
