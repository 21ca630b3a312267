//! The values of a tensor, a few rows at a time, in the order that a format wants, with an adapter merged into them.

use greentune_model_folder::Tensor;

use crate::{
    error::ExportError,
    merge::merge_row,
    peft::{Adapters, LoraPair},
};

/// Values that are read at once.
const VALUES_AT_ONCE: usize = 1 << 20;

/// Where the values of a tensor come from.
pub(crate) enum Origin<'a> {
    /// A tensor of the base model, with the adapter of its module merged into it if it has one.
    Base(Tensor<'a>),
    /// Values that are made for the export.
    Made(Vec<f32>),
    /// A of the adapter of this module, `[rank, in_features]`.
    LoraA(String),
    /// B of the adapter of this module, `[out_features, rank]`.
    LoraB(String),
}

/// A tensor of the export.
pub(crate) struct Weight<'a> {
    pub(crate) name: String,
    /// From the outermost to the innermost dimension.
    pub(crate) shape: Vec<usize>,
    pub(crate) origin: Origin<'a>,
    /// Heads whose rows are reordered.
    pub(crate) reordered_heads: Option<usize>,
}

impl<'a> Weight<'a> {
    /// Its rows, ready to be read.
    pub(crate) fn rows(&'a self, adapters: Option<&'a Adapters>) -> Result<Rows<'a>, ExportError> {
        let Some(adapters) = adapters else { return Ok(Rows { weight: self, pair: None, scale: 1.0 }) };
        let pair = match &self.origin {
            Origin::Base(tensor) => {
                adapters.module_of_weight(&tensor.name).map(|module| adapters.pair(module)).transpose()?
            }
            Origin::LoraA(module) | Origin::LoraB(module) => Some(adapters.pair(module)?),
            Origin::Made(_) => None,
        };
        Ok(Rows { weight: self, pair, scale: adapters.config().scale() })
    }

    /// How many rows it has; a vector has as many as values.
    pub(crate) fn row_count(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values of a row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Ranges of rows that are handled at once.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (rows, at_once) = (self.row_count(), (VALUES_AT_ONCE / self.columns().max(1)).max(1));
        (0..rows).step_by(at_once).map(move |start| start..(start + at_once).min(rows))
    }

    /// The row of the source that is row `row` here.
    ///
    /// transformers rotates the first half of a head with the second, llama.cpp neighbours: row `2j + t` of a head is
    /// row `j` of its half `t`.
    pub(crate) fn source_row(&self, row: usize) -> usize {
        let Some(heads) = self.reordered_heads else { return row };
        let height = self.row_count() / heads;
        let (head, within) = (row / height, row % height);
        head * height + within % 2 * (height / 2) + within / 2
    }
}

impl Weight<'_> {
    /// The tensor of the base model that it is.
    pub(crate) fn base(&self) -> Option<&Tensor<'_>> {
        match &self.origin {
            Origin::Base(tensor) => Some(tensor),
            Origin::Made(_) | Origin::LoraA(_) | Origin::LoraB(_) => None,
        }
    }

    /// All of its `values`, with the rows in the order that they have in the source.
    pub(crate) fn in_source_order(&self, values: Vec<f32>) -> Vec<f32> {
        if self.reordered_heads.is_none() {
            return values;
        }
        let columns = self.columns().max(1);
        let mut ordered = vec![0.0; values.len()];
        for (row, values) in values.chunks_exact(columns).enumerate() {
            let at = self.source_row(row) * columns;
            ordered[at..at + columns].copy_from_slice(values);
        }
        ordered
    }
}

/// The rows of a weight.
pub(crate) struct Rows<'a> {
    pub(crate) weight: &'a Weight<'a>,
    pair: Option<LoraPair>,
    /// The factor of B·A.
    pub(crate) scale: f64,
}

impl Rows<'_> {
    /// The adapter that is merged into them.
    pub(crate) fn merged_pair(&self) -> Option<&LoraPair> {
        self.pair.as_ref().filter(|_| matches!(self.weight.origin, Origin::Base(_)))
    }

    /// The values of the rows in `range`.
    pub(crate) fn read(&self, range: std::ops::Range<usize>) -> Result<Vec<f32>, ExportError> {
        let columns = self.weight.columns();
        let mut values = vec![0.0; range.len() * columns];
        if self.weight.reordered_heads.is_some() {
            for (row, values) in range.zip(values.chunks_exact_mut(columns)) {
                self.read_source(self.weight.source_row(row), values)?;
            }
        } else {
            self.read_source(range.start, &mut values)?;
        }
        Ok(values)
    }

    /// Whole rows of the source from `row` on, merged.
    fn read_source(&self, row: usize, values: &mut [f32]) -> Result<(), ExportError> {
        let columns = self.weight.columns();
        let copy = |from: &[f32], values: &mut [f32]| {
            values.copy_from_slice(&from[row * columns..row * columns + values.len()]);
        };
        match (&self.weight.origin, &self.pair) {
            (Origin::Base(tensor), pair) => {
                let float = tensor.float_type()?;
                let mut bytes = vec![0; values.len() * float.size()];
                tensor.read_at((row * columns * float.size()) as u64, &mut bytes)?;
                float.decode(&bytes, values);
                if let Some(pair) = pair {
                    merge_rows(values, row, pair, self.scale as f32);
                }
            }
            (Origin::Made(made), _) => copy(made, values),
            (Origin::LoraA(_), Some(pair)) => copy(&pair.a, values),
            (Origin::LoraB(_), Some(pair)) => copy(&pair.b, values),
            // Every adapter was opened with its pair.
            (Origin::LoraA(module) | Origin::LoraB(module), None) => {
                return Err(ExportError::TensorMissing { path: module.into(), name: module.clone() });
            }
        }
        Ok(())
    }
}

fn merge_rows(values: &mut [f32], first: usize, pair: &LoraPair, scale: f32) {
    use rayon::prelude::*;
    values.par_chunks_exact_mut(pair.in_features).enumerate().for_each_init(
        || vec![0.0; pair.in_features],
        |merged, (index, row)| {
            merge_row(row, first + index, pair, scale, merged);
            row.copy_from_slice(merged);
        },
    );
}
