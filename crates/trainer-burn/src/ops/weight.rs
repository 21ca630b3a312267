//! Weight matrices as they are kept in memory: in full, or packed into fewer bits and unpacked where they are used.
//!
//! Packed weights are frozen. Rows are packed apart from each other, in blocks of [`BLOCK`] columns; the last block of
//! a row is filled up with zeros.

use burn::tensor::{
    ElementConversion, Int, Tensor, TensorData,
    backend::{AutodiffBackend, Backend},
};
use greentune_core_config::{
    memory::WEIGHTS_PER_SCALE,
    settings::{Precision, Quantization},
};
use half::{
    bf16, f16,
    slice::{HalfBitsSliceExt, HalfFloatSliceExt},
};

/// Columns that share a scale.
pub const BLOCK: usize = WEIGHTS_PER_SCALE as usize;

/// A weight matrix `[out, in]`.
#[derive(Clone, Debug)]
pub enum Weight<B: Backend> {
    /// As the backend computes.
    Full(Tensor<B, 2>),
    /// In fewer bits; frozen.
    Packed(Packed<B>),
}

/// A packed matrix.
#[derive(Clone, Debug)]
pub struct Packed<B: Backend> {
    /// How its values are packed.
    pub format: Packing,
    /// Columns; rows are those of `codes`.
    pub columns: usize,
    /// `[out, words per row]`.
    pub codes: Tensor<B, 2, Int>,
    /// `[out, scales per row]`, when the format has any.
    pub scales: Option<Tensor<B, 2>>,
}

/// How values are packed into 32-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Two IEEE half-precision numbers; without loss for weights that were stored so.
    F16,
    /// Two bfloat16 numbers; without loss for weights that were stored so.
    Bf16,
    /// Four codes of 8 bits, `w = scale · (code − 128)`, one f32 scale to a block: 9 bits per weight.
    Q8,
    /// Eight codes of 4 bits, `w = scale · code + minimum`, two f32 to a block: 6 bits per weight.
    Q4,
}

impl Packing {
    /// How frozen weights are packed under these settings; in full when `None`.
    pub fn of(quantization: Quantization, precision: Precision) -> Option<Self> {
        match (quantization, precision) {
            (Quantization::Q8, _) => Some(Self::Q8),
            (Quantization::Q4, _) => Some(Self::Q4),
            (Quantization::None, Precision::F16) => Some(Self::F16),
            (Quantization::None, Precision::Bf16) => Some(Self::Bf16),
            (Quantization::None, Precision::F32) => None,
        }
    }

    /// Words of a row of `columns` values.
    pub fn words(self, columns: usize) -> usize {
        let blocks = columns.div_ceil(BLOCK);
        match self {
            Self::F16 | Self::Bf16 => columns.div_ceil(2),
            Self::Q8 => blocks * BLOCK / 4,
            Self::Q4 => blocks * BLOCK / 8,
        }
    }

    /// Scales of a row of `columns` values.
    pub fn scales(self, columns: usize) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 0,
            Self::Q8 => columns.div_ceil(BLOCK),
            Self::Q4 => 2 * columns.div_ceil(BLOCK),
        }
    }

    /// Appends a row's words and scales.
    pub fn pack(self, row: &[f32], words: &mut Vec<i32>, scales: &mut Vec<f32>) {
        match self {
            Self::F16 => pack_halves(row, words, |value| f16::from_f32(value).to_bits()),
            Self::Bf16 => pack_halves(row, words, |value| bf16::from_f32(value).to_bits()),
            Self::Q8 => row.chunks(BLOCK).for_each(|block| pack_q8(block, words, scales)),
            Self::Q4 => row.chunks(BLOCK).for_each(|block| pack_q4(block, words, scales)),
        }
    }

    /// The values of a row. Inlined into vectorised loops.
    #[inline(always)]
    pub fn unpack(self, words: &[i32], scales: &[f32], row: &mut [f32]) {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        match self {
            Self::F16 => {
                let halves: &[u16] = bytemuck::cast_slice(words);
                halves[..row.len()].reinterpret_cast::<f16>().convert_to_f32_slice(row);
            }
            Self::Bf16 => {
                let halves: &[u16] = bytemuck::cast_slice(words);
                for (value, bits) in row.iter_mut().zip(halves) {
                    *value = f32::from_bits(u32::from(*bits) << 16);
                }
            }
            Self::Q8 => {
                for ((row, bytes), scale) in row.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK)).zip(scales) {
                    for (value, code) in row.iter_mut().zip(bytes) {
                        *value = scale * (f32::from(*code) - 128.0);
                    }
                }
            }
            Self::Q4 => {
                let blocks = row.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK / 2)).zip(scales.as_chunks().0);
                for ((row, bytes), [scale, minimum]) in blocks {
                    let (low, high) = row.split_at_mut(row.len().min(BLOCK / 2));
                    for (value, byte) in low.iter_mut().zip(bytes) {
                        *value = scale * f32::from(byte & 15) + minimum;
                    }
                    for (value, byte) in high.iter_mut().zip(bytes) {
                        *value = scale * f32::from(byte >> 4) + minimum;
                    }
                }
            }
        }
    }
}

