//! The float types that weights are stored in, and their conversion from and to f32.

use half::{bf16, f16};
use safetensors::Dtype;

/// A type of weights that can be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl FloatType {
    /// The float type for a safetensors type; `None` for integers, packed and wider types.
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Unit roundoff: rounding to nearest changes a normal value by at most this share of it.
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            Self::F32 => 1.0 / (1u64 << 24) as f64,
            Self::F16 => 1.0 / (1u64 << 11) as f64,
            Self::Bf16 => 1.0 / (1u64 << 8) as f64,
        }
    }

    /// Half the distance between subnormal values: the most that rounding changes a value near zero.
    pub fn subnormal_roundoff(self) -> f64 {
        match self {
            Self::F32 => 2f64.powi(-150),
            Self::F16 => 2f64.powi(-25),
            Self::Bf16 => 2f64.powi(-134),
        }
    }

    /// Little-endian `bytes` as f32, exactly.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => decode_each(bytes, values, f32::from_le_bytes),
            Self::F16 => decode_each(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => decode_each(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
        }
    }

    /// `values` rounded to nearest, ties to even, as little-endian `bytes`.
    pub fn encode(self, values: &[f32], bytes: &mut [u8]) {
        match self {
            Self::F32 => encode_each(values, bytes, f32::to_le_bytes),
            Self::F16 => encode_each(values, bytes, |v| f16::from_f32(v).to_le_bytes()),
            Self::Bf16 => encode_each(values, bytes, |v| bf16::from_f32(v).to_le_bytes()),
        }
    }
}

fn decode_each<const N: usize>(bytes: &[u8], values: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    for (value, chunk) in values.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = decode(*chunk);
    }
}

fn encode_each<const N: usize>(values: &[f32], bytes: &mut [u8], encode: impl Fn(f32) -> [u8; N]) {
    for (chunk, value) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *chunk = encode(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(float: FloatType, value: f32) -> f32 {
        let mut bytes = vec![0; float.size()];
        float.encode(&[value], &mut bytes);
        let mut back = [0.0];
        float.decode(&bytes, &mut back);
        back[0]
    }

    #[test]
    fn rounds_to_nearest_ties_to_even() {
        // Between 1 and the next bf16, 1 + 2^-7, the middle goes to the even 1; above 1 + 2^-7 to the even 1 + 2^-6.
        assert_eq!(round_trip(FloatType::Bf16, 1.0 + 2f32.powi(-8)).to_bits(), 1f32.to_bits());
        assert_eq!(
            round_trip(FloatType::Bf16, 1.0 + 3.0 * 2f32.powi(-8)).to_bits(),
            (1.0 + 2f32.powi(-6)).to_bits()
        );
        assert_eq!(round_trip(FloatType::F16, 1.0 + 2f32.powi(-11)).to_bits(), 1f32.to_bits());
        assert!(round_trip(FloatType::F16, 70_000.0).is_infinite());
        assert_eq!(round_trip(FloatType::F32, 0.1).to_bits(), 0.1f32.to_bits());
    }
}
