//! The GGUF file itself: written tensor by tensor, read back, compared value by value.

use std::{collections::BTreeSet, ops::Range};

use greentune_model_folder::FloatType;
use rayon::prelude::*;

use super::{
    block::TensorType,
    header::{Described, Metadata, encode, padded, place},
    reader::GgufFile,
    rows::{Origin, Rows, Weight},
};
use crate::{
    content::{Content, PlannedFile, WrittenFile},
    error::ExportError,
    peft::{Adapters, LoraPair},
    staging::Output,
    verify::{Exact, Verification, ensure, read_row, sampled_rows},
};

/// Values that one task compares.
const VALUES_OF_A_TASK: usize = 1 << 12;

/// A GGUF file.
struct Gguf<'a> {
    metadata: Metadata,
    /// Everything before the first tensor.
    head: Vec<u8>,
    described: Vec<Described>,
    weights: Vec<Weight<'a>>,
    adapters: &'a Adapters,
}

/// A file `name` of `metadata` and of `weights`, each with its type, with `adapters` merged into them.
pub(super) fn file<'a>(
    name: &str,
    metadata: Metadata,
    weights: Vec<(Weight<'a>, TensorType)>,
    adapters: &'a Adapters,
) -> PlannedFile<'a> {
    let described =
        place(weights.iter().map(|(weight, kind)| (weight.name.clone(), weight.shape.clone(), *kind)));
    let head = encode(&metadata, &described);
    let weights = weights.into_iter().map(|(weight, _)| weight).collect();
    let content = Gguf { metadata, head, described, weights, adapters };
    PlannedFile { name: name.into(), content: Box::new(content) }
}

impl Content for Gguf<'_> {
    fn bytes(&self) -> Result<u64, ExportError> {
        Ok(self.head.len() as u64 + self.described.iter().map(|tensor| padded(tensor.bytes())).sum::<u64>())
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        output.append(&self.head)?;
        let mut largest_rounding = 0f32;
        for (weight, described) in self.weights.iter().zip(&self.described) {
            let rows = weight.rows(self.adapters)?;
            for range in weight.chunks() {
                let values = rows.read(range)?;
                let (bytes, rounding) = pack(&values, weight.columns(), described.kind);
                if !rounding.is_finite() {
                    let dtype = described.kind.name().to_owned();
                    return Err(ExportError::NotFinite { name: weight.name.clone(), dtype });
                }
                output.append(&bytes)?;
                largest_rounding = largest_rounding.max(rounding);
            }
            let written = described.bytes();
            output.append(&vec![0; (padded(written) - written) as usize])?;
        }
        Ok(largest_rounding)
    }

    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError> {
        let mut found = GgufFile::open(written.path)?;
        ensure(found.metadata == self.metadata, || format!("{} has other metadata", written.name))?;
        ensure(found.tensors == self.described, || format!("{} has other tensors", written.name))?;
        let mut error = RelativeError::default();
        for (weight, described) in self.weights.iter().zip(&self.described) {
            let rows = weight.rows(self.adapters)?;
            let sampled: BTreeSet<usize> = sampled_rows(weight.row_count()).collect();
            for range in weight.chunks() {
                let columns = weight.columns();
                let mut bytes = vec![0; described.kind.bytes_of(range.len() * columns)];
                let from = described.kind.bytes_of(range.start * columns) as u64;
                found.read(described, from, &mut bytes)?;
                let stored = Stored { weight, kind: described.kind, bytes, range };
                error.add(stored.prove(&rows)?);
                if let Some(pair) = rows.merged_pair() {
                    let sampled = stored.range.clone().filter(|row| sampled.contains(row));
                    stored.prove_merged(sampled, pair, self.adapters.config().scale(), verification)?;
                }
            }
            match (&weight.origin, rows.merged_pair()) {
                (Origin::LoraA(_) | Origin::LoraB(_), _) => verification.adapter_tensors += 1,
                (_, Some(_)) => verification.merged_tensors += 1,
                _ => verification.untouched_tensors += 1,
            }
            *verification.tensor_types.entry(described.kind.name().to_owned()).or_default() += 1;
        }
        verification.relative_rounding = Some(error.root());
        Ok(())
    }
}

