//! Norms, gates and dropout: one pass over memory each.

use rayon::prelude::*;

use super::simd::{exp, sigmoid, sum, vectorised};
use crate::ops::Dropout;

/// Values per parallel task; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 1 << 14;

/// `silu(gate) · up`.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; gate.len()];
    let inputs = gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK));
    out.par_chunks_mut(BLOCK).zip(inputs).for_each(|(out, (gate, up))| {
        vectorised(
            #[inline(always)]
            || {
                for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
                    *out = g * u / (1.0 + exp(-g));
                }
            },
        );
    });
    out
}

/// Gradients of [`swiglu`].
pub fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
    let inputs = gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK)).zip(dy.par_chunks(BLOCK));
    let outputs = dgate.par_chunks_mut(BLOCK).zip(dup.par_chunks_mut(BLOCK));
    outputs.zip(inputs).for_each(|((dgate, dup), ((gate, up), dy))| {
        vectorised(
            #[inline(always)]
            || {
                let inputs = gate.iter().zip(up).zip(dy);
                for ((dg, du), ((g, u), d)) in dgate.iter_mut().zip(dup.iter_mut()).zip(inputs) {
                    let s = sigmoid(*g);
                    *dg = d * u * s * (1.0 + g * (1.0 - s));
                    *du = d * g * s;
                }
            },
        );
    });
    (dgate, dup)
}

/// Rows per parallel task, for rows of `columns` values.
fn rows_per_task(columns: usize) -> usize {
    (BLOCK / columns.max(1)).max(1)
}

/// `x / sqrt(mean(x²) + eps) · weight` by row.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let columns = weight.len();
    let block = rows_per_task(columns) * columns;
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
                    let inverse = inverse_rms(x, eps);
                    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
                        *out = x * inverse * w;
                    }
                }
            },
        );
    });
    out
}

/// Gradient of [`rms_norm`] to `x`.
pub fn rms_norm_dx(x: &[f32], weight: &[f32], eps: f32, dy: &[f32]) -> Vec<f32> {
    let columns = weight.len();
    let block = rows_per_task(columns) * columns;
    let mut dx = vec![0.0; x.len()];
    let inputs = x.par_chunks(block).zip(dy.par_chunks(block));
    dx.par_chunks_mut(block).zip(inputs).for_each(|(dx, (x, dy))| {
        vectorised(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
                for (dx, (x, dy)) in dx.chunks_exact_mut(columns).zip(rows) {
                    let inverse = inverse_rms(x, eps);
                    let dot = sum(columns, |i| dy[i] * weight[i] * x[i]);
                    let factor = dot * inverse * inverse / columns as f32;
                    for i in 0..columns {
                        dx[i] = inverse * (dy[i] * weight[i] - x[i] * factor);
                    }
                }
            },
        );
    });
    dx
}

/// Gradient of [`rms_norm`] to the weight.
pub fn rms_norm_dweight(x: &[f32], columns: usize, eps: f32, dy: &[f32]) -> Vec<f32> {
    let mut dweight = vec![0.0; columns];
    vectorised(
        #[inline(always)]
        || {
            for (x, dy) in x.chunks_exact(columns).zip(dy.chunks_exact(columns)) {
                let inverse = inverse_rms(x, eps);
                for ((dw, x), dy) in dweight.iter_mut().zip(x).zip(dy) {
                    *dw += dy * x * inverse;
                }
            }
        },
    );
    dweight
}

#[inline(always)]
fn inverse_rms(row: &[f32], eps: f32) -> f32 {
    let mean = sum(row.len(), |i| row[i] * row[i]) / row.len() as f32;
    1.0 / (mean + eps).sqrt()
}

/// `x` with dropout applied.
pub fn dropped(x: &[f32], dropout: Dropout) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    add_dropped(&mut out, x, dropout);
    out
}

/// `out += dropout(x)`.
pub fn add_dropped(out: &mut [f32], x: &[f32], dropout: Dropout) {
    out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).enumerate().for_each(|(block, (out, x))| {
        vectorised(
            #[inline(always)]
            || {
                for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
                    *out += x * dropout.factor(block * BLOCK + i);
                }
            },
        );
    });
}
