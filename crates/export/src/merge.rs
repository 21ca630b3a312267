//! W' = W + scale · B · A, with DoRA each row scaled to its magnitude; one tensor at a time.

use rayon::prelude::*;

use crate::{
    error::ExportError,
    peft::{Adapters, LoraPair},
};
use greentune_model_folder::{FloatType, ModelWeights, Tensor};

/// Checks that every adapted projection is in the base model with the adapter's shape and a type that can be merged.
pub(crate) fn check_fit(adapters: &Adapters, base: &ModelWeights) -> Result<(), ExportError> {
    for module in adapters.modules() {
        let tensor = base.tensor(&format!("{module}.weight"))?;
        tensor.float_type()?;
        tensor.expect_shape(&adapters.shape(module)?)?;
    }
    Ok(())
}

/// The bytes of `tensor` with `pair` merged into it, and the largest amount by which rounding to its type changed a
/// value. Computed in f32, rounded to nearest, ties to even.
pub(crate) fn merged_bytes(
    tensor: &Tensor,
    pair: &LoraPair,
    scale: f64,
) -> Result<(Vec<u8>, f32), ExportError> {
    let float = tensor.float_type()?;
    let mut bytes = tensor.read()?;
    let row_bytes = pair.in_features * float.size();
    if row_bytes == 0 {
        return Ok((bytes, 0.0));
    }
    let largest_rounding = bytes
        .par_chunks_exact_mut(row_bytes)
        .enumerate()
        .map_init(
            || Scratch::new(pair.in_features),
            |scratch, (index, row)| scratch.merge_row(row, index, pair, scale as f32, float),
        )
        .reduce(|| 0.0, f32::max);
    if largest_rounding.is_infinite() {
        return Err(ExportError::NotFinite { name: tensor.name.clone(), dtype: tensor.dtype().to_string() });
    }
    Ok((bytes, largest_rounding))
}

struct Scratch {
    weights: Vec<f32>,
    update: Vec<f32>,
}

impl Scratch {
    fn new(columns: usize) -> Self {
        Self { weights: vec![0.0; columns], update: vec![0.0; columns] }
    }

    /// Merges one row of W in place; infinity when a value is not finite afterwards, else the largest rounding.
    fn merge_row(
        &mut self,
        row: &mut [u8],
        index: usize,
        pair: &LoraPair,
        scale: f32,
        float: FloatType,
    ) -> f32 {
        let Self { weights, update } = self;
        float.decode(row, weights);
        merge_row(weights, index, pair, scale, update);
        float.encode(update, row);
        float.decode(row, weights);
        weights.iter().zip(&*update).fold(0.0, |largest: f32, (stored, exact)| {
            if stored.is_finite() { largest.max((stored - exact).abs()) } else { f32::INFINITY }
        })
    }
}

/// Row `index` of W', of `weights`, its row of W, into `merged`.
pub(crate) fn merge_row(weights: &[f32], index: usize, pair: &LoraPair, scale: f32, merged: &mut [f32]) {
    merged.fill(0.0);
    let b = &pair.b[index * pair.rank..(index + 1) * pair.rank];
    for (factor, a_row) in b.iter().zip(pair.a.chunks_exact(merged.len())) {
        for (sum, value) in merged.iter_mut().zip(a_row) {
            *sum += factor * value;
        }
    }
    for (sum, weight) in merged.iter_mut().zip(weights) {
        *sum = weight + scale * *sum;
    }
    if let Some(magnitude) = &pair.magnitude {
        let norm = merged.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let factor = f64::from(magnitude[index]) / norm;
        for value in merged.iter_mut() {
            *value = (f64::from(*value) * factor) as f32;
        }
    }
}
