//! Loops vectorised by the compiler for the processor at hand, chosen at run time (pulp).

use pulp::{Arch, Simd, WithSimd};

/// Runs `kernel` with the widest vector instructions that this processor has.
///
/// The closure must be `#[inline(always)]`: one that the compiler does not inline into the dispatched function is
/// compiled for the oldest processor, scalar, and runs several times slower.
#[inline]
pub fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    struct Kernel<F>(F);
    impl<R, F: FnOnce() -> R> WithSimd for Kernel<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Kernel(kernel))
}

/// e^x with a relative error under 2e-7, without branches, so that loops over it are vectorised.
/// Range reduction and polynomial after Cephes' `expf` (Moshier).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = x - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    y * f32::from_bits(exponent)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

const LANES: usize = 16;

/// Sum of `term(i)` over `0..length`, in sixteen interleaved partial sums: vectorised, and in a fixed order.
#[inline(always)]
pub fn sum(length: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = length / LANES * LANES;
    let mut start = 0;
    while start < whole {
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value += term(start + lane);
        }
        start += LANES;
    }
    let rest: f32 = (whole..length).map(&term).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Sum of `a[i] · value(b[i])`, in partial sums of a fixed order: enough of them that additions do not wait for each other.
#[inline(always)]
pub fn dot<T: Copy>(a: &[f32], b: &[T], value: impl Fn(T) -> f32) -> f32 {
    const WIDE: usize = 4 * LANES;
    let mut lanes = [0.0f32; WIDE];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<WIDE>(), b.as_chunks::<WIDE>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..WIDE {
            lanes[lane] += a[lane] * value(b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * value(*b)).sum();
    let mut sums = [0.0f32; LANES];
    for part in lanes.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += part[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Replaces each value by `e^(value − shift)`; their sum, in the order of [`sum`].
#[inline(always)]
pub fn exponentiate(values: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = exp(*value - shift);
            *lane += *value;
        }
    }
    let mut total = 0.0;
    for value in rest {
        *value = exp(*value - shift);
        total += *value;
    }
    lanes.iter().sum::<f32>() + total
}

/// Replaces each value by `e^(value − shift)`; their sum, and the mean of `value − shift` that they are the weights of.
#[inline(always)]
pub fn exponentiate_with_mean(values: &mut [f32], shift: f32) -> (f32, f32) {
    let (mut totals, mut weighted) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            let distance = chunk[lane] - shift;
            let power = exp(distance);
            chunk[lane] = power;
            totals[lane] += power;
            weighted[lane] += distance.max(-88.0) * power;
        }
    }
    for (lane, value) in rest.iter_mut().enumerate() {
        let distance = *value - shift;
        *value = exp(distance);
        totals[lane] += *value;
        weighted[lane] += distance.max(-88.0) * *value;
    }
    let total = totals.iter().sum::<f32>();
    (total, weighted.iter().sum::<f32>() / total)
}

/// Largest of `values`.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0;
            let (mine, library) = (exp(x), x.exp());
            assert!((mine - library).abs() <= 3e-7 * library, "exp({x}) = {mine}, not {library}");
        }
        assert!(exp(-1e30) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn sums_and_maxima_cover_every_length() {
        for length in 0..70 {
            let values: Vec<f32> = (0..length).map(|i| ((i * 37) % 11) as f32).collect();
            assert!((sum(length, |i| values[i]) - values.iter().sum::<f32>()).abs() < 1e-3);
            assert!(
                (dot(&values, &values, |value| value) - values.iter().map(|v| v * v).sum::<f32>()).abs()
                    < 1e-2
            );
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&values).to_bits(), largest.to_bits());
        }
    }
}
