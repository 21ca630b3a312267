//! Weights on the processor: full ones as they lie, packed ones unpacked panel by panel inside the product, or row by row
//! where so few rows are projected that reading the weight is what takes the time.

use std::cell::RefCell;

use burn::{
    backend::Flex,
    tensor::{Int, Tensor},
};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{
    Buffer,
    matmul::{Matrix, matmul, matmul_into, matmul_local},
    simd::{dot, vectorised},
};
use crate::ops::{Packing, Weight};

/// Values of a packed weight that exist unpacked at once: a panel that stays in the second-level caches.
const PANEL: usize = 1 << 20;
/// Values per parallel task when rows are unpacked.
const TASK: usize = 1 << 14;
/// The same where the unpacked rows are multiplied at once.
const LARGE_TASK: usize = 1 << 16;
/// Up to so many rows of `x`, reading the weight is what takes the time: text that is written has one row for each prompt.
const FEW_ROWS: usize = 8;
/// From so many rows of `x` on, a product is one for all threads together ([`super::amx`]).
const MANY_ROWS: usize = 128;

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
            Self::Full(buffer) if x.rows != 1 => matmul(x, buffer.matrix().transposed()),
            Self::Packed(packed) if x.rows >= MANY_ROWS => {
                let mut y = vec![0.0; x.rows * packed.rows];
                packed.panels(|first, panel| {
                    matmul_into(&mut y[first..], packed.rows, x, panel.transposed(), false);
                });
                y
            }
            _ => transposed(self.apply_by_rows(x), x.rows),
        }
    }

    /// `weight · xᵀ`, a piece of the weight after another: each is read once, by one thread.
    fn apply_by_rows(&self, x: Matrix) -> Vec<f32> {
        let few = x.rows <= FEW_ROWS;
        let rows_per_task = (if few { TASK } else { LARGE_TASK } / self.columns().max(1)).max(1);
        let mut products = vec![0.0; self.rows() * x.rows];
        products.par_chunks_mut((rows_per_task * x.rows).max(1)).enumerate().for_each(|(task, products)| {
            let (first, rows) = (task * rows_per_task, products.len() / x.rows);
            if let Self::Packed(packed) = self
                && few
                && packed.format == Packing::Bf16
            {
                return packed.dots_of_bf16(products, first, x);
            }
            self.with_rows(first, rows, |weight| {
                if few {
                    dots(products, weight, x);
                } else {
                    matmul_local(products, x.rows, weight, x.transposed(), 1.0, false);
                }
            });
        });
        products
    }

    /// The rows from `first` on: as they lie, or unpacked.
    fn with_rows(&self, first: usize, rows: usize, use_rows: impl FnOnce(Matrix)) {
        match self {
            Self::Full(buffer) => use_rows(buffer.matrix().row_range(first, rows)),
            Self::Packed(packed) => with_scratch(rows * packed.columns, |values| {
                packed.unpack_local(first, values);
                use_rows(Matrix::new(values, rows, packed.columns));
            }),
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
        with_scratch(rows * self.columns, |values| {
            for first in (0..self.rows).step_by(rows) {
                let rows = rows.min(self.rows - first);
                self.unpack(first, &mut values[..rows * self.columns]);
                use_panel(first, Matrix::new(values, rows, self.columns));
            }
        });
    }

    /// [`dots`] of the rows from `first` on, which are read as they lie.
    fn dots_of_bf16(&self, products: &mut [f32], first: usize, x: Matrix) {
        let codes: &[i32] = self.codes.as_slice().unwrap_or_default();
        let words = self.format.words(self.columns);
        vectorised(
            #[inline(always)]
            || {
                for (row, products) in products.chunks_exact_mut(x.rows).enumerate() {
                    let at = (first + row) * words;
                    let halves: &[u16] = bytemuck::cast_slice(&codes[at..at + words]);
                    let halves = &halves[..self.columns];
                    for (index, product) in products.iter_mut().enumerate() {
                        *product = dot(x.row(index), halves, |bits| f32::from_bits(u32::from(bits) << 16));
                    }
                }
            },
        );
    }

    /// Unpacks the rows from `first` on, on all threads.
    fn unpack(&self, first: usize, values: &mut [f32]) {
        let rows_per_task = (TASK / self.columns.max(1)).max(1);
        values
            .par_chunks_mut(rows_per_task * self.columns)
            .enumerate()
            .for_each(|(task, values)| self.unpack_local(first + task * rows_per_task, values));
    }

    /// Unpacks the rows from `first` on, on this thread.
    fn unpack_local(&self, first: usize, values: &mut [f32]) {
        let (words, scales) = (self.format.words(self.columns), self.format.scales(self.columns));
        let codes: &[i32] = self.codes.as_slice().unwrap_or_default();
        let all_scales = self.scales.as_ref().map_or(&[][..], Buffer::values);
        vectorised(
            #[inline(always)]
            || {
                for (index, row) in values.chunks_exact_mut(self.columns).enumerate() {
                    let at = first + index;
                    let scales = &all_scales[at * scales..(at + 1) * scales];
                    self.format.unpack(&codes[at * words..(at + 1) * words], scales, row);
                }
            },
        );
    }
}

