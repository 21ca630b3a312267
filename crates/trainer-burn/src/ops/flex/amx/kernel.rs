//! Packing into three planes of bf16, and the product of two packed panels on the tiles.

use std::{arch::asm, marker::PhantomData, ops::Range};

#[allow(clippy::wildcard_imports, reason = "two dozen intrinsics")]
use std::arch::x86_64::*;

use super::Matrix;

/// Rows and columns of a result that stays in tiles: two by two tiles of 16 by 16.
pub const BLOCK: usize = 2 * TILE;
/// Inner values of one tile product.
pub const DEPTH: usize = 2 * TILE;
/// Cache lines of [`BLOCK`] lanes by [`DEPTH`] inner values: two tiles, each in three planes of 16 lines.
pub const STEP: usize = 2 * LINES_OF_TILE;

const TILE: usize = 16;
/// Three planes.
const LINES_OF_TILE: usize = 3 * TILE;

/// One line of the cache: a row of a tile.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line(#[allow(dead_code, reason = "read by the tiles alone")] [f32; TILE]);

/// Rows of a left operand or columns of a right one: what a result has one row or column for.
pub struct Lanes<'a> {
    values: &'a [f32],
    /// How many.
    pub count: usize,
    lane_stride: usize,
    depth: usize,
    depth_stride: usize,
    /// Columns are packed in pairs of inner values, as the unit wants its second operand.
    are_columns: bool,
}

impl<'a> Lanes<'a> {
    /// The rows of a left operand.
    pub fn rows(left: Matrix<'a>) -> Self {
        Self::of(left, false)
    }

    /// The columns of a right operand.
    pub fn columns(right: Matrix<'a>) -> Self {
        Self::of(right.transposed(), true)
    }

    fn of(lanes: Matrix<'a>, are_columns: bool) -> Self {
        let (values, lane_stride, depth_stride) = lanes.raw();
        assert!(lane_stride == 1 || depth_stride == 1, "neither rows nor columns of a matrix are contiguous");
        Self { values, count: lanes.rows, lane_stride, depth: lanes.columns, depth_stride, are_columns }
    }

    /// The same lanes with the inner values of `range` alone.
    pub fn part(&self, range: Range<usize>) -> Self {
        Self { values: &self.values[range.start * self.depth_stride..], depth: range.len(), ..*self }
    }

    /// Tile products along the inner values.
    pub fn steps(&self) -> usize {
        self.depth.div_ceil(DEPTH)
    }

    /// Packs up to [`BLOCK`] lanes from `first` on, filled up with zeros.
    ///
    /// # Safety
    /// [`enable`] must have said yes; `to` has room for [`Self::steps`] times [`STEP`] lines.
    pub unsafe fn pack(&self, first: usize, to: *mut Line) -> Panel {
        let lanes = BLOCK.min(self.count - first);
        // SAFETY: the lanes lie within the matrix, whose view was checked; the processor has the instructions.
        let is_bf16 = unsafe { pack::<1>(self, first, lanes, to) };
        if !is_bf16 {
            // SAFETY: as above.
            unsafe { pack::<3>(self, first, lanes, to) };
        }
        Panel { lines: to, steps: self.steps(), first, lanes, is_bf16 }
    }
}

/// Up to [`BLOCK`] packed lanes.
pub struct Panel {
    lines: *const Line,
    steps: usize,
    /// The first lane's row or column in the product.
    pub first: usize,
    /// How many lanes are not filling.
    pub lanes: usize,
    /// Every value is a bf16 number: `high` alone is packed.
    is_bf16: bool,
}

// SAFETY: a panel is only read once it is packed.
unsafe impl Send for Panel {}
// SAFETY: as above.
unsafe impl Sync for Panel {}

/// Where a block of the result goes.
pub struct Block {
    pub values: *mut f32,
    pub row_stride: usize,
    pub rows: usize,
    pub columns: usize,
}

/// The tiles of this thread, ready for products until this is dropped.
pub struct Session(PhantomData<*const ()>);

impl Session {
    pub fn start() -> Self {
        /// `LDTILECFG`'s operand: eight tiles of 16 rows of 64 bytes.
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            reserved: [u8; 15],
            bytes_of_row: [u16; 16],
            rows: [u8; 16],
        }
        static CONFIGURATION: Configuration = Configuration {
            palette: 1,
            reserved: [0; 15],
            bytes_of_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        // SAFETY: packed panels exist, so the process may use the unit; the operand is valid and aligned.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) };
        Self(PhantomData)
    }

