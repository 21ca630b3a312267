//! MLX's affine quantization: groups of 64 values of a row that share a scale and an offset.
//!
//! A value is `scale · step + bias`, its step a whole number of 4 or 8 bits. Steps, scales and biases are those that
//! `mlx.core.quantize` computes (`quantize` in `mlx/backend/cpu/quantized.cpp` of MLX 0.32), bit by bit.

use greentune_model_folder::FloatType;

use crate::packing::{Packing, extremes};

/// Values of a group.
pub(crate) const GROUP: usize = 64;
/// The narrowest step of MLX.
const NARROWEST: f32 = 1e-7;

/// Steps of `bits` bits, with scales and biases of the type `float`, to which values are rounded first.
///
/// A block here is a group: the words of its steps, its scale, its bias. A file has each of the three in a tensor of its
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Affine {
    pub(crate) bits: usize,
    pub(crate) float: FloatType,
}

impl Affine {
    /// Bytes of a group's steps, in words of 32 bits: the first value has the lowest bits.
    pub(crate) const fn word_bytes(self) -> usize {
        GROUP * self.bits / 8
    }

    const fn highest_step(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    /// Scale and bias of a group: the step that zero would have is whole, and the end that is further from zero is kept.
    fn fit(self, group: &[f32]) -> (f32, f32) {
        let [low, high] = <[f64; 2]>::from(extremes(group)).map(|end| end as f32);
        let plain = ((high - low) / self.highest_step()).max(NARROWEST);
        let (scale, edge) = if low.abs() > high.abs() { (plain, low) } else { (-plain, high) };
        let steps = (edge / scale).round_ties_even();
        if steps == 0.0 { (scale, 0.0) } else { (edge / steps, edge) }
    }
}

impl Packing for Affine {
    fn block_len(self) -> usize {
        GROUP
    }

    fn block_bytes(self) -> usize {
        self.word_bytes() + 2 * self.float.size()
    }

    fn encode(self, values: &[f32], bytes: &mut [u8]) {
        let mut group = [0.0; GROUP];
        for (values, bytes) in values.chunks_exact(GROUP).zip(bytes.chunks_exact_mut(self.block_bytes())) {
            // A bias is one of the values: it is kept only where they are of its type.
            let stored = &mut [0; GROUP * size_of::<f32>()][..GROUP * self.float.size()];
            self.float.encode(values, stored);
            self.float.decode(stored, &mut group);
            let (scale, bias) = self.fit(&group);
            let step =
                |value: f32| ((value - bias) / scale).round_ties_even().clamp(0.0, self.highest_step()) as u8;
            let (words, affine) = bytes.split_at_mut(self.word_bytes());
            if self.bits == 8 {
                words.iter_mut().zip(&group).for_each(|(word, value)| *word = step(*value));
            } else {
                let pairs = group.as_chunks::<2>().0;
                words
                    .iter_mut()
                    .zip(pairs)
                    .for_each(|(word, [low, high])| *word = step(*low) | step(*high) << 4);
            }
            self.float.encode(&[scale, bias], affine);
        }
    }

    fn decode(self, bytes: &[u8], values: &mut [f32]) {
        for (group, bytes) in values.chunks_exact_mut(GROUP).zip(bytes.chunks_exact(self.block_bytes())) {
            let (words, affine) = bytes.split_at(self.word_bytes());
            let mut read = [0.0; 2];
            self.float.decode(affine, &mut read);
            let [scale, bias] = read;
            for (index, value) in group.iter_mut().enumerate() {
                let step =
                    if self.bits == 8 { words[index] } else { words[index / 2] >> (index % 2 * 4) & 0xF };
                *value = scale * f32::from(step) + bias;
            }
        }
    }

