//! Linear + cross-entropy on labelled rows, by chunks of rows: logits never exist for the whole batch.

use rayon::prelude::*;

use super::{
    matmul::{Matrix, matmul_add},
    simd::{exponentiate_with_mean, max, vectorised},
    weight::Rows,
};
use crate::ops::{LabelScore, Labels};

/// Loss and gradients of one batch.
pub struct Gradients {
    pub loss: f32,
    /// Loss and entropy of each row, one after the other.
    pub scores: Vec<f32>,
    pub dhidden: Vec<f32>,
    pub dweight: Option<Vec<f32>>,
}

/// See `Ops::linear_cross_entropy_gradients`.
pub fn gradients(hidden: Matrix, weight: &Rows, labels: &Labels, needs_dweight: bool) -> Gradients {
    let width = hidden.columns;
    let mut loss = 0.0f64;
    let mut dhidden = vec![0.0; hidden.rows * width];
    let mut dweight = needs_dweight.then(|| vec![0.0; weight.rows() * width]);
    let mut scores = Vec::with_capacity(2 * labels.rows.len());
    for (rows, targets, weights) in labels.chunks() {
        let x = gathered(hidden, rows);
        let x = Matrix::new(&x, rows.len(), width);
        let mut logits = weight.apply(x);
        let of_rows: Vec<[f32; 2]> = logits
            .par_chunks_mut(weight.rows())
            .zip(targets.par_iter().zip(weights))
            .map(|(row, (target, weight))| score_and_gradient(row, *target as usize, *weight))
            .collect();
        loss +=
            of_rows.iter().zip(weights).map(|([loss, _], w)| f64::from(*loss) * f64::from(*w)).sum::<f64>();
        scores.extend(of_rows.into_iter().flatten());
        let dlogits = Matrix::new(&logits, rows.len(), weight.rows());
        let dx = weight.apply_transposed(dlogits);
        for (row, dx) in rows.iter().zip(dx.chunks_exact(width)) {
            let row = *row as usize * width;
            dhidden[row..row + width].copy_from_slice(dx);
        }
        if let Some(dweight) = &mut dweight {
            matmul_add(dweight, dlogits.transposed(), x, 1.0);
        }
    }
    Gradients { loss: loss as f32, scores, dhidden, dweight }
}

/// See `Ops::score_labels`.
pub fn scores(hidden: Matrix, weight: &Rows, labels: &Labels) -> Vec<LabelScore> {
    let mut scores = Vec::with_capacity(labels.rows.len());
    for (rows, targets, _) in labels.chunks() {
        let x = gathered(hidden, rows);
        let mut logits = weight.apply(Matrix::new(&x, rows.len(), hidden.columns));
        scores.par_extend(
            logits
                .par_chunks_mut(weight.rows())
                .zip(targets)
                .map(|(row, target)| score(row, *target as usize)),
        );
    }
    scores
}

fn gathered(hidden: Matrix, rows: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * hidden.columns);
    for row in rows {
        out.extend_from_slice(hidden.row(*row as usize));
    }
    out
}

/// Turns a row of logits into the gradient of its loss times `weight`; returns loss and entropy.
fn score_and_gradient(row: &mut [f32], target: usize, weight: f32) -> [f32; 2] {
    vectorised(
        #[inline(always)]
        || {
            let largest = max(row);
            let picked = row[target] - largest;
            let (total, mean) = exponentiate_with_mean(row, largest);
            let factor = weight / total;
            for value in row.iter_mut() {
                *value *= factor;
            }
            row[target] -= weight;
            [total.ln() - picked, total.ln() - mean]
        },
    )
}

/// What a row of logits says; it holds something else afterwards.
fn score(row: &mut [f32], target: usize) -> LabelScore {
    vectorised(
        #[inline(always)]
        || {
            let largest = max(row);
            let predicted = row.iter().position(|value| *value >= largest).unwrap_or_default() as u32;
            let picked = row[target] - largest;
            let (total, mean) = exponentiate_with_mean(row, largest);
            LabelScore { loss: total.ln() - picked, entropy: total.ln() - mean, predicted }
        },
    )
}