fn pack_halves(row: &[f32], words: &mut Vec<i32>, bits: impl Fn(f32) -> u16) {
    for pair in row.chunks(2) {
        let high = pair.get(1).map_or(0, |value| u32::from(bits(*value)));
        words.push((high << 16 | u32::from(bits(pair[0]))).cast_signed());
    }
}

/// Symmetric: the largest magnitude of the block is ±127 steps.
fn pack_q8(block: &[f32], words: &mut Vec<i32>, scales: &mut Vec<f32>) {
    let scale = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs())) / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut codes = [128u8; BLOCK];
    for (code, value) in codes.iter_mut().zip(block) {
        *code = ((value * inverse).round() + 128.0) as u8;
    }
    scales.push(scale);
    words.extend(codes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)));
}

/// Affine: the block's range in 15 steps. Byte `i` holds the codes of columns `i` (low) and `i + 16` (high).
fn pack_q4(block: &[f32], words: &mut Vec<i32>, scales: &mut Vec<f32>) {
    let minimum = block.iter().copied().fold(f32::INFINITY, f32::min);
    let scale = (block.iter().copied().fold(f32::NEG_INFINITY, f32::max) - minimum) / 15.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut bytes = [0u8; BLOCK / 2];
    for (column, value) in block.iter().enumerate() {
        let code = ((value - minimum) * inverse).round().clamp(0.0, 15.0) as u8;
        bytes[column % (BLOCK / 2)] |= code << (4 * (column / (BLOCK / 2)));
    }
    scales.extend([scale, minimum]);
    words.extend(bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes)));
}

impl<B: Backend> From<Tensor<B, 2>> for Weight<B> {
    fn from(tensor: Tensor<B, 2>) -> Self {
        Self::Full(tensor)
    }
}

impl<B: Backend> Weight<B> {
    /// The matrix in full: a packed one is unpacked, on its device.
    pub fn full(&self) -> Tensor<B, 2> {
        match self {
            Self::Full(tensor) => tensor.clone(),
            Self::Packed(packed) => packed.unpacked(),
        }
    }

    /// The rows `ids`, in full.
    pub fn rows(&self, ids: Tensor<B, 1, Int>) -> Tensor<B, 2> {
        match self {
            Self::Full(tensor) => tensor.clone().select(0, ids),
            Self::Packed(packed) => Packed {
                codes: packed.codes.clone().select(0, ids.clone()),
                scales: packed.scales.clone().map(|scales| scales.select(0, ids)),
                ..packed.clone()
            }
            .unpacked(),
        }
    }

    /// Its device.
    pub fn device(&self) -> B::Device {
        match self {
            Self::Full(tensor) => tensor.device(),
            Self::Packed(packed) => packed.codes.device(),
        }
    }
}

impl<B: AutodiffBackend> Weight<B> {
    /// The same matrix on the backend inside.
    pub fn inner(&self) -> Weight<B::InnerBackend> {
        match self {
            Self::Full(tensor) => Weight::Full(tensor.clone().inner()),
            Self::Packed(packed) => Weight::Packed(Packed {
                format: packed.format,
                columns: packed.columns,
                codes: packed.codes.clone().inner(),
                scales: packed.scales.clone().map(Tensor::inner),
            }),
        }
    }
}

impl<B: Backend> Packed<B> {
    /// A matrix of whole rows on `device`.
    pub fn new(
        format: Packing,
        [rows, columns]: [usize; 2],
        words: Vec<i32>,
        scales: Vec<f32>,
        device: &B::Device,
    ) -> Self {
        let codes = Tensor::from_data(TensorData::new(words, [rows, format.words(columns)]), device);
        let scales = (!scales.is_empty())
            .then(|| Tensor::from_data(TensorData::new(scales, [rows, format.scales(columns)]), device));
        Self { format, columns, codes, scales }
    }

    /// The same matrix on the autodiff backend, shared.
    pub fn lift<A: AutodiffBackend<InnerBackend = B>>(&self) -> Packed<A> {
        Packed {
            format: self.format,
            columns: self.columns,
            codes: Tensor::from_inner(self.codes.clone()),
            scales: self.scales.clone().map(Tensor::from_inner),
        }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.codes.dims()[0]
    }