    /// Let `s` be the plain step, range over highest step `n`, and `e` the farther end in plain steps. The step that is
    /// taken is between `s·e/(e + ½)` and `s·e/(e − ½)`. Half of it is lost by rounding. Where it is narrower than `s`,
    /// the other end has no step, and `n` times what it is narrower is lost. Then values, scale and bias are rounded to the
    /// stored type. That of the scale counts once per step, and that of the values also widens their range.
    fn largest_error(self, block: &[f32]) -> f64 {
        /// Room for what was computed in f32.
        const COMPUTED: f64 = 1.0 + 1.0 / 1024.0;
        let (low, high) = extremes(block);
        let highest = f64::from(self.highest_step());
        let plain = ((high - low) / highest).max(NARROWEST.into());
        let edge = low.abs().max(high.abs());
        let ends = edge / plain;
        let (lost, widest) = if ends < highest / 2.0 - 0.5 {
            // The step is the narrowest one.
            (0.75 * plain, 1.5 * plain)
        } else {
            let widest = plain * ends / (ends - 0.5);
            (f64::max(0.5 * widest, 0.5 * plain * highest / (ends + 0.5)), widest)
        };
        let (share, tiny) = (self.float.unit_roundoff(), self.float.subnormal_roundoff());
        let computed_in_f32 = 4.0 * FloatType::F32.unit_roundoff() * (edge + highest * widest);
        COMPUTED * (lost + share * (highest * widest + 3.0 * edge) + (highest + 3.0) * tiny) + computed_in_f32
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use greentune_model_folder::WeightsFile;
    use proptest::prelude::*;

    use super::*;

    fn packed(affine: Affine, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
        let mut bytes = vec![0; affine.bytes_of(values.len())];
        affine.encode(values, &mut bytes);
        let mut read = vec![f32::NAN; values.len()];
        affine.decode(&bytes, &mut read);
        (bytes, read)
    }

    /// From -1.5 to 6 in 15 steps of half: the end that is further from zero is step 0, and the steps run down from it.
    #[test]
    fn a_group_by_hand() {
        let values: Vec<f32> = (0..GROUP).map(|index| (index % 16) as f32 * 0.5 - 1.5).collect();
        let (bytes, read) = packed(Affine { bits: 4, float: FloatType::F32 }, &values);
        assert_eq!(bytes[..8], [0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01]);
        assert_eq!(bytes[32..], [(-0.5f32).to_le_bytes(), 6f32.to_le_bytes()].concat());
        assert_eq!(read, values);
    }

    #[test]
    fn equal_values_and_zeros_are_kept() {
        for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            for bits in [4, 8] {
                for value in [0.0, 0.5, -0.25] {
                    assert_eq!(packed(Affine { bits, float }, &[value; GROUP]).1, [value; GROUP]);
                }
            }
        }
    }

    /// `fixtures/reference/make_mlx.py` asked MLX.
    #[test]
    fn groups_are_those_of_mlx_bit_by_bit() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/mlx/affine.safetensors");
        let file = WeightsFile::open(Path::new(path)).unwrap();
        let bytes = |name: String| file.tensor(&name).unwrap().read().unwrap();
        for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
            let name = match float {
                FloatType::F32 => "F32",
                FloatType::F16 => "F16",
                FloatType::Bf16 => "BF16",
            };
            let values = file.tensor(&format!("{name}.values")).unwrap().read_f32().unwrap();
            for bits in [4, 8] {
                let affine = Affine { bits, float };
                let (found, _) = packed(affine, &values);
                let [words, scales, biases] =
                    ["weight", "scales", "biases"].map(|part| bytes(format!("{name}.{bits}.{part}")));
                let size = float.size();
                let groups = found.chunks(affine.block_bytes()).zip(words.chunks(affine.word_bytes()));
                for ((found, words), (scale, bias)) in
                    groups.zip(scales.chunks(size).zip(biases.chunks(size)))
                {
                    assert_eq!(found, [words, scale, bias].concat(), "{affine:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_value_is_off_by_more_than_the_bound(
            values in prop::collection::vec(-1f32..1.0, GROUP),
            size in -9i32..3,
            shift in prop_oneof![Just(0f32), -3f32..3.0],
            outlier in prop_oneof![Just(1f32), Just(40f32)],
        ) {
            let mut values: Vec<f32> = values.iter().map(|value| (value + shift) * 10f32.powi(size)).collect();
            values[7] *= outlier;
            for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
                for bits in [4, 8] {
                    let affine = Affine { bits, float };
                    let (allowed, (_, read)) = (affine.largest_error(&values), packed(affine, &values));
                    for (read, value) in read.iter().zip(&values) {
                        let off = (f64::from(*read) - f64::from(*value)).abs();
                        prop_assert!(off <= allowed, "{affine:?}: {value} became {read}, allowed {allowed}");
                    }
                }
            }
        }
    }
}
