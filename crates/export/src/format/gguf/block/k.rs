//! Blocks of 256 values in parts of 32 or 16, whose scales are packed in turn ("K-quants").

use super::{
    affine::{Affine, fit_affine, fit_scale, nearest},
    legacy::{half, put_half},
};

/// How much wider than plain a part's scale may be.
pub(super) const SLACK: f64 = 1.25;
/// Values of a part of Q4_K and Q5_K.
const PART: usize = 32;
/// The most that the six bits of a scale hold.
const MOST_SCALE: f32 = 63.0;

/// Q4_K: the scale of the scales, the scale of the offsets, twelve bytes with scales and offsets of eight parts, then the
/// values in 128 bytes. Of each 32 bytes the low four bits are one part and the high four bits are the next part.
pub(super) fn encode_q4_k(values: &[f32], bytes: &mut [u8]) {
    let maps = put_maps(values, 15.0, bytes);
    for (pair, packed) in bytes[16..].chunks_exact_mut(PART).enumerate() {
        for (index, byte) in packed.iter_mut().enumerate() {
            let step = |part: usize| nearest(values[part * PART + index], maps[part], 15.0) as u8;
            *byte = step(2 * pair) | step(2 * pair + 1) << 4;
        }
    }
}

pub(super) fn decode_q4_k(bytes: &[u8], values: &mut [f32]) {
    for (part, values) in values.chunks_exact_mut(PART).enumerate() {
        let map = map_of(bytes, part);
        for (value, byte) in values.iter_mut().zip(&bytes[16 + part / 2 * PART..]) {
            *value = map.scale * f32::from(four_bits(*byte, part)) - map.minus;
        }
    }
}

/// Q5_K: as Q4_K, with 32 bytes of fifth bits before the rest: bit `p` of byte `i` belongs to value `i` of part `p`.
pub(super) fn encode_q5_k(values: &[f32], bytes: &mut [u8]) {
    let maps = put_maps(values, 31.0, bytes);
    let (fifth, four) = bytes[16..].split_at_mut(PART);
    fifth.fill(0);
    for (pair, packed) in four.chunks_exact_mut(PART).enumerate() {
        for (index, byte) in packed.iter_mut().enumerate() {
            let step = |part: usize| nearest(values[part * PART + index], maps[part], 31.0) as u8;
            let (low, high) = (step(2 * pair), step(2 * pair + 1));
            *byte = (low & 15) | (high & 15) << 4;
            fifth[index] |= (low >> 4) << (2 * pair) | (high >> 4) << (2 * pair + 1);
        }
    }
}

pub(super) fn decode_q5_k(bytes: &[u8], values: &mut [f32]) {
    let (fifth, four) = bytes[16..].split_at(PART);
    for (part, values) in values.chunks_exact_mut(PART).enumerate() {
        let map = map_of(bytes, part);
        for (index, value) in values.iter_mut().enumerate() {
            let step = four_bits(four[part / 2 * PART + index], part) | (fifth[index] >> part & 1) << 4;
            *value = map.scale * f32::from(step) - map.minus;
        }
    }
}

/// Q6_K: 128 bytes of low four bits, 64 of high two bits, sixteen signed scales, the scale of scales. In each half of
/// the values, those at `i`, `i + 32`, `i + 64` and `i + 96` share their bytes; 32 stands for 0.
pub(super) fn encode_q6_k(values: &[f32], bytes: &mut [u8]) {
    let scales: Vec<f32> = values.chunks_exact(16).map(fit_scale).collect();
    let widest =
        scales.iter().fold(0f32, |widest, scale| if scale.abs() > widest.abs() { *scale } else { widest });
    let unit = put_half(bytes, 208, widest / -128.0);
    for (byte, scale) in bytes[192..208].iter_mut().zip(&scales) {
        let units = if unit == 0.0 { 0.0 } else { (scale / unit).round().clamp(-128.0, 127.0) };
        *byte = (units as i8).cast_unsigned();
    }
    let (low, rest) = bytes.split_at_mut(128);
    let (high, scales) = rest.split_at_mut(64);
    let step = |index: usize| {
        let scale = unit * f32::from(scales[index / 16].cast_signed());
        let step = if scale == 0.0 { 0.0 } else { (values[index] / scale).round().clamp(-32.0, 31.0) };
        (step as i8 + 32).cast_unsigned()
    };
    for side in 0..2 {
        for index in 0..32 {
            let steps = [0, 32, 64, 96].map(|offset| step(128 * side + index + offset));
            low[64 * side + index] = (steps[0] & 15) | (steps[2] & 15) << 4;
            low[64 * side + index + 32] = (steps[1] & 15) | (steps[3] & 15) << 4;
            high[32 * side + index] =
                steps[0] >> 4 | (steps[1] >> 4) << 2 | (steps[2] >> 4) << 4 | (steps[3] >> 4) << 6;
        }
    }
}