    /// Writes the products of the lanes of `left` and `right`, or adds them with `accumulate`.
    ///
    /// # Safety
    /// `block` must be writable, and both panels packed with the same inner values.
    #[allow(clippy::unused_self, reason = "the tiles must be ready")]
    pub unsafe fn multiply(&self, left: &Panel, right: &Panel, block: &Block, accumulate: bool) {
        if block.rows == BLOCK && block.columns == BLOCK {
            // SAFETY: the caller's.
            return unsafe { tiles(left, right, block.values, block.row_stride, accumulate) };
        }
        let mut whole = [Line([0.0; TILE]); BLOCK * BLOCK / TILE];
        let whole = whole.as_mut_ptr().cast::<f32>();
        // SAFETY: `whole` holds a full block, of which the rows and columns of `block` are copied.
        unsafe {
            tiles(left, right, whole, BLOCK, false);
            for row in 0..block.rows {
                for column in 0..block.columns {
                    let out = block.values.add(row * block.row_stride + column);
                    let value = *whole.add(row * BLOCK + column);
                    *out = if accumulate { *out + value } else { value };
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: gives the tiles back; nothing else uses them.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Asks the operating system for the unit; whether this process may use it, and the processor has what packing needs.
#[cfg(target_os = "linux")]
pub fn enable() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16");
    if !vectors || __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE != AMX_BF16_AND_TILE {
        return false;
    }
    let refused: i64;
    // SAFETY: a system call that changes nothing but this process's permission (Documentation/arch/x86/xstate.rst).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => refused,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    refused == 0
}

/// The other systems are asked in other ways, which nobody has tried.
#[cfg(not(target_os = "linux"))]
pub fn enable() -> bool {
    false
}

// Tiles 0 to 3 hold the result: 0 and 1 the upper half, 2 and 3 the lower. Tiles 4 and 5 hold the upper and lower rows
// of `left`, 6 and 7 the left and right columns of `right`, one plane at a time. Each macro multiplies what is loaded
// and then loads the next plane as soon as a tile is free. Numbers are offsets in bytes: planes are 1024 apart, tiles
// 3072, steps 6144.
macro_rules! then_left {
    ($upper:literal, $lower:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7\n",
            "tileloadd tmm4, [{left} + {line} + ",
            $upper,
            "]\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n tdpbf16ps tmm3, tmm5, tmm7\n",
            "tileloadd tmm5, [{left} + {line} + ",
            $lower,
            "]",
        )
    };
}
macro_rules! then_right {
    ($first:literal, $second:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm2, tmm5, tmm6\n",
            "tileloadd tmm6, [{right} + {line} + ",
            $first,
            "]\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n tdpbf16ps tmm3, tmm5, tmm7\n",
            "tileloadd tmm7, [{right} + {line} + ",
            $second,
            "]",
        )
    };
}
macro_rules! then_both {
    ($upper:literal, $lower:literal, $first:literal, $second:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7\n",
            "tileloadd tmm4, [{left} + {line} + ",
            $upper,
            "]\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            "tileloadd tmm6, [{right} + {line} + ",
            $first,
            "]\n",
            "tdpbf16ps tmm3, tmm5, tmm7\n",
            "tileloadd tmm5, [{left} + {line} + ",
            $lower,
            "]\n",
            "tileloadd tmm7, [{right} + {line} + ",
            $second,
            "]",
        )
    };
}
/// The loop over steps: the given products, after loading one plane of each operand.
macro_rules! steps {
    (
        $left:ident, $right:ident,
        [$upper:literal, $lower:literal], [$first:literal, $second:literal],
        $($products:expr),+ $(,)?
    ) => {
        asm!(
            concat!("tileloadd tmm4, [{left} + {line} + ", $upper, "]"),
            concat!("tileloadd tmm5, [{left} + {line} + ", $lower, "]"),
            concat!("tileloadd tmm6, [{right} + {line} + ", $first, "]"),
            concat!("tileloadd tmm7, [{right} + {line} + ", $second, "]"),
            "2:",
            $($products,)+
            "add {left}, 6144",
            "add {right}, 6144",
            "dec {steps}",
            "jnz 2b",
            left = inout(reg) $left.lines => _,
            right = inout(reg) $right.lines => _,
            steps = inout(reg) $left.steps => _,
            line = in(reg) size_of::<Line>(),
            options(nostack),
        )
    };
}

/// `out = left · right` for a whole block of 32 by 32, or `out +=` with `accumulate`.
unsafe fn tiles(left: &Panel, right: &Panel, out: *mut f32, row_stride: usize, accumulate: bool) {
    debug_assert_eq!(left.steps, right.steps);
    let stride = row_stride * size_of::<f32>();
    // SAFETY: the caller vouches for the block; panels have `steps` steps and one more that may be read ahead.
    unsafe {
        let lower = out.add(TILE * row_stride);
        if accumulate {
            asm!(
                "tileloadd tmm0, [{upper} + {stride}]",
                "tileloadd tmm1, [{upper} + {stride} + 64]",
                "tileloadd tmm2, [{lower} + {stride}]",
                "tileloadd tmm3, [{lower} + {stride} + 64]",
                upper = in(reg) out, lower = in(reg) lower, stride = in(reg) stride,
                options(nostack, readonly),
            );
        } else {
            // The lines that are written at the end are fetched meanwhile.
            for row in 0..BLOCK {
                _mm_prefetch::<_MM_HINT_ET0>(out.add(row * row_stride).cast());
                _mm_prefetch::<_MM_HINT_ET0>(out.add(row * row_stride + TILE).cast());
            }
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        // Small products first: low · high, middle · high, high · high, high · low, high · middle, middle · middle.
        match (left.is_bf16, right.is_bf16) {
            (false, false) => steps!(
                left,
                right,
                [2048, 5120],
                [0, 3072],
                then_left!(1024, 4096),
                then_left!(0, 3072),
                then_right!(2048, 5120),
                then_right!(1024, 4096),
                then_left!(1024, 4096),
                then_both!(8192, 11264, 6144, 9216),
            ),
            (true, true) => steps!(left, right, [0, 3072], [0, 3072], then_both!(6144, 9216, 6144, 9216)),
            (false, true) => steps!(
                left,
                right,
                [2048, 5120],
                [0, 3072],
                then_left!(1024, 4096),
                then_left!(0, 3072),
                then_both!(8192, 11264, 6144, 9216),
            ),
            (true, false) => steps!(
                left,
                right,
                [0, 3072],
                [2048, 5120],
                then_right!(1024, 4096),
                then_right!(0, 3072),
                then_both!(6144, 9216, 8192, 11264),
            ),
        }
        asm!(
            "tilestored [{upper} + {stride}], tmm0",
            "tilestored [{upper} + {stride} + 64], tmm1",
            "tilestored [{lower} + {stride}], tmm2",
            "tilestored [{lower} + {stride} + 64], tmm3",
            upper = in(reg) out, lower = in(reg) lower, stride = in(reg) stride,
            options(nostack),
        );
    }
}

/// Packs `PLANES` planes of [`Lanes::pack`]'s lanes; stops and says no where what is left of a value is not zero.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pack<const PLANES: usize>(lanes: &Lanes, first: usize, count: usize, to: *mut Line) -> bool {
    let along_depth = lanes.depth_stride == 1;
    for step in 0..lanes.steps() {
        let start = step * DEPTH;
        let depth = DEPTH.min(lanes.depth - start);
        for tile in 0..BLOCK / TILE {
            let lane = tile * TILE;
            let count = count.saturating_sub(lane).min(TILE);
            let mut planes = [[_mm512_setzero_si512(); TILE]; PLANES];
            // Nothing is read for a tile that is all filling.
            let from = (first + lane) * lanes.lane_stride + start * lanes.depth_stride;
            let from = lanes.values.as_ptr().wrapping_add(from);
            // SAFETY: reads are masked to the lanes and inner values that exist.
            let left = unsafe {
                if along_depth {
                    split_lanes(from, lanes.lane_stride, count, depth, &mut planes)
                } else {
                    split_pairs(from, lanes.depth_stride, count, depth, &mut planes)
                }
            };
            if PLANES == 1 && left != 0 {
                return false;
            }
            for plane in &mut planes {
                if along_depth == lanes.are_columns {
                    transpose(plane);
                }
            }
            let to: *mut __m512i = to.wrapping_add(step * STEP + tile * LINES_OF_TILE).cast();
            for (index, line) in planes.as_flattened().iter().enumerate() {
                // SAFETY: the caller vouches for room; lines are aligned.
                unsafe { _mm512_store_si512(to.wrapping_add(index), *line) };
            }
        }
    }
    true
}

/// Lanes whose inner values are contiguous: line i of a plane is lane i. Which have something left.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn split_lanes<const PLANES: usize>(
    from: *const f32,
    lane_stride: usize,
    count: usize,
    depth: usize,
    planes: &mut [[__m512i; TILE]; PLANES],
) -> u16 {
    let mut left = _mm512_setzero_ps();
    let masks = [mask(depth), mask(depth.saturating_sub(TILE))];
    for lane in 0..count {
        let from = from.wrapping_add(lane * lane_stride);
        // SAFETY: the caller's; masked values are not read.
        let mut values = unsafe {
            [_mm512_maskz_loadu_ps(masks[0], from), _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(TILE))]
        };
        for plane in &mut *planes {
            let rounded = _mm512_cvtne2ps_pbh(values[1], values[0]);
            // SAFETY: both are 64 plain bytes.
            let rounded: __m512i = unsafe { std::mem::transmute(rounded) };
            plane[lane] = rounded;
            let [low, high] = widened(rounded);
            values = [_mm512_sub_ps(values[0], low), _mm512_sub_ps(values[1], high)];
        }
        left = either(left, values);
    }
    nonzero(left)
}