/// Every row of `weight` times every row of `x`: `weight · xᵀ`.
fn dots(products: &mut [f32], weight: Matrix, x: Matrix) {
    vectorised(
        #[inline(always)]
        || {
            for (row, products) in products.chunks_exact_mut(x.rows).enumerate() {
                for (index, product) in products.iter_mut().enumerate() {
                    *product = dot(weight.row(row), x.row(index), |value| value);
                }
            }
        },
    );
}

/// The rows and columns of row-major values of `columns` columns, exchanged.
fn transposed(values: Vec<f32>, columns: usize) -> Vec<f32> {
    if columns <= 1 {
        return values;
    }
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns)).copied().collect()
}

/// Calls `fill` with `length` values that this thread keeps, because fresh memory has to be cleared by the system first.
/// Their contents are whatever the last call left.
fn with_scratch(length: usize, fill: impl FnOnce(&mut [f32])) {
    thread_local!(static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) });
    // Taken, not borrowed: a thread that waits within `fill` may begin another product.
    let mut values = SCRATCH.take();
    if values.len() < length {
        values.resize(length, 0.0);
    }
    fill(&mut values[..length]);
    SCRATCH.set(values);
}

#[cfg(test)]
mod tests {
    use burn::backend::flex::FlexDevice;

    use super::*;
    use crate::ops::Packed;

    /// `[rows, columns]` values between −1 and 1.
    fn matrix(rows: usize, columns: usize, seed: usize) -> Vec<f32> {
        (0..rows * columns).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    fn packed(format: Packing, values: &[f32], columns: usize) -> Weight<Flex> {
        let (mut words, mut scales) = (Vec::new(), Vec::new());
        values.chunks(columns).for_each(|row| format.pack(row, &mut words, &mut scales));
        let shape = [values.len() / columns, columns];
        Weight::Packed(Packed::new(format, shape, words, scales, &FlexDevice))
    }

    #[test]
    fn products_with_few_many_and_no_rows_are_those_of_the_full_weight() {
        for columns in [33, 320] {
            let values = matrix(400, columns, 1);
            let full = super::super::tensor(values.clone(), [400, columns]);
            let formats = [Packing::F16, Packing::Bf16, Packing::Q8, Packing::Q4];
            let packed = formats.map(|format| packed(format, &values, columns));
            for weight in [Weight::Full(full)].iter().chain(&packed) {
                let exact: Vec<f32> = weight.full().into_data().iter::<f32>().collect();
                for count in [0, 1, 2, FEW_ROWS, FEW_ROWS + 1, 40, MANY_ROWS - 1, MANY_ROWS, 200] {
                    let x = matrix(count, columns, 2);
                    let x = Matrix::new(&x, count, columns);
                    let y = Rows::from(weight).apply(x);
                    assert_eq!(y.len(), count * 400);
                    for (index, y) in y.iter().enumerate() {
                        let (row, of) = (index / 400, index % 400);
                        let terms = x.row(row).iter().zip(&exact[of * columns..(of + 1) * columns]);
                        let terms: Vec<f64> = terms.map(|(a, b)| f64::from(a * b)).collect();
                        let (sum, size) =
                            (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
                        let off = (f64::from(*y) - sum).abs();
                        assert!(
                            off <= 5e-6 * size,
                            "{count} rows of {columns}, at {row}, {of}: {y}, not {sum}"
                        );
                    }
                }
            }
        }
    }
}