pub(super) fn decode_q6_k(bytes: &[u8], values: &mut [f32]) {
    let unit = half(bytes, 208);
    for (index, value) in values.iter_mut().enumerate() {
        let (side, within) = (index / 128, index % 128);
        let (quarter, at) = (within / 32, within % 32);
        let low = bytes[64 * side + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15;
        let high = bytes[128 + 32 * side + at] >> (2 * quarter) & 3;
        let scale = f32::from(bytes[192 + index / 16].cast_signed());
        *value = unit * scale * (f32::from(low | high << 4) - 32.0);
    }
}

/// The most by which Q4_K (15 steps) or Q5_K (31) may change a value of `block`: a step of the widest part, and what
/// packing scale and offset into six bits adds.
pub(super) fn largest_error_affine(block: &[f32], most: f64) -> f64 {
    let (mut widest, mut deepest) = (0f64, 0f64);
    for part in block.chunks(PART) {
        let (low, high) = super::extremes(part);
        widest = widest.max(high - low.min(0.0));
        deepest = deepest.max(-low);
    }
    let half_a_scale = SLACK / (2.0 * f64::from(MOST_SCALE));
    widest / most + half_a_scale * (widest + deepest)
}

/// Fits all parts, writes their scales and offsets and returns the maps as they will be read.
fn put_maps(values: &[f32], most: f32, bytes: &mut [u8]) -> [Affine; 8] {
    let mut maps = [Affine { scale: 0.0, minus: 0.0 }; 8];
    for (map, part) in maps.iter_mut().zip(values.chunks_exact(PART)) {
        *map = fit_affine(part, most);
    }
    let largest = |of: fn(&Affine) -> f32| maps.iter().map(of).fold(0f32, f32::max) / MOST_SCALE;
    let unit = put_half(bytes, 0, largest(|map| map.scale));
    let offset_unit = put_half(bytes, 2, largest(|map| map.minus));
    let packed = |value: f32, unit: f32| {
        if unit == 0.0 { 0 } else { (value / unit).round().clamp(0.0, MOST_SCALE) as u8 }
    };
    let six_bits = maps.map(|map| (packed(map.scale, unit), packed(map.minus, offset_unit)));
    put_six_bits(&six_bits, &mut bytes[4..16]);
    std::array::from_fn(|part| map_of(bytes, part))
}

/// Eight pairs of six bits in twelve bytes: the first four pairs whole in bytes 0–3 and 4–7; of the others the low
/// four bits in bytes 8–11 and the high two bits above the first.
fn put_six_bits(pairs: &[(u8, u8); 8], bytes: &mut [u8]) {
    for part in 0..4 {
        let ((scale, minus), (later_scale, later_minus)) = (pairs[part], pairs[part + 4]);
        bytes[part] = scale | (later_scale >> 4) << 6;
        bytes[part + 4] = minus | (later_minus >> 4) << 6;
        bytes[part + 8] = (later_scale & 15) | (later_minus & 15) << 4;
    }
}

fn map_of(bytes: &[u8], part: usize) -> Affine {
    let packed = &bytes[4..16];
    let (scale, minus) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let low = packed[part + 4];
        ((low & 15) | (packed[part - 4] >> 6) << 4, (low >> 4) | (packed[part] >> 6) << 4)
    };
    Affine { scale: half(bytes, 0) * f32::from(scale), minus: half(bytes, 2) * f32::from(minus) }
}

fn four_bits(byte: u8, part: usize) -> u8 {
    if part.is_multiple_of(2) { byte & 15 } else { byte >> 4 }
}