/// Inner values whose lanes are contiguous: line i of a plane has the inner values 2i and 2i + 1 of every lane.
/// Which have something left.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn split_pairs<const PLANES: usize>(
    from: *const f32,
    depth_stride: usize,
    count: usize,
    depth: usize,
    planes: &mut [[__m512i; TILE]; PLANES],
) -> u16 {
    let mut left = _mm512_setzero_ps();
    let lanes = mask(count);
    for pair in 0..depth.div_ceil(2) {
        let from = from.wrapping_add(2 * pair * depth_stride);
        let second = if 2 * pair + 1 < depth { lanes } else { 0 };
        // SAFETY: the caller's; masked values are not read.
        let mut values = unsafe {
            [
                _mm512_maskz_loadu_ps(lanes, from),
                _mm512_maskz_loadu_ps(second, from.wrapping_add(depth_stride)),
            ]
        };
        for plane in &mut *planes {
            let rounded = _mm512_cvtne2ps_pbh(values[1], values[0]);
            // SAFETY: both are 64 plain bytes.
            let [first, second] = widened(unsafe { std::mem::transmute::<__m512bh, __m512i>(rounded) });
            plane[pair] = _mm512_or_si512(
                _mm512_srli_epi32::<16>(_mm512_castps_si512(first)),
                _mm512_castps_si512(second),
            );
            values = [_mm512_sub_ps(values[0], first), _mm512_sub_ps(values[1], second)];
        }
        left = either(left, values);
    }
    nonzero(left)
}

