//! Linear + cross-entropy on labelled rows, by chunks of rows: logits never exist for the whole batch.

use rayon::prelude::*;

use super::{
    matmul::{Matrix, matmul_add},
    simd::{exp, max, sum, vectorised},
    weight::Rows,
};
use crate::ops::{CROSS_ENTROPY_ROWS, LabelScore, Labels};

/// Loss and gradients of one batch.
pub struct Gradients {
    pub loss: f32,
    pub dhidden: Vec<f32>,
    pub dweight: Option<Vec<f32>>,
}

/// See `Ops::linear_cross_entropy_gradients`.
pub fn gradients(hidden: Matrix, weight: &Rows, labels: &Labels, needs_dweight: bool) -> Gradients {
    let width = hidden.columns;
    let mut loss = 0.0f64;
    let mut dhidden = vec![0.0; hidden.rows * width];
    let mut dweight = needs_dweight.then(|| vec![0.0; weight.rows() * width]);
    for (rows, targets) in chunks(labels) {
        let x = gathered(hidden, rows);
        let x = Matrix::new(&x, rows.len(), width);
        let mut logits = weight.apply(x);
        let losses: Vec<f32> = logits
            .par_chunks_mut(weight.rows())
            .zip(targets)
            .map(|(row, target)| loss_and_gradient(row, *target as usize, labels.divisor))
            .collect();
        loss += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
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
    Gradients { loss: (loss / f64::from(labels.divisor)) as f32, dhidden, dweight }
}

/// See `Ops::score_labels`.
pub fn scores(hidden: Matrix, weight: &Rows, labels: &Labels) -> Vec<LabelScore> {
    let mut scores = Vec::with_capacity(labels.rows.len());
    for (rows, targets) in chunks(labels) {
        let x = gathered(hidden, rows);
        let logits = weight.apply(Matrix::new(&x, rows.len(), hidden.columns));
        scores.par_extend(
            logits.par_chunks(weight.rows()).zip(targets).map(|(row, target)| score(row, *target as usize)),
        );
    }
    scores
}

fn chunks(labels: &Labels) -> impl Iterator<Item = (&[u32], &[u32])> {
    labels.rows.chunks(CROSS_ENTROPY_ROWS).zip(labels.targets.chunks(CROSS_ENTROPY_ROWS))
}

fn gathered(hidden: Matrix, rows: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * hidden.columns);
    for row in rows {
        out.extend_from_slice(hidden.row(*row as usize));
    }
    out
}

/// Turns a row of logits into the gradient of its loss divided by `divisor`; returns the loss.
fn loss_and_gradient(row: &mut [f32], target: usize, divisor: f32) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            let largest = max(row);
            let picked = row[target];
            for value in row.iter_mut() {
                *value = exp(*value - largest);
            }
            let total = sum(row.len(), |i| row[i]);
            let factor = 1.0 / (total * divisor);
            for value in row.iter_mut() {
                *value *= factor;
            }
            row[target] -= 1.0 / divisor;
            total.ln() + largest - picked
        },
    )
}

fn score(row: &[f32], target: usize) -> LabelScore {
    vectorised(
        #[inline(always)]
        || {
            let largest = max(row);
            let total = sum(row.len(), |i| exp(row[i] - largest));
            let predicted = row.iter().position(|value| *value >= largest).unwrap_or_default() as u32;
            LabelScore { loss: total.ln() + largest - row[target], predicted }
        },
    )
}
