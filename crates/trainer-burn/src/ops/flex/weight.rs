//! Weights on the processor: full ones as they lie, packed ones unpacked panel by panel inside the product.

use burn::{
    backend::Flex,
    tensor::{Int, Tensor},
};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{
    Buffer,
    matmul::{Matrix, matmul, matmul_into},
    simd::vectorised,
};
use crate::ops::{Packing, Weight};

/// Values of a packed weight that exist unpacked at once: a panel that stays in the second-level caches.
const PANEL: usize = 1 << 20;
/// Values per parallel task when a panel is unpacked.
const TASK: usize = 1 << 14;

/// A weight's rows, ready for products.
pub enum Rows {
    /// In full.
    Full(Buffer),
    /// Packed.
    Packed(PackedRows),
}

/// A packed weight, borrowed from flex's reference-counted storage.
pub struct PackedRows {
    format: Packing,
    rows: usize,
    columns: usize,
    codes: FlexTensor,
    scales: Option<Buffer>,
}

impl From<&Weight<Flex>> for Rows {
    fn from(weight: &Weight<Flex>) -> Self {
        match weight {
            Weight::Full(tensor) => Self::Full(Buffer::from(tensor.clone())),
            Weight::Packed(packed) => Self::Packed(PackedRows {
                format: packed.format,
                rows: packed.rows(),
                columns: packed.columns,
                codes: contiguous(packed.codes.clone()),
                scales: packed.scales.clone().map(Buffer::from),
            }),
        }
    }
}

fn contiguous(codes: Tensor<Flex, 2, Int>) -> FlexTensor {
    let codes = codes.into_primitive();
    if codes.is_contiguous() { codes } else { codes.to_contiguous() }
}

impl Rows {
    /// Rows: what a projection returns.
    pub fn rows(&self) -> usize {
        match self {
            Self::Full(buffer) => buffer.rows,
            Self::Packed(packed) => packed.rows,
        }
    }

    /// Columns: what a projection reads.
    pub fn columns(&self) -> usize {
        match self {
            Self::Full(buffer) => buffer.columns,
            Self::Packed(packed) => packed.columns,
        }
    }

    /// `x · weightᵀ`.
    pub fn apply(&self, x: Matrix) -> Vec<f32> {
        match self {
            Self::Full(buffer) => matmul(x, buffer.matrix().transposed()),
            Self::Packed(packed) => {
                let mut y = vec![0.0; x.rows * packed.rows];
                packed.panels(|first, panel| {
                    matmul_into(&mut y[first..], packed.rows, x, panel.transposed(), false);
                });
                y
            }
        }
    }

    /// `dy · weight`.
    pub fn apply_transposed(&self, dy: Matrix) -> Vec<f32> {
        match self {
            Self::Full(buffer) => matmul(dy, buffer.matrix()),
            Self::Packed(packed) => {
                let mut dx = vec![0.0; dy.rows * packed.columns];
                packed.panels(|first, panel| {
                    let dy = dy.column_range(first, panel.rows);
                    matmul_into(&mut dx, packed.columns, dy, panel, true);
                });
                dx
            }
        }
    }
}

impl PackedRows {
    /// Unpacks the rows in panels, one after another: `use_panel(first row, panel)`.
    fn panels(&self, mut use_panel: impl FnMut(usize, Matrix)) {
        let rows = (PANEL / self.columns.max(1)).clamp(1, self.rows.max(1));
        let mut values = vec![0.0; rows * self.columns];
        for first in (0..self.rows).step_by(rows) {
            let rows = rows.min(self.rows - first);
            self.unpack(first, &mut values[..rows * self.columns]);
            use_panel(first, Matrix::new(&values, rows, self.columns));
        }
    }

    fn unpack(&self, first: usize, values: &mut [f32]) {
        let (words, scales) = (self.format.words(self.columns), self.format.scales(self.columns));
        let codes: &[i32] = self.codes.as_slice().unwrap_or_default();
        let all_scales = self.scales.as_ref().map_or(&[][..], Buffer::values);
        let rows_per_task = (TASK / self.columns.max(1)).max(1);
        values.par_chunks_mut(rows_per_task * self.columns).enumerate().for_each(|(task, values)| {
            vectorised(
                #[inline(always)]
                || {
                    for (index, row) in values.chunks_exact_mut(self.columns).enumerate() {
                        let at = first + task * rows_per_task + index;
                        let scales = &all_scales[at * scales..(at + 1) * scales];
                        self.format.unpack(&codes[at * words..(at + 1) * words], scales, row);
                    }
                },
            );
        });
    }
}
