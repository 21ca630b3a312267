//! What happens to whole columns: norms, biases, activations, the optimizer's step. One pass over memory each.

use rayon::prelude::*;

use crate::ops::{
    flex::simd::{exp, sigmoid, vectorised},
    image::{Activation, SgdStep},
};

/// Values per parallel task; fixed, so that results do not depend on the number of threads.
const BLOCK: usize = 1 << 14;

/// Values of as many whole rows as make a task.
fn block(columns: usize) -> usize {
    (BLOCK / columns.max(1)).max(1) * columns
}

/// Sum of each column.
pub fn sums(x: &[f32], columns: usize) -> Vec<f32> {
    let of_block = |x: &[f32]| {
        let mut sums = vec![0.0f32; columns];
        vectorised(
            #[inline(always)]
            || {
                for row in x.chunks_exact(columns) {
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            },
        );
        sums
    };
    total(x.par_chunks(block(columns)).map(of_block).collect(), columns)
}

/// Sums of blocks, put together in their order.
fn total(blocks: Vec<Vec<f32>>, columns: usize) -> Vec<f32> {
    let mut total = vec![0.0f64; columns];
    for block in &blocks {
        for (total, sum) in total.iter_mut().zip(block) {
            *total += f64::from(*sum);
        }
    }
    total.into_iter().map(|sum| sum as f32).collect()
}

/// Mean and variance (divided by the number of rows) of each column. A block's own mean is taken before its squares
/// are summed, and blocks are put together by Chan, Golub & LeVeque's formula (1979): no large squares are subtracted.
pub fn moments(x: &[f32], columns: usize) -> (Vec<f32>, Vec<f32>) {
    let of_block = |x: &[f32]| {
        let rows = (x.len() / columns) as f32;
        let (mut means, mut squares) = (vec![0.0f32; columns], vec![0.0f32; columns]);
        vectorised(
            #[inline(always)]
            || {
                for row in x.chunks_exact(columns) {
                    for (mean, value) in means.iter_mut().zip(row) {
                        *mean += value;
                    }
                }
                for mean in &mut means {
                    *mean /= rows;
                }
                for row in x.chunks_exact(columns) {
                    for ((square, mean), value) in squares.iter_mut().zip(&means).zip(row) {
                        *square += (value - mean) * (value - mean);
                    }
                }
            },
        );
        (rows, means, squares)
    };
    let blocks: Vec<_> = x.par_chunks(block(columns)).map(of_block).collect();
    let (mut rows, mut mean, mut square) = (0.0f64, vec![0.0f64; columns], vec![0.0f64; columns]);
    for (more, means, squares) in &blocks {
        let more = f64::from(*more);
        let all = rows + more;
        for column in 0..columns {
            let distance = f64::from(means[column]) - mean[column];
            mean[column] += distance * more / all;
            square[column] += f64::from(squares[column]) + distance * distance * rows * more / all;
        }
        rows = all;
    }
    let narrow = |values: Vec<f64>, divisor: f64| values.into_iter().map(|v| (v / divisor) as f32).collect();
    (narrow(mean, 1.0), narrow(square, rows.max(1.0)))
}

/// `activation(x · scale + shift + residual)`, factor and summand by column.
pub fn scaled(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    let block = block(scale.len());
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(block).zip(x.par_chunks(block)).enumerate().for_each(|(index, (out, x))| {
        let residual = residual.map(|residual| &residual[index * block..index * block + x.len()]);
        vectorised(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(scale.len()).zip(x.chunks_exact(scale.len())) {
                    for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                        *out = x * scale + shift;
                    }
                }
                if let Some(residual) = residual {
                    for (out, residual) in out.iter_mut().zip(residual) {
                        *out += residual;
                    }
                }
                activate(out, activation);
            },
        );
    });
    out
}

#[inline(always)]
fn activate(values: &mut [f32], activation: Activation) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => {
            for value in values {
                *value = if *value > 0.0 { *value } else { 0.0 };
            }
        }
        Activation::Silu => {
            for value in values {
                *value *= sigmoid(*value);
            }
        }
        Activation::Gelu => {
            for value in values {
                *value *= cumulative(*value);
            }
        }
    }
}

/// Distribution function of the standard normal distribution. The error function after Abramowitz & Stegun 7.1.26:
/// an absolute error under 1.5e-7.
#[inline(always)]
fn cumulative(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let p = ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t;
    let half = 0.5 * p * exp(-z * z);
    if x < 0.0 { half } else { 1.0 - half }
}

/// `dy · activation'(x · scale + shift)`.
pub fn through(x: &[f32], scale: &[f32], shift: &[f32], activation: Activation, dy: &[f32]) -> Vec<f32> {
    let columns = scale.len();
    let block = block(columns);
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(block).zip(x.par_chunks(block).zip(dy.par_chunks(block))).for_each(
        |(out, (x, dy))| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
                        for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                            *out = x * scale + shift;
                        }
                    }
                    match activation {
                        Activation::Identity => out.copy_from_slice(dy),
                        Activation::Relu => {
                            for (out, dy) in out.iter_mut().zip(dy) {
                                *out = if *out > 0.0 { *dy } else { 0.0 };
                            }
                        }
                        Activation::Silu => {
                            for (out, dy) in out.iter_mut().zip(dy) {
                                let s = sigmoid(*out);
                                *out = dy * s * (1.0 + *out * (1.0 - s));
                            }
                        }
                        Activation::Gelu => {
                            const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2π)
                            for (out, dy) in out.iter_mut().zip(dy) {
                                *out = dy * (cumulative(*out) + *out * DENSITY * exp(-0.5 * *out * *out));
                            }
                        }
                    }
                },
            );
        },
    );
    out
}

