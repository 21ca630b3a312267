//! The GGUF file itself: written tensor by tensor, read back, compared value by value.

use std::{iter, path::Path};

use greentune_model_folder::Tensor;

use super::{
    block::TensorType,
    header::{Described, Metadata, encode, padded, place},
    reader::GgufFile,
};
use crate::{
    content::{Content, PlannedFile, See, WrittenFile},
    error::ExportError,
    packing::{Packing, StoredRows, pack},
    peft::Adapters,
    rows::{Origin, Weight},
    staging::Output,
    verify::{Verification, ensure},
};

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
            let rows = weight.rows(Some(self.adapters))?;
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
        for (weight, described) in self.weights.iter().zip(&self.described) {
            let rows = weight.rows(Some(self.adapters))?;
            for range in weight.chunks() {
                let columns = weight.columns();
                let mut bytes = vec![0; described.kind.bytes_of(range.len() * columns)];
                let from = described.kind.bytes_of(range.start * columns) as u64;
                found.read(described, from, &mut bytes)?;
                let source = rows.read(range.clone())?;
                let stored = StoredRows { rows: &rows, packing: described.kind, bytes: &bytes, range };
                stored.prove(&source, verification)?;
            }
            match (&weight.origin, rows.merged_pair()) {
                (Origin::LoraA(_) | Origin::LoraB(_), _) => verification.adapter_tensors += 1,
                (_, Some(_)) => verification.merged_tensors += 1,
                _ => verification.untouched_tensors += 1,
            }
            *verification.tensor_types.entry(described.kind.name().to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn base_tensors(&self) -> Vec<&Tensor<'_>> {
        self.weights.iter().filter_map(Weight::base).collect()
    }

    fn read_back(&self, written: &Path, see: See<'_>) -> Result<(), ExportError> {
        let mut found = GgufFile::open(written)?;
        let of_base = |(weight, _): &(&Weight<'_>, &Described)| weight.base().is_some();
        for (weight, described) in self.weights.iter().zip(&self.described).filter(of_base) {
            let columns = weight.columns();
            // Rows in another order have to be there before the first one can be handed on.
            let whole = weight.reordered_heads.is_some().then_some(0..weight.row_count());
            let chunks: Vec<_> =
                if let Some(whole) = whole { iter::once(whole).collect() } else { weight.chunks().collect() };
            for range in chunks {
                let mut bytes = vec![0; described.kind.bytes_of(range.len() * columns)];
                found.read(described, described.kind.bytes_of(range.start * columns) as u64, &mut bytes)?;
                let mut values = vec![0.0; range.len() * columns];
                described.kind.decode(&bytes, &mut values);
                see(&weight.in_source_order(values))?;
            }
        }
        Ok(())
    }
}