/// 32 bf16 numbers as f32: the first half and the second.
#[target_feature(enable = "avx512f,avx512bw")]
fn widened(numbers: __m512i) -> [__m512; 2] {
    [_mm512_castsi512_si256(numbers), _mm512_extracti64x4_epi64::<1>(numbers)]
        .map(|half| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half))))
}

/// The bits of `left` and of both `values`.
#[target_feature(enable = "avx512f")]
fn either(left: __m512, values: [__m512; 2]) -> __m512 {
    let bits = [left, values[0], values[1]].map(|values| _mm512_castps_si512(values));
    _mm512_castsi512_ps(_mm512_or_si512(bits[0], _mm512_or_si512(bits[1], bits[2])))
}

/// Which lanes hold something else than zero.
#[target_feature(enable = "avx512f")]
fn nonzero(values: __m512) -> u16 {
    _mm512_test_epi32_mask(_mm512_castps_si512(values), _mm512_set1_epi32(i32::MAX))
}

/// The first `count` lanes of sixteen.
fn mask(count: usize) -> u16 {
    if count >= TILE { u16::MAX } else { (1 << count) - 1 }
}

/// Transposes 16 by 16 pairs of bf16 numbers: by elements, pairs and quarters of a line.
#[target_feature(enable = "avx512f")]
fn transpose(lines: &mut [__m512i; TILE]) {
    let mut other = [_mm512_setzero_si512(); TILE];
    for i in 0..8 {
        other[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
        other[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
    }
    for i in (0..TILE).step_by(4) {
        lines[i] = _mm512_unpacklo_epi64(other[i], other[i + 2]);
        lines[i + 1] = _mm512_unpackhi_epi64(other[i], other[i + 2]);
        lines[i + 2] = _mm512_unpacklo_epi64(other[i + 1], other[i + 3]);
        lines[i + 3] = _mm512_unpackhi_epi64(other[i + 1], other[i + 3]);
    }
    for i in 0..4 {
        other[i] = _mm512_shuffle_i32x4::<0x88>(lines[i], lines[i + 4]);
        other[i + 4] = _mm512_shuffle_i32x4::<0xdd>(lines[i], lines[i + 4]);
        other[i + 8] = _mm512_shuffle_i32x4::<0x88>(lines[i + 8], lines[i + 12]);
        other[i + 12] = _mm512_shuffle_i32x4::<0xdd>(lines[i + 8], lines[i + 12]);
    }
    for i in 0..8 {
        lines[i] = _mm512_shuffle_i32x4::<0x88>(other[i], other[i + 8]);
        lines[i + 8] = _mm512_shuffle_i32x4::<0xdd>(other[i], other[i + 8]);
    }
}
