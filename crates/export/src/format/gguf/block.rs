//! The types of tensors in a GGUF file: ggml's blocks of values that share a scale.
//!
//! Layouts are those of ggml's `ggml-common.h`; what is written is read by any program that knows them.

mod affine;
mod k;
mod legacy;

use greentune_model_folder::FloatType;

use crate::packing::{Packing, extremes, magnitude};

/// A type of tensor that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// What is known of a type.
struct Layout {
    id: u32,
    name: &'static str,
    /// Values of a block.
    values: usize,
    /// Bytes of a block.
    bytes: usize,
}

impl TensorType {
    const ALL: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    const fn layout(self) -> Layout {
        let (id, name, values, bytes) = match self {
            Self::F32 => (0, "F32", 1, 4),
            Self::F16 => (1, "F16", 1, 2),
            Self::Bf16 => (30, "BF16", 1, 2),
            Self::Q4_0 => (2, "Q4_0", 32, 18),
            Self::Q5_0 => (6, "Q5_0", 32, 22),
            Self::Q5_1 => (7, "Q5_1", 32, 24),
            Self::Q8_0 => (8, "Q8_0", 32, 34),
            Self::Q4K => (12, "Q4_K", 256, 144),
            Self::Q5K => (13, "Q5_K", 256, 176),
            Self::Q6K => (14, "Q6_K", 256, 210),
        };
        Layout { id, name, values, bytes }
    }

    /// Its number in a file.
    pub(super) const fn id(self) -> u32 {
        self.layout().id
    }

    /// The type with this number.
    pub(super) fn of_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// Its name in ggml.
    pub(super) const fn name(self) -> &'static str {
        self.layout().name
    }

    const fn float(self) -> Option<FloatType> {
        match self {
            Self::F32 => Some(FloatType::F32),
            Self::F16 => Some(FloatType::F16),
            Self::Bf16 => Some(FloatType::Bf16),
            _ => None,
        }
    }
}

impl Packing for TensorType {
    fn block_len(self) -> usize {
        self.layout().values
    }

    fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    fn encode(self, values: &[f32], bytes: &mut [u8]) {
        if let Some(float) = self.float() {
            float.encode(values, bytes);
            return;
        }
        let Layout { values: block_len, bytes: block_bytes, .. } = self.layout();
        for (values, bytes) in values.chunks_exact(block_len).zip(bytes.chunks_exact_mut(block_bytes)) {
            match self {
                Self::Q4_0 => legacy::encode_q4_0(values, bytes),
                Self::Q5_0 => legacy::encode_q5_0(values, bytes),
                Self::Q5_1 => legacy::encode_q5_1(values, bytes),
                Self::Q4K => k::encode_q4_k(values, bytes),
                Self::Q5K => k::encode_q5_k(values, bytes),
                Self::Q6K => k::encode_q6_k(values, bytes),
                _ => legacy::encode_q8_0(values, bytes),
            }
        }
    }

    fn decode(self, bytes: &[u8], values: &mut [f32]) {
        if let Some(float) = self.float() {
            float.decode(bytes, values);
            return;
        }
        let Layout { values: block_len, bytes: block_bytes, .. } = self.layout();
        for (values, bytes) in values.chunks_exact_mut(block_len).zip(bytes.chunks_exact(block_bytes)) {
            match self {
                Self::Q4_0 => legacy::decode_q4_0(bytes, values),
                Self::Q5_0 => legacy::decode_q5_0(bytes, values),
                Self::Q5_1 => legacy::decode_q5_1(bytes, values),
                Self::Q4K => k::decode_q4_k(bytes, values),
                Self::Q5K => k::decode_q5_k(bytes, values),
                Self::Q6K => k::decode_q6_k(bytes, values),
                _ => legacy::decode_q8_0(bytes, values),
            }
        }
    }

    /// Table and derivation: `docs/decisions/0013-gguf-blocks.md`.
    fn largest_error(self, block: &[f32]) -> f64 {
        /// Relative error of a scale in half precision.
        const HALF: f64 = 1.0 / 2048.0;
        /// Absolute error of a scale that is subnormal in half precision.
        const TINY: f64 = 1.0 / (1u64 << 25) as f64;
        /// Room for what was computed in f32.
        const COMPUTED: f64 = 1.0 + 1.0 / 1024.0;
        if let Some(float) = self.float() {
            return float.largest_error(block);
        }
        let largest = magnitude(block);
        COMPUTED
            * match self {
                Self::Q4_0 => largest / 8.0 * (1.0 + 8.0 * HALF) + 8.0 * TINY,
                Self::Q5_0 => largest / 16.0 * (1.0 + 16.0 * HALF) + 16.0 * TINY,
                Self::Q5_1 => {
                    let (low, high) = extremes(block);
                    (high - low) / 31.0 * (0.5 + 31.0 * HALF) + low.abs() * HALF + 32.0 * TINY
                }
                Self::Q4K => k::largest_error_affine(block, 15.0) + 63.0 * 16.0 * TINY,
                Self::Q5K => k::largest_error_affine(block, 31.0) + 63.0 * 32.0 * TINY,
                Self::Q6K => largest / 32.0 * (1.0 + k::SLACK * 32.0 / 128.0) + 128.0 * 32.0 * TINY,
                _ => largest / 127.0 * (0.5 + 127.0 * HALF) + 127.0 * TINY,
            }
    }
}

#[cfg(test)]
mod tests;
