//! How values are stored: packed in blocks when they are written, compared with their source when they are read back.

use std::{collections::BTreeSet, ops::Range};

use greentune_model_folder::FloatType;
use rayon::prelude::*;

use crate::{
    error::ExportError,
    peft::LoraPair,
    rows::{Origin, Rows},
    verify::{Exact, RelativeError, Verification, ensure, read_row, sampled_rows},
};

/// Values that one task compares.
const VALUES_OF_A_TASK: usize = 1 << 12;

/// A type of stored values, in blocks that share a scale.
pub(crate) trait Packing: Copy + Sync {
    /// Values of a block; a row is a whole number of blocks.
    fn block_len(self) -> usize;

    /// Bytes of a block.
    fn block_bytes(self) -> usize;

    /// Packs `values`, whole blocks of them, into `bytes`.
    fn encode(self, values: &[f32], bytes: &mut [u8]);

    /// The values that `bytes`, whole blocks, stand for.
    fn decode(self, bytes: &[u8], values: &mut [f32]);

    /// The most by which packing may change a value of `block`; follows from the source alone, so that a damaged scale
    /// cannot widen it.
    fn largest_error(self, block: &[f32]) -> f64;

    /// Bytes of `values`, which fill whole blocks.
    fn bytes_of(self, values: usize) -> usize {
        values / self.block_len() * self.block_bytes()
    }
}

impl Packing for FloatType {
    fn block_len(self) -> usize {
        1
    }

    fn block_bytes(self) -> usize {
        self.size()
    }

    fn encode(self, values: &[f32], bytes: &mut [u8]) {
        FloatType::encode(self, values, bytes);
    }

    fn decode(self, bytes: &[u8], values: &mut [f32]) {
        FloatType::decode(self, bytes, values);
    }

    fn largest_error(self, block: &[f32]) -> f64 {
        self.unit_roundoff() * magnitude(block) + self.subnormal_roundoff()
    }
}

/// The largest magnitude of `values`.
pub(crate) fn magnitude(values: &[f32]) -> f64 {
    values.iter().fold(0f32, |largest, value| largest.max(value.abs())).into()
}

/// The smallest and the largest of `values`.
pub(crate) fn extremes(values: &[f32]) -> (f64, f64) {
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    (low.into(), high.into())
}

/// `values` in rows of `columns` as `packing` stores them, and by how much that changes a value at most: not finite when a
/// value is not, before or after.
pub(crate) fn pack(values: &[f32], columns: usize, packing: impl Packing) -> (Vec<u8>, f32) {
    let mut bytes = vec![0; packing.bytes_of(values.len())];
    // Vectors have rows of one value, which are too short to share out.
    let at_once = if columns == 1 { values.len() } else { columns };
    let rounding = bytes
        .par_chunks_exact_mut(packing.bytes_of(at_once).max(1))
        .zip(values.par_chunks_exact(at_once.max(1)))
        .map_init(
            || vec![0.0; at_once],
            |read, (bytes, values)| {
                packing.encode(values, bytes);
                packing.decode(bytes, read);
                read.iter().zip(values).fold(0f32, |largest, (read, value)| {
                    let off = (read - value).abs();
                    // A comparison with what is no number is false.
                    if off <= largest {
                        largest
                    } else if off.is_finite() {
                        off
                    } else {
                        f32::INFINITY
                    }
                })
            },
        )
        .reduce(|| 0.0, f32::max);
    (bytes, rounding)
}

/// Rows as they were written.
pub(crate) struct StoredRows<'a, P> {
    /// Where they come from.
    pub(crate) rows: &'a Rows<'a>,
    pub(crate) packing: P,
    /// What was read back.
    pub(crate) bytes: &'a [u8],
    /// Which rows they are.
    pub(crate) range: Range<usize>,
}