/// `values` in rows of `columns` as `kind` packs them, and by how much that changes a value at most: not finite when a
/// value is not, before or after.
fn pack(values: &[f32], columns: usize, kind: TensorType) -> (Vec<u8>, f32) {
    let mut bytes = vec![0; kind.bytes_of(values.len())];
    // Vectors have rows of one value, which are too short to share out.
    let at_once = if columns == 1 { values.len() } else { columns };
    let rounding = bytes
        .par_chunks_exact_mut(kind.bytes_of(at_once).max(1))
        .zip(values.par_chunks_exact(at_once.max(1)))
        .map_init(
            || vec![0.0; at_once],
            |read, (bytes, values)| {
                kind.encode(values, bytes);
                kind.decode(bytes, read);
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
struct Stored<'a> {
    weight: &'a Weight<'a>,
    kind: TensorType,
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Stored<'_> {
    /// Proves that every value is as near to the merged source as its type allows; returns the squares of all errors
    /// and of all values, summed up.
    fn prove(&self, rows: &Rows<'_>) -> Result<RelativeError, ExportError> {
        let source = rows.read(self.range.clone())?;
        let block = self.kind.block_len();
        let piece = block * (VALUES_OF_A_TASK / block).max(1);
        let pieces = source.par_chunks(piece).zip(self.bytes.par_chunks(self.kind.bytes_of(piece)));
        pieces
            .enumerate()
            .map(|(index, (source, bytes))| {
                let mut read = vec![0.0; source.len()];
                self.kind.decode(bytes, &mut read);
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

    /// The same for one block, whose first value has the index `first` in these rows.
    fn prove_block(&self, read: &[f32], source: &[f32], first: usize) -> Result<RelativeError, ExportError> {
        let allowed = self.kind.largest_error(source);
        let mut error = RelativeError::default();
        for (at, (read, source)) in read.iter().zip(source).enumerate() {
            let off = f64::from(*read) - f64::from(*source);
            ensure(off.abs() <= allowed, || {
                let (row, column) = self.position(first + at);
                let name = &self.weight.name;
                format!("\"{name}\" [{row}, {column}] is {read} and should be {source} within {allowed}")
            })?;
            error.errors += off * off;
            error.values += f64::from(*source).powi(2);
        }
        Ok(error)
    }

    /// Proves the rows `sampled` against a merge that is computed a second time, in f64.
    fn prove_merged(
        &self,
        sampled: impl Iterator<Item = usize>,
        pair: &LoraPair,
        scale: f64,
        verification: &mut Verification,
    ) -> Result<(), ExportError> {
        let Origin::Base(base) = &self.weight.origin else { return Ok(()) };
        let columns = self.weight.columns();
        let row_bytes = self.kind.bytes_of(columns);
        for row in sampled {
            let at = (row - self.range.start) * row_bytes;
            let mut read = vec![0.0; columns];
            self.kind.decode(&self.bytes[at..at + row_bytes], &mut read);
            let source_row = self.weight.source_row(row);
            let exact = Exact::row(&read_row(base, source_row, pair)?, pair, scale, source_row);
            let block = self.kind.block_len();
            for (index, (read, exact)) in read.chunks(block).zip(exact.chunks(block)).enumerate() {
                let values: Vec<f32> = exact.iter().map(|exact| exact.value as f32).collect();
                let allowed = self.kind.largest_error(&values);
                for (at, (read, exact)) in read.iter().zip(exact).enumerate() {
                    let off = (f64::from(*read) - exact.value).abs();
                    // The block's bound follows from its values, each of which is computed within its own tolerance.
                    ensure(
                        off <= 2.0 * exact.tolerance(FloatType::F32, pair.rank) + 1.001 * allowed,
                        || {
                            let column = index * block + at;
                            format!(
                                "\"{}\" [{row}, {column}] is {read} and should be {}",
                                base.name, exact.value
                            )
                        },
                    )?;
                    verification.largest_absolute_difference =
                        verification.largest_absolute_difference.max(off);
                }
            }
            verification.sampled_rows += 1;
        }
        Ok(())
    }

    /// Row and column of the value at `index`.
    fn position(&self, index: usize) -> (usize, usize) {
        let columns = self.weight.columns().max(1);
        (self.range.start + index / columns, index % columns)
    }
}

/// Squares of errors and of values, summed up.
#[derive(Clone, Copy, Default)]
struct RelativeError {
    errors: f64,
    values: f64,
}

impl RelativeError {
    fn add(&mut self, other: Self) {
        self.errors += other.errors;
        self.values += other.values;
    }

    /// Root of the mean squared error, as a share of the root of the mean square; 0 where all values are.
    fn root(self) -> f64 {
        if self.values == 0.0 { 0.0 } else { (self.errors / self.values).sqrt() }
    }
}