    /// The matrix in full, by operations of its backend.
    fn unpacked(&self) -> Tensor<B, 2> {
        let ([rows, words], device) = (self.codes.dims(), self.codes.device());
        let shifts = |values: &[i32], shape: [usize; 4]| {
            Tensor::<B, 4, Int>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let blocks = self.columns.div_ceil(BLOCK);
        let scales = |index: usize, of: usize| {
            let all = self.scales.clone().unwrap_or_else(|| Tensor::zeros([rows, blocks * of], &device));
            all.reshape([rows * blocks, of]).narrow(1, index, 1)
        };
        let full = match self.format {
            Packing::F16 | Packing::Bf16 => return self.unpacked_halves(),
            Packing::Q8 => {
                let codes = self.codes.clone().reshape([rows * words, 1, 1, 1]);
                let codes = codes.bitwise_right_shift(shifts(&[0, 8, 16, 24], [1, 1, 1, 4]));
                let codes = codes.bitwise_and_scalar(255_i32.elem()).float();
                codes.reshape([rows * blocks, BLOCK]).sub_scalar(128.0) * scales(0, 1)
            }
            Packing::Q4 => {
                let codes = self.codes.clone().reshape([rows * blocks, 1, 4, 1]);
                let shifts = shifts(&[0, 8, 16, 24, 4, 12, 20, 28], [1, 2, 1, 4]);
                let codes = codes.bitwise_right_shift(shifts).bitwise_and_scalar(15_i32.elem()).float();
                codes.reshape([rows * blocks, BLOCK]) * scales(0, 2) + scales(1, 2)
            }
        };
        full.reshape([rows, blocks * BLOCK]).narrow(1, 0, self.columns)
    }

    /// Halves by way of the host: no operation of burn reads the bits of an integer as a float.
    fn unpacked_halves(&self) -> Tensor<B, 2> {
        let (rows, device) = (self.rows(), self.codes.device());
        let words: Vec<i32> = self.codes.to_data().convert::<i32>().iter::<i32>().collect();
        let mut values = vec![0.0; rows * self.columns];
        let per_row = self.format.words(self.columns);
        for (row, words) in values.chunks_mut(self.columns).zip(words.chunks(per_row)) {
            self.format.unpack(words, &[], row);
        }
        Tensor::from_data(TensorData::new(values, [rows, self.columns]), &device)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Flex, flex::FlexDevice};
    use greentune_core_config::{memory::WeightFormat, settings::Settings};
    use proptest::prelude::*;

    use super::*;

    fn packed(format: Packing, row: &[f32]) -> (Vec<i32>, Vec<f32>) {
        let (mut words, mut scales) = (Vec::new(), Vec::new());
        format.pack(row, &mut words, &mut scales);
        assert_eq!((words.len(), scales.len()), (format.words(row.len()), format.scales(row.len())));
        (words, scales)
    }

    fn unpacked(format: Packing, row: &[f32]) -> Vec<f32> {
        let (words, scales) = packed(format, row);
        let mut out = vec![0.0; row.len()];
        format.unpack(&words, &scales, &mut out);
        out
    }

    #[test]
    fn rows_take_what_the_memory_formula_says() {
        for (quantization, precision) in [
            (Quantization::None, Precision::F16),
            (Quantization::None, Precision::Bf16),
            (Quantization::Q8, Precision::F32),
            (Quantization::Q4, Precision::F32),
        ] {
            let mut settings = Settings::default();
            (settings.base_model.quantization, settings.training.precision) = (quantization, precision);
            let packing = Packing::of(quantization, precision).unwrap();
            let bytes = 4 * (packing.words(256) + packing.scales(256));
            assert_eq!(bytes as u64, WeightFormat::of(&settings).bytes(256), "{packing:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_moves_further_than_half_a_step(row in prop::collection::vec(-3.0f32..3.0, 1..100)) {
            for (format, steps) in [(Packing::Q8, 254.0), (Packing::Q4, 15.0)] {
                let out = unpacked(format, &row);
                for (values, out) in row.chunks(BLOCK).zip(out.chunks(BLOCK)) {
                    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
                    let range = if format == Packing::Q8 { 2.0 * high.abs().max(low.abs()) } else { high - low };
                    for (value, out) in values.iter().zip(out) {
                        prop_assert!((value - out).abs() <= 0.5001 * range / steps + 1e-6, "{value} became {out}");
                    }
                }
            }
        }

        #[test]
        fn halves_keep_what_was_stored_as_halves(row in prop::collection::vec(-3.0f32..3.0, 1..70)) {
            let stored: Vec<f32> = row.iter().map(|value| f16::from_f32(*value).to_f32()).collect();
            prop_assert_eq!(unpacked(Packing::F16, &stored), stored);
            let stored: Vec<f32> = row.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
            prop_assert_eq!(unpacked(Packing::Bf16, &stored), stored);
        }

        #[test]
        fn a_backends_own_operations_unpack_the_same(row in prop::collection::vec(-3.0f32..3.0, 1..100)) {
            for format in [Packing::F16, Packing::Bf16, Packing::Q8, Packing::Q4] {
                let (words, scales) = packed(format, &row);
                let packed = Packed::<Flex>::new(format, [1, row.len()], words, scales, &FlexDevice);
                let full: Vec<f32> = Weight::Packed(packed).full().into_data().iter::<f32>().collect();
                for (a, b) in full.iter().zip(unpacked(format, &row)) {
                    prop_assert!((a - b).abs() <= 1e-6, "{format:?}: {a} is not {b}");
                }
            }
        }
    }
}
