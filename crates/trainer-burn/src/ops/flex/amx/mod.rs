//! f32 products on Intel's matrix unit (AMX), through three bf16 numbers for each value.
//!
//! A value is the sum of three bf16 numbers: `high` is the value rounded, `middle` what that leaves rounded, `low` the
//! rest. Six of their nine products are added up in f32 ([`kernel`]). The three that are left out are below 2⁻²⁵ of the
//! result, so that the error is that of an f32 product (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial
//! Intelligence Datatype For Higher-Precision Computations", 2019). Where all values of a panel are bf16 numbers, as
//! frozen weights of most published models are, `middle` and `low` are zero and three products are enough.
//!
//! Values below about 10⁻³³ lose digits, because the unit takes subnormal numbers for zero; an infinity becomes NaN.
//!
//! The order of additions depends on the sizes of a product alone, never on the number of threads.

mod kernel;

use std::{cell::RefCell, sync::OnceLock};

use rayon::prelude::*;

use super::matmul::Matrix;
use kernel::{BLOCK, Block, DEPTH, Lanes, Line, Panel, STEP};

/// Inner sizes are cut into parts of about this many values: packed operands stay in the second-level cache.
const PART: usize = 768;
/// Lanes (rows or columns) of the operand that all threads share, packed at once.
const SHARED: usize = 1024;
/// Lanes of the other operand in one piece of work, packed by the thread that multiplies them.
const PIECE: usize = 256;

/// Whether this machine has the unit and a product is large enough in every direction to gain from it.
/// The bounds were found by trying sizes on a Xeon (docs/benchmarks/training.md).
pub fn suits(left: Matrix, right: Matrix) -> bool {
    left.rows.min(right.columns) >= 128 && left.columns >= 48 && available()
}

fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(kernel::enable)
}

/// `out = left · right`, or `out +=` with `accumulate`; rows of `out` lie `row_stride` values apart.
///
/// # Safety
/// [`suits`] must have said yes, and `out` must be writable at `row · row_stride + column` for every row and column of
/// the product.
pub unsafe fn product(out: *mut f32, row_stride: usize, left: Matrix, right: Matrix, accumulate: bool) {
    let (rows, columns) = (Lanes::rows(left), Lanes::columns(right));
    let out = Out { values: out, row_stride };
    let part = left.columns.div_ceil(parts(left.columns)).next_multiple_of(DEPTH);
    for start in (0..left.columns).step_by(part) {
        let depth = start..left.columns.min(start + part);
        let (rows, columns) = (rows.part(depth.clone()), columns.part(depth));
        // The smaller operand is shared: it is packed once and read by every piece of the larger one.
        // SAFETY: the caller's.
        unsafe { part_product(out, &rows, &columns, accumulate || start > 0) };
    }
}

fn parts(inner: usize) -> usize {
    (inner + PART / 2).checked_div(PART).unwrap_or_default().max(1)
}

unsafe fn part_product(out: Out, rows: &Lanes, columns: &Lanes, accumulate: bool) {
    let columns_are_shared = columns.count < rows.count;
    let (shared, other) = if columns_are_shared { (columns, rows) } else { (rows, columns) };
    let panel = rows.steps() * STEP;
    for first in (0..shared.count).step_by(SHARED) {
        let panels = SHARED.min(shared.count - first).div_ceil(BLOCK);
        with_buffer(panels * panel, |buffer| {
            let address = Address(buffer);
            let shared_panels: Vec<Panel> = (0..panels)
                .into_par_iter()
                // SAFETY: the buffer has room for every panel, and each panel is packed once.
                .map(|index| unsafe { shared.pack(first + index * BLOCK, address.line(index * panel)) })
                .collect();
            (0..other.count.div_ceil(PIECE)).into_par_iter().for_each(|piece| {
                let lanes = piece * PIECE..other.count.min((piece + 1) * PIECE);
                with_buffer(lanes.len().div_ceil(BLOCK) * panel, |buffer| {
                    let address = Address(buffer);
                    let own_panels: Vec<Panel> = lanes
                        .step_by(BLOCK)
                        .enumerate()
                        // SAFETY: as above.
                        .map(|(index, lane)| unsafe { other.pack(lane, address.line(index * panel)) })
                        .collect();
                    let session = kernel::Session::start();
                    for shared in &shared_panels {
                        for own in &own_panels {
                            let (left, right) =
                                if columns_are_shared { (own, shared) } else { (shared, own) };
                            // SAFETY: the block lies within the product, whose values the caller vouches for;
                            // no other piece of work writes it.
                            unsafe { session.multiply(left, right, &out.block(left, right), accumulate) };
                        }
                    }
                });
            });
        });
    }
}

/// Where the product goes.
#[derive(Clone, Copy)]
struct Out {
    values: *mut f32,
    row_stride: usize,
}

// SAFETY: threads write disjoint blocks.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// Where the products of two panels' lanes go.
    ///
    /// # Safety
    /// The panels' lanes must be rows and columns of the product.
    unsafe fn block(&self, rows: &Panel, columns: &Panel) -> Block {
        // SAFETY: the caller's.
        let values = unsafe { self.values.add(rows.first * self.row_stride + columns.first) };
        Block { values, row_stride: self.row_stride, rows: rows.lanes, columns: columns.lanes }
    }
}

/// A buffer's address, for threads that write disjoint parts of it.
#[derive(Clone, Copy)]
struct Address(*mut Line);

// SAFETY: threads write disjoint parts.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

impl Address {
    /// # Safety
    /// The buffer must be longer than `line`.
    unsafe fn line(self, line: usize) -> *mut Line {
        // SAFETY: the caller's.
        unsafe { self.0.add(line) }
    }
}

/// Runs `work` with memory for `lines` cache lines, and one step more that the kernel reads ahead; the thread keeps it.
fn with_buffer<R>(lines: usize, work: impl FnOnce(*mut Line) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    // Sizes that double leave less behind in the allocator than one for each batch.
    if buffer.capacity() < lines + STEP {
        buffer = Vec::with_capacity((lines + STEP).next_power_of_two());
    }
    let result = work(buffer.as_mut_ptr());
    KEPT.with_borrow_mut(|kept| kept.push(buffer));
    result
}
