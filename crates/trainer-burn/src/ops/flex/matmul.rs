//! Matrix products through the gemm crate, whose interface is raw pointers; large ones on Intel's matrix unit
//! ([`super::amx`]) where there is one.
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

    /// The values from the first on, how far rows and how far columns lie apart.
    #[cfg(target_arch = "x86_64")]
    pub fn raw(&self) -> (&'a [f32], usize, usize) {
        (self.values, self.row_stride, self.column_stride)
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
    #[cfg(target_arch = "x86_64")]
    if scale.to_bits() == 1f32.to_bits()
        && matches!(parallelism, Parallelism::Rayon(_))
        && super::amx::suits(left, right)
    {
        // SAFETY: the caller vouches for `out`.
        return unsafe { super::amx::product(out, row_stride, left, right, keep.is_some()) };
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Values between −0.5 and 0.5; bf16 numbers when asked for, as the weights of published models are.
    fn values(count: usize, seed: usize, bf16: bool) -> Vec<f32> {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let mixed = |i: usize| {
            let z = ((seed << 40 | i) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ z >> 31) >> 40
        };
        let value = |i: usize| mixed(i) as f32 / (1 << 24) as f32 - 0.5;
        let rounded = |value: f32| half::bf16::from_f32(value).to_f32();
        (0..count).map(|i| if bf16 { rounded(value(i)) } else { value(i) }).collect()
    }

    /// A matrix over `storage`, which holds it as it is or transposed, with `gap` other values between lines.
    fn view(storage: &[f32], rows: usize, columns: usize, transposed: bool, gap: usize) -> Matrix<'_> {
        if transposed {
            Matrix::strided(storage, columns, rows, rows + gap).transposed()
        } else {
            Matrix::strided(storage, rows, columns, columns + gap)
        }
    }

    fn at(matrix: Matrix, row: usize, column: usize) -> f64 {
        f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
    }

    #[test]
    fn products_of_every_size_and_layout_are_those_of_f64() {
        let sizes = [
            (128, 48, 128),
            (129, 50, 131),
            (200, 576, 320),
            (300, 1000, 129),
            (150, 2000, 300),
            (2100, 64, 2100),
            (1, 4096, 512),
            (512, 8, 4096),
        ];
        for (case, (rows, inner, columns)) in sizes.into_iter().enumerate() {
            for layout in 0..16 {
                let [left_transposed, right_transposed, left_bf16, right_bf16] =
                    [1, 2, 4, 8].map(|bit| layout & bit != 0);
                let gap = case % 3;
                let left = values((rows + gap) * (inner + gap), 1, left_bf16);
                let right = values((inner + gap) * (columns + gap), 2, right_bf16);
                let left = view(&left, rows, inner, left_transposed, gap);
                let right = view(&right, inner, columns, right_transposed, gap);
                let out = matmul(left, right);
                let stride = columns + gap;
                let mut added = vec![2.0; rows * stride];
                matmul_into(&mut added, stride, left, right, true);
                // An f32 sum of `inner` products that are at most a quarter.
                let tolerance = 8e-7 * (inner as f64).sqrt();
                for sample in 0..400 {
                    let (row, column) = (sample * 7 % rows, sample * 13 % columns);
                    let exact: f64 = (0..inner).map(|i| at(left, row, i) * at(right, i, column)).sum();
                    let what = format!("{rows}×{inner}×{columns}, layout {layout}, at {row}, {column}");
                    let plain = f64::from(out[row * columns + column]);
                    assert!((plain - exact).abs() < tolerance, "{what}: {plain}, not {exact}");
                    let sum = f64::from(added[row * stride + column]);
                    assert!((sum - exact - 2.0).abs() < tolerance + 4e-7, "{what}: {sum}, not 2 + {exact}");
                }
                for (index, value) in added.iter().enumerate().filter(|(index, _)| index % stride >= columns)
                {
                    assert!(value.to_bits() == 2f32.to_bits(), "{index} lies between two rows");
                }
            }
        }
    }

    #[test]
    fn products_do_not_depend_on_the_number_of_threads() {
        let (left, right) = (values(700 * 900, 1, false), values(900 * 800, 2, false));
        let (left, right) = (Matrix::new(&left, 700, 900), Matrix::new(&right, 900, 800));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| matmul(left, right))
        };
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let (one, three) = (bits(with(1)), bits(with(3)));
        assert!(one == three && one == bits(with(3)));
    }
}
