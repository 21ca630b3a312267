//! Blocks of 32 values with one scale in half precision, as ggml packs them, bit for bit.

use half::f16;

/// Q4_0: scale, then 16 bytes with value `i` in the low and value `i + 16` in the high four bits; 8 stands for 0. The
/// value of the largest magnitude is the lowest step.
pub(super) fn encode_q4_0(values: &[f32], bytes: &mut [u8]) {
    let scale = largest(values) / -8.0;
    put_half(bytes, 0, scale);
    let step = |value: f32| steps_up(value * inverse(scale) + 8.5, 15);
    let (low, high) = values.split_at(16);
    for ((byte, low), high) in bytes[2..].iter_mut().zip(low).zip(high) {
        *byte = step(*low) | step(*high) << 4;
    }
}

pub(super) fn decode_q4_0(bytes: &[u8], values: &mut [f32]) {
    let scale = half(bytes, 0);
    let (low, high) = values.split_at_mut(16);
    for ((byte, low), high) in bytes[2..].iter().zip(low).zip(high) {
        *low = scale * (f32::from(byte & 15) - 8.0);
        *high = scale * (f32::from(byte >> 4) - 8.0);
    }
}

/// Q5_0: scale, 32 fifth bits, then as Q4_0; 16 stands for 0.
pub(super) fn encode_q5_0(values: &[f32], bytes: &mut [u8]) {
    let scale = largest(values) / -16.0;
    put_half(bytes, 0, scale);
    put_five_bits(values, &mut bytes[2..], |value| steps_up(value * inverse(scale) + 16.5, 31));
}

pub(super) fn decode_q5_0(bytes: &[u8], values: &mut [f32]) {
    let scale = half(bytes, 0);
    five_bits(&bytes[2..], values, |step| scale * (f32::from(step) - 16.0));
}

/// Q5_1: scale, smallest value, 32 fifth bits, then the four low bits as in Q4_0.
pub(super) fn encode_q5_1(values: &[f32], bytes: &mut [u8]) {
    let (low, high) = super::extremes(values);
    let (low, high) = (low as f32, high as f32);
    let scale = (high - low) / 31.0;
    put_half(bytes, 0, scale);
    put_half(bytes, 2, low);
    put_five_bits(values, &mut bytes[4..], |value| steps_up((value - low) * inverse(scale) + 0.5, 31));
}

pub(super) fn decode_q5_1(bytes: &[u8], values: &mut [f32]) {
    let (scale, low) = (half(bytes, 0), half(bytes, 2));
    five_bits(&bytes[4..], values, |step| scale * f32::from(step) + low);
}

/// Q8_0: scale, then 32 signed bytes.
pub(super) fn encode_q8_0(values: &[f32], bytes: &mut [u8]) {
    let scale = largest(values).abs() / 127.0;
    put_half(bytes, 0, scale);
    for (byte, value) in bytes[2..].iter_mut().zip(values) {
        *byte = ((value * inverse(scale)).round() as i8).cast_unsigned();
    }
}

pub(super) fn decode_q8_0(bytes: &[u8], values: &mut [f32]) {
    let scale = half(bytes, 0);
    for (value, byte) in values.iter_mut().zip(&bytes[2..]) {
        *value = scale * f32::from(byte.cast_signed());
    }
}

fn put_five_bits(values: &[f32], bytes: &mut [u8], step: impl Fn(f32) -> u8) {
    let (fifth, four) = bytes.split_at_mut(4);
    let mut fifth_bits = 0u32;
    let (low, high) = values.split_at(16);
    for (index, ((byte, low), high)) in four.iter_mut().zip(low).zip(high).enumerate() {
        let (low, high) = (step(*low), step(*high));
        *byte = (low & 15) | (high & 15) << 4;
        fifth_bits |= u32::from(low >> 4) << index | u32::from(high >> 4) << (index + 16);
    }
    fifth.copy_from_slice(&fifth_bits.to_le_bytes());
}

fn five_bits(bytes: &[u8], values: &mut [f32], value: impl Fn(u8) -> f32) {
    let fifth_bit = |index: usize| (bytes[index / 8] >> (index % 8) & 1) << 4;
    let (low, high) = values.split_at_mut(16);
    for (index, ((byte, low), high)) in bytes[4..].iter().zip(low).zip(high).enumerate() {
        *low = value((byte & 15) | fifth_bit(index));
        *high = value((byte >> 4) | fifth_bit(index + 16));
    }
}

/// The value of the largest magnitude, with its sign; the first of several.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, value| if value.abs() > largest.abs() { *value } else { largest })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// `steps` cut to a whole number from 0 to `most`.
fn steps_up(steps: f32, most: u8) -> u8 {
    (steps as u8).min(most)
}

/// The half-precision number at `bytes[at..]`.
pub(super) fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Writes `value` in half precision at `bytes[at..]` and returns what was written.
pub(super) fn put_half(bytes: &mut [u8], at: usize, value: f32) -> f32 {
    let rounded = f16::from_f32(value);
    bytes[at..at + 2].copy_from_slice(&rounded.to_le_bytes());
    rounded.to_f32()
}