/// `dy` where `y` is above 0, else 0.
pub fn where_positive(y: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; y.len()];
    out.par_chunks_mut(BLOCK).zip(y.par_chunks(BLOCK).zip(dy.par_chunks(BLOCK))).for_each(
        |(out, (y, dy))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((out, y), dy) in out.iter_mut().zip(y).zip(dy) {
                        *out = if *y > 0.0 { *dy } else { 0.0 };
                    }
                },
            );
        },
    );
    out
}

/// Gradients of a norm.
pub struct NormBackward {
    pub dx: Vec<f32>,
    pub dweight: Vec<f32>,
    pub dbias: Vec<f32>,
}

/// Gradients of `(x − mean) · inverse · weight + bias` where mean and `inverse` deviation are those of `x`; `scale` is
/// `inverse · weight`.
pub fn norm_backward(x: &[f32], mean: &[f32], inverse: &[f32], scale: &[f32], dy: &[f32]) -> NormBackward {
    let columns = mean.len();
    let size = block(columns);
    let of_block = |(x, dy): (&[f32], &[f32])| {
        let (mut along, mut plain) = (vec![0.0f32; columns], vec![0.0f32; columns]);
        vectorised(
            #[inline(always)]
            || {
                for (x, dy) in x.chunks_exact(columns).zip(dy.chunks_exact(columns)) {
                    for (((along, mean), x), dy) in along.iter_mut().zip(mean).zip(x).zip(dy) {
                        *along += (x - mean) * dy;
                    }
                    for (plain, dy) in plain.iter_mut().zip(dy) {
                        *plain += dy;
                    }
                }
            },
        );
        (along, plain)
    };
    let blocks: Vec<_> = x.par_chunks(size).zip(dy.par_chunks(size)).map(of_block).collect();
    let (along, plain): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    let dbias = total(plain, columns);
    let dweight: Vec<f32> =
        total(along, columns).iter().zip(inverse).map(|(sum, inverse)| sum * inverse).collect();
    // dx = scale · (dy − mean of dy − normal · mean of dy · normal), as a line in dy and x by column.
    let rows = (x.len() / columns.max(1)) as f32;
    let slope: Vec<f32> = (0..columns).map(|c| -scale[c] * inverse[c] * dweight[c] / rows).collect();
    let shift: Vec<f32> = (0..columns).map(|c| -scale[c] * dbias[c] / rows - slope[c] * mean[c]).collect();
    let mut dx = vec![0.0; x.len()];
    dx.par_chunks_mut(size).zip(x.par_chunks(size).zip(dy.par_chunks(size))).for_each(|(dx, (x, dy))| {
        vectorised(
            #[inline(always)]
            || {
                let rows =
                    dx.chunks_exact_mut(columns).zip(x.chunks_exact(columns).zip(dy.chunks_exact(columns)));
                for (dx, (x, dy)) in rows {
                    let values = dx.iter_mut().zip(x).zip(dy).zip(scale.iter().zip(&slope).zip(&shift));
                    for (((dx, x), dy), ((scale, slope), shift)) in values {
                        *dx = scale * dy + slope * x + shift;
                    }
                }
            },
        );
    });
    NormBackward { dx, dweight, dbias }
}

/// See `ImageOps::sgd_step`.
pub fn sgd_step(
    value: &[f32],
    gradient: &[f32],
    velocity: Option<&[f32]>,
    step: SgdStep,
) -> (Vec<f32>, Vec<f32>) {
    let (mut values, mut velocities) = (value.to_vec(), gradient.to_vec());
    let outputs = values.par_chunks_mut(BLOCK).zip(velocities.par_chunks_mut(BLOCK));
    outputs.enumerate().for_each(|(index, (values, velocities))| {
        let old = velocity.map(|velocity| &velocity[index * BLOCK..index * BLOCK + values.len()]);
        vectorised(
            #[inline(always)]
            || {
                for (velocity, value) in velocities.iter_mut().zip(values.iter()) {
                    *velocity += step.decay * value;
                }
                if let Some(old) = old {
                    for (velocity, old) in velocities.iter_mut().zip(old) {
                        *velocity += step.momentum * old;
                    }
                }
                for (velocity, value) in velocities.iter().zip(values) {
                    *value -= step.rate * velocity;
                }
            },
        );
    });
    (values, velocities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_that_of_tables() {
        // Φ(0), Φ(1), Φ(1.96), Φ(−2), Φ(3)
        let table =
            [(0.0, 0.5), (1.0, 0.841_344_7), (1.96, 0.975_002_1), (-2.0, 0.022_750_13), (3.0, 0.998_650_1)];
        for (x, expected) in table {
            assert!((cumulative(x) - expected).abs() < 3e-7, "Φ({x}) = {}", cumulative(x));
        }
    }

    #[test]
    fn moments_of_large_values_with_little_spread_keep_their_variance() {
        let x: Vec<f32> = (0..40_000).map(|i| 1000.0 + (i % 2) as f32).collect();
        let (mean, variance) = moments(&x, 1);
        assert!(
            (mean[0] - 1000.5).abs() < 1e-3 && (variance[0] - 0.25).abs() < 1e-4,
            "{mean:?} {variance:?}"
        );
    }
}
