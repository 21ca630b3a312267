//! The scale of a few values: the one that loses least where the values are large.
//!
//! Both searches try some step widths around the plain one, which spans all values. For each they round, then solve for
//! the scale (and offset) of the smallest weighted squared error. What would move any value by more than a plain
//! step, or stretch the scale by more than [`SLACK`], is not taken: the error of each value stays bounded.

use super::k::SLACK;

/// A scale and an offset: values are `scale · step - minus`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: f32,
    /// Not negative.
    pub(super) minus: f32,
}

/// The affine map from whole steps 0 to `most` to `values`.
pub(super) fn fit_affine(values: &[f32], most: f32) -> Affine {
    let low = values.iter().fold(0f32, |low, value| low.min(*value));
    let high = values.iter().fold(f32::NEG_INFINITY, |high, value| high.max(*value));
    let plain = Affine { scale: (high - low) / most, minus: -low };
    if plain.scale <= 0.0 || !plain.scale.is_finite() {
        return Affine { scale: 0.0, minus: -low };
    }
    let mean_square = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
    let weight = |value: f32| mean_square.sqrt() + value.abs();
    // Weighted squared error; `None` when a value is off by more than a plain step.
    let error = |map: Affine| -> Option<f32> {
        values.iter().try_fold(0.0, |sum, value| {
            let off = map.scale * nearest(*value, map, most) - map.minus - value;
            (off.abs() <= plain.scale).then_some(sum + weight(*value) * off * off)
        })
    };
    let mut best = (plain, error(plain).unwrap_or(f32::INFINITY));
    for tenth in 0..=20 {
        let steps_per_value = (most - 1.0 + 0.1 * tenth as f32) / (high - low);
        let step = |value: f32| (steps_per_value * (value - low)).round().clamp(0.0, most);
        let map = least_squares(values, &weight, &step);
        let bounded = map.scale > 0.0
            && map.scale <= SLACK as f32 * plain.scale
            && map.minus <= SLACK as f32 * plain.minus;
        if bounded
            && let Some(error) = error(map)
            && error < best.1
        {
            best = (map, error);
        }
    }
    best.0
}

/// The step from 0 to `most` that is nearest to `value`.
pub(super) fn nearest(value: f32, map: Affine, most: f32) -> f32 {
    if map.scale == 0.0 { 0.0 } else { ((value + map.minus) / map.scale).round().clamp(0.0, most) }
}

/// The map of the smallest weighted squared error for these steps, its offset not above zero.
fn least_squares(values: &[f32], weight: &impl Fn(f32) -> f32, step: &impl Fn(f32) -> f32) -> Affine {
    let [mut weights, mut xs, mut qs, mut qqs, mut xqs] = [0f32; 5];
    for value in values {
        let (w, q) = (weight(*value), step(*value));
        weights += w;
        xs += w * value;
        qs += w * q;
        qqs += w * q * q;
        xqs += w * value * q;
    }
    let determinant = weights * qqs - qs * qs;
    let (scale, offset) = if determinant > 0.0 {
        ((weights * xqs - xs * qs) / determinant, (qqs * xs - qs * xqs) / determinant)
    } else {
        (0.0, 0.0)
    };
    if offset > 0.0 {
        return Affine { scale: if qqs > 0.0 { xqs / qqs } else { 0.0 }, minus: 0.0 };
    }
    Affine { scale, minus: -offset }
}

/// The scale from whole steps -32 to 31 to `values`; negative when the largest value is positive.
pub(super) fn fit_scale(values: &[f32]) -> f32 {
    let largest =
        values.iter().fold(0f32, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
    let plain = largest / -32.0;
    if plain == 0.0 || !plain.is_finite() {
        return 0.0;
    }
    let step = |value: f32, steps_per_value: f32| (steps_per_value * value).round().clamp(-32.0, 31.0);
    let error = |scale: f32| -> Option<f32> {
        values.iter().try_fold(0.0, |sum, value| {
            let off = scale * step(*value, 1.0 / scale) - value;
            (off.abs() <= plain.abs() * 1.000_001).then_some(sum + value * value * off * off)
        })
    };
    let mut best = (plain, error(plain).unwrap_or(f32::INFINITY));
    for tenth in -9..=9 {
        let steps_per_value = -(32.0 + 0.1 * tenth as f32) / largest;
        let (mut xqs, mut qqs) = (0f32, 0f32);
        for value in values {
            let (w, q) = (value * value, step(*value, steps_per_value));
            xqs += w * value * q;
            qqs += w * q * q;
        }
        let scale = if qqs > 0.0 { xqs / qqs } else { continue };
        if scale != 0.0
            && scale.abs() <= SLACK as f32 * plain.abs()
            && let Some(error) = error(scale)
            && error < best.1
        {
            best = (scale, error);
        }
    }
    best.0
}