impl<P: Packing> StoredRows<'_, P> {
    /// Proves that every value is as near to `source`, the merged rows, as its type allows, and some rows against a merge
    /// that is computed a second time.
    pub(crate) fn prove(&self, source: &[f32], verification: &mut Verification) -> Result<(), ExportError> {
        verification.add_rounding(self.prove_values(source)?);
        let Some(pair) = self.rows.merged_pair() else { return Ok(()) };
        let sampled: BTreeSet<usize> = sampled_rows(self.rows.weight.row_count()).collect();
        for row in self.range.clone().filter(|row| sampled.contains(row)) {
            let off = self.prove_merged(row, pair)?;
            verification.largest_absolute_difference = verification.largest_absolute_difference.max(off);
            verification.sampled_rows += 1;
        }
        Ok(())
    }

    fn prove_values(&self, source: &[f32]) -> Result<RelativeError, ExportError> {
        let block = self.packing.block_len();
        let piece = block * (VALUES_OF_A_TASK / block).max(1);
        let pieces = source.par_chunks(piece).zip(self.bytes.par_chunks(self.packing.bytes_of(piece)));
        pieces
            .enumerate()
            .map(|(index, (source, bytes))| {
                let mut read = vec![0.0; source.len()];
                self.packing.decode(bytes, &mut read);
                let mut error = RelativeError::default();
                for (at, (read, source)) in read.chunks(block).zip(source.chunks(block)).enumerate() {
                    error.add(self.prove_block(read, source, index * piece + at * block)?);
                }
                Ok(error)
            })
            .try_reduce(RelativeError::default, |mut sum, part| {
                sum.add(part);
                Ok(sum)
            })
    }

    /// One block, whose first value has the index `first` in these rows.
    fn prove_block(&self, read: &[f32], source: &[f32], first: usize) -> Result<RelativeError, ExportError> {
        let allowed = self.packing.largest_error(source);
        let mut error = RelativeError::default();
        for (at, (read, source)) in read.iter().zip(source).enumerate() {
            let off = f64::from(*read) - f64::from(*source);
            ensure(off.abs() <= allowed, || {
                let (row, column) = self.position(first + at);
                let name = &self.rows.weight.name;
                format!("\"{name}\" [{row}, {column}] is {read} and should be {source} within {allowed}")
            })?;
            error.errors += off * off;
            error.values += f64::from(*source).powi(2);
        }
        Ok(error)
    }

    /// Proves `row` against a merge in f64; says by how much a value is off at most.
    fn prove_merged(&self, row: usize, pair: &LoraPair) -> Result<f64, ExportError> {
        let weight = self.rows.weight;
        let Origin::Base(base) = &weight.origin else { return Ok(0.0) };
        let columns = weight.columns();
        let row_bytes = self.packing.bytes_of(columns);
        let at = (row - self.range.start) * row_bytes;
        let mut read = vec![0.0; columns];
        self.packing.decode(&self.bytes[at..at + row_bytes], &mut read);
        let source_row = weight.source_row(row);
        let exact = Exact::row(&read_row(base, source_row, pair)?, pair, self.rows.scale, source_row);
        let block = self.packing.block_len();
        let mut largest = 0f64;
        for (index, (read, exact)) in read.chunks(block).zip(exact.chunks(block)).enumerate() {
            let values: Vec<f32> = exact.iter().map(|exact| exact.value as f32).collect();
            let allowed = self.packing.largest_error(&values);
            for (at, (read, exact)) in read.iter().zip(exact).enumerate() {
                let off = (f64::from(*read) - exact.value).abs();
                // The block's bound follows from its values, each of which is computed within its own tolerance.
                let tolerance = 2.0 * exact.tolerance(FloatType::F32, pair.rank) + 1.001 * allowed;
                ensure(off <= tolerance, || {
                    let (name, column) = (&base.name, index * block + at);
                    format!("\"{name}\" [{row}, {column}] is {read} and should be {}", exact.value)
                })?;
                largest = largest.max(off);
            }
        }
        Ok(largest)
    }

    /// Row and column of the value at `index`.
    fn position(&self, index: usize) -> (usize, usize) {
        let columns = self.rows.weight.columns().max(1);
        (self.range.start + index / columns, index % columns)
    }
}
