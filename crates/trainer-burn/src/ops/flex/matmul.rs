//! Matrix products through the gemm crate, whose interface is raw pointers.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A strided view of f32 values as a matrix.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A contiguous row-major matrix.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(values, rows, columns, columns)
    }

    /// Rows that lie `row_stride` values apart.
    pub fn strided(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        let view = Self { values, rows, columns, row_stride, column_stride: 1 };
        assert!(view.span() <= values.len(), "matrix view exceeds its values");
        view
    }

    /// The same values, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The contiguous rows `start..start + len` of a row-major matrix.
    pub fn row_range(self, start: usize, len: usize) -> Self {
        Self::strided(&self.values[start * self.row_stride..], len, self.columns, self.row_stride)
    }

    /// The columns `start..start + len` of a row-major matrix.
    pub fn column_range(self, start: usize, len: usize) -> Self {
        Self::strided(&self.values[start..], self.rows, len, self.row_stride)
    }

    /// Row `index` of a row-major matrix.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.row_stride..index * self.row_stride + self.columns]
    }

    /// One past the largest index that the view reaches.
    fn span(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride + 1
    }
}

/// `left · right` as new row-major values, on all threads.
pub fn matmul(left: Matrix, right: Matrix) -> Vec<f32> {
    let length = left.rows * right.columns;
    let mut out: Vec<f32> = Vec::with_capacity(length);
    // SAFETY: the spare capacity is `length` values; gemm writes every one of them before they become visible.
    unsafe {
        product(out.as_mut_ptr(), right.columns, left, right, None, 1.0, parallelism(left, right));
        out.set_len(length);
    }
    out
}

/// `out += scale · left · right` on row-major values, on all threads.
pub fn matmul_add(out: &mut [f32], left: Matrix, right: Matrix, scale: f32) {
    assert!(out.len() >= left.rows * right.columns, "matrix product exceeds its output");
    // SAFETY: `out` holds all rows · columns values, as just checked.
    unsafe {
        product(out.as_mut_ptr(), right.columns, left, right, Some(1.0), scale, parallelism(left, right));
    }
}

/// `out = left · right` (or `+=` with `accumulate`) on all threads, rows `row_stride` apart.
pub fn matmul_into(out: &mut [f32], row_stride: usize, left: Matrix, right: Matrix, accumulate: bool) {
    strided_product(out, row_stride, left, right, 1.0, accumulate, parallelism(left, right));
}

/// `out = scale · left · right` (or `+=` with `accumulate`) on this thread, rows `row_stride` apart.
pub fn matmul_local(
    out: &mut [f32],
    row_stride: usize,
    left: Matrix,
    right: Matrix,
    scale: f32,
    accumulate: bool,
) {
    strided_product(out, row_stride, left, right, scale, accumulate, Parallelism::None);
}

fn strided_product(
    out: &mut [f32],
    row_stride: usize,
    left: Matrix,
    right: Matrix,
    scale: f32,
    accumulate: bool,
    parallelism: Parallelism,
) {
    if left.rows == 0 || right.columns == 0 {
        return;
    }
    assert!(
        out.len() >= (left.rows - 1) * row_stride + right.columns && row_stride >= right.columns,
        "matrix product exceeds its output"
    );
    // SAFETY: the last value that is written lies within `out`, as just checked.
    unsafe {
        product(out.as_mut_ptr(), row_stride, left, right, accumulate.then_some(1.0), scale, parallelism);
    }
}

/// Products below this many multiplications are not worth waking threads for.
const PARALLEL_FROM: usize = 1 << 20;

fn parallelism(left: Matrix, right: Matrix) -> Parallelism {
    if left.rows * left.columns * right.columns < PARALLEL_FROM {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    }
}

/// `out = keep · out + scale · left · right`; nothing of `out` is read when `keep` is `None`.
///
/// # Safety
/// `out` must be writable at `row · row_stride + column` for every row and column of the product.
unsafe fn product(
    out: *mut f32,
    row_stride: usize,
    left: Matrix,
    right: Matrix,
    keep: Option<f32>,
    scale: f32,
    parallelism: Parallelism,
) {
    assert_eq!(left.columns, right.rows, "matrix product of mismatched sizes");
    // SAFETY: `Matrix` guarantees that its view stays within its values; the caller vouches for `out`.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out,
            1,
            row_stride as isize,
            keep.is_some(),
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            keep.unwrap_or(0.0),
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
