//! Convolutions without a matrix of patches: a tile of pixels times a panel of channels is summed in registers, over
//! the taps of the window where they lie.
//!
//! In images with their padding written out, the pixels under one line of a window are neighbours, so that a line's
//! taps are one run of `size · channels` values. All three directions are that one sum ([`Correlation`], [`dweight`]):
//! the gradient to the input is a correlation of the gradient with the window reversed, once for each of the
//! `stride²` ways in which a pixel can lie under it.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::ops::image::{Convolution, Grid};

/// Vectors of a panel.
const VECTORS: usize = 2;
/// Pixels (or taps) of a tile: with [`VECTORS`] as many sums as the registers of AVX2 hold.
const TILE: usize = 6;
/// The same where there are twice the registers (AVX-512).
const WIDE_TILE: usize = 12;
/// Result pixels of a task, at least: fewer would not pay for streaming the weights through the cache.
const TASK_PIXELS: usize = 192;
/// Pixels whose products are summed before the sums go back to memory.
const BLOCK_PIXELS: usize = 256;

/// `x [pixels, in]`, `weight [size² · in, out]`, `widths = [in, out]`.
pub fn forward(x: &[f32], weight: &[f32], [channels, outputs]: [usize; 2], at: Convolution) -> Vec<f32> {
    let at = Trimmed::of(at);
    let result = at.result;
    let panels = Panels::of(&at.weight(weight, channels * outputs), outputs);
    let layout = Layout { before: at.before, size: at.padded_size(), from: at.grid, channels };
    let run = at.taps[1].len() * channels;
    let places = places(result).map(|[line, pixel]| Place {
        source: (line * at.stride * layout.size[1] + pixel * at.stride) * channels,
        result: line * result.width + pixel,
    });
    let pass = Pass { panels, run, places: places.collect() };
    correlate(x, &layout, &[pass], result, outputs)
}

/// Gradient to `x`.
pub fn dx(weight: &[f32], dy: &[f32], [channels, outputs]: [usize; 2], at: Convolution) -> Vec<f32> {
    let (result, stride) = (at.result(), at.stride);
    // A pixel lies under at most so many positions of the window in a line.
    let most = at.size.div_ceil(stride);
    let last = |side: usize| (side - 1 + at.padding) / stride;
    let layout = Layout {
        before: [most - 1; 2],
        size: [
            most - 1 + result.height.max(last(at.grid.height) + 1),
            most - 1 + result.width.max(last(at.grid.width) + 1),
        ],
        from: result,
        channels: outputs,
    };
    let phases = (0..stride).flat_map(|line| (0..stride).map(move |pixel| [line, pixel]));
    let passes: Vec<Pass> = phases
        .filter_map(|phase| {
            // The taps that meet pixels of this phase, last first.
            let taps = phase.map(|first| (first..at.size).step_by(stride).rev().collect::<Vec<_>>());
            let [lines, pixels] = [taps[0].len(), taps[1].len()];
            if lines == 0 || pixels == 0 {
                return None;
            }
            let mut turned = Vec::with_capacity(lines * pixels * outputs * channels);
            for line in &taps[0] {
                for pixel in &taps[1] {
                    let start = (line * at.size + pixel) * channels * outputs;
                    transpose(&weight[start..start + channels * outputs], outputs, &mut turned);
                }
            }
            let places = places(at.grid)
                .filter(|place| (0..2).all(|axis| (place[axis] + at.padding) % stride == phase[axis]))
                .map(|[line, pixel]| {
                    let first = |position: usize, taps: usize| (position + at.padding) / stride + most - taps;
                    let source = first(line, lines) * layout.size[1] + first(pixel, pixels);
                    Place { source: source * outputs, result: line * at.grid.width + pixel }
                });
            Some(Pass {
                panels: Panels::of(&turned, channels),
                run: pixels * outputs,
                places: places.collect(),
            })
        })
        .collect();
    correlate(dy, &layout, &passes, at.grid, channels)
}

/// Gradient to `weight`.
pub fn dweight(x: &[f32], dy: &[f32], [channels, outputs]: [usize; 2], at: Convolution) -> Vec<f32> {
    let trimmed = Trimmed::of(at);
    let layout = Layout { before: trimmed.before, size: trimmed.padded_size(), from: trimmed.grid, channels };
    let mut source = layout.padded(x);
    // The last tile of a line reads past it.
    source.resize(source.len() + WIDE_TILE, 0.0);
    let panels = Panels::of(dy, outputs);
    let per_image = layout.size[0] * layout.size[1] * channels;
    let sources: Vec<usize> = (0..trimmed.grid.images)
        .flat_map(|image| {
            places(trimmed.result).map(move |[line, pixel]| {
                image * per_image
                    + (line * trimmed.stride * layout.size[1] + pixel * trimmed.stride) * channels
            })
        })
        .collect();
    let run = trimmed.taps[1].len() * channels;
    let lines = trimmed.taps[0].len();
    let tasks: Vec<[usize; 2]> =
        (0..panels.count).flat_map(|panel| (0..lines).map(move |line| [panel, line])).collect();
    let sums: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|[panel, line]| {
            let mut sums = vec![0.0; run * panels.width];
            Arch::new().dispatch(Outer {
                source: &source[line * layout.size[1] * channels..],
                sources: &sources,
                dy: panels.panel(*panel),
                sums: &mut sums,
            });
            sums
        })
        .collect();
    let mut dweight = vec![0.0; at.size * at.size * channels * outputs];
    for ([panel, line], sums) in tasks.iter().zip(&sums) {
        let line = line + trimmed.taps[0].start;
        let first = (line * at.size + trimmed.taps[1].start) * channels;
        let column = panel * panels.width;
        let width = panels.width.min(outputs - column);
        for (tap, sums) in sums.chunks(panels.width).enumerate() {
            let start = (first + tap) * outputs + column;
            dweight[start..start + width].copy_from_slice(&sums[..width]);
        }
    }
    dweight
}

/// A convolution without the taps of its window that meet padding alone: of 3 × 3 taps over a single pixel, one.
struct Trimmed {
    grid: Grid,
    result: Grid,
    stride: usize,
    size: usize,
    /// Lines and pixels of the window that meet an image.
    taps: [std::ops::Range<usize>; 2],
    /// Padding before the first line and the first pixel, as far as those taps reach.
    before: [usize; 2],
}

impl Trimmed {
    fn of(at: Convolution) -> Self {
        let result = at.result();
        let meets = |side: usize, results: usize| {
            // Tap t meets pixel p · stride + t − padding for some p.
            let meeting = |tap: &usize| {
                (0..results).any(|p| (p * at.stride + tap).checked_sub(at.padding).is_some_and(|i| i < side))
            };
            let first = (0..at.size).find(meeting).unwrap_or(0);
            let last = (0..at.size).rev().find(meeting).unwrap_or(at.size - 1);
            first..last + 1
        };
        let taps = [meets(at.grid.height, result.height), meets(at.grid.width, result.width)];
        // A tap that is trimmed away in front takes its share of the padding along.
        let before = [at.padding.saturating_sub(taps[0].start), at.padding.saturating_sub(taps[1].start)];
        Self { grid: at.grid, result, stride: at.stride, size: at.size, taps, before }
    }

    /// Lines and pixels that the taps reach from the first position to the last.
    fn padded_size(&self) -> [usize; 2] {
        let reach = |results: usize, taps: usize, before: usize, side: usize| {
            ((results - 1) * self.stride + taps).max(before + side)
        };
        [
            reach(self.result.height, self.taps[0].len(), self.before[0], self.grid.height),
            reach(self.result.width, self.taps[1].len(), self.before[1], self.grid.width),
        ]
    }

    /// The rows of `weight` for the taps that are left, each of `values` values.
    fn weight<'a>(&self, weight: &'a [f32], values: usize) -> std::borrow::Cow<'a, [f32]> {
        if self.taps.iter().all(|taps| taps.len() == self.size) {
            return weight.into();
        }
        let line = |line: usize| {
            let first = line * self.size + self.taps[1].start;
            &weight[first * values..(first + self.taps[1].len()) * values]
        };
        self.taps[0].clone().flat_map(line).copied().collect::<Vec<_>>().into()
    }
}

/// Positions in an image, line by line.
fn places(grid: Grid) -> impl Iterator<Item = [usize; 2]> {
    (0..grid.height).flat_map(move |line| (0..grid.width).map(move |pixel| [line, pixel]))
}

/// Appends `matrix`, rows of `columns` values, with rows and columns exchanged.
fn transpose(matrix: &[f32], columns: usize, out: &mut Vec<f32>) {
    for column in 0..columns {
        out.extend(matrix[column..].iter().step_by(columns));
    }
}

/// Images with padding written out.
struct Layout {
    /// Lines and pixels of padding before an image.
    before: [usize; 2],
    /// Lines and pixels of a padded image.
    size: [usize; 2],
    from: Grid,
    channels: usize,
}

impl Layout {
    fn padded(&self, images: &[f32]) -> Vec<f32> {
        let line = self.from.width * self.channels;
        let per_image = self.size[0] * self.size[1] * self.channels;
        let count = images.len() / (self.from.height * line);
        let mut out = vec![0.0; count * per_image];
        out.par_chunks_mut(per_image).zip(images.par_chunks(self.from.height * line)).for_each(
            |(out, image)| {
                for (index, values) in image.chunks(line).enumerate() {
                    let start = ((index + self.before[0]) * self.size[1] + self.before[1]) * self.channels;
                    out[start..start + line].copy_from_slice(values);
                }
            },
        );
        out
    }
}

/// Columns of a matrix in panels of a few vectors, rows one after another, the last panel filled up with zeros.
struct Panels {
    values: Vec<f32>,
    /// Columns of a panel.
    width: usize,
    count: usize,
    rows: usize,
}

impl Panels {
    fn of(matrix: &[f32], columns: usize) -> Self {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        let width = VECTORS * Arch::new().dispatch(Lanes);
        let (count, rows) = (columns.div_ceil(width), matrix.len() / columns);
        let mut values = vec![0.0; count * rows * width];
        values.par_chunks_mut((rows * width).max(1)).enumerate().for_each(|(panel, out)| {
            let first = panel * width;
            let kept = width.min(columns - first);
            for (out, row) in out.chunks_mut(width).zip(matrix.chunks(columns)) {
                out[..kept].copy_from_slice(&row[first..first + kept]);
            }
        });
        Self { values, width, count, rows }
    }

    fn panel(&self, index: usize) -> &[f32] {
        let length = self.rows * self.width;
        &self.values[index * length..(index + 1) * length]
    }
}

/// A result pixel of an image.
#[derive(Clone, Copy)]
struct Place {
    /// First value under the first tap, in the padded image.
    source: usize,
    /// Pixel of the result.
    result: usize,
}

/// Result pixels that share their weights.
struct Pass {
    panels: Panels,
    /// Values of a line of taps.
    run: usize,
    places: Vec<Place>,
}

/// All passes over all images, some images at a time: `[pixels of result, columns]`.
fn correlate(images: &[f32], layout: &Layout, passes: &[Pass], result: Grid, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; result.pixels() * columns];
    let pixels = result.pixels_per_image();
    let group = TASK_PIXELS.div_ceil(pixels).min(result.images.div_ceil(2));
    let image = layout.from.pixels_per_image() * layout.channels;
    let padded = layout.size[0] * layout.size[1] * layout.channels;
    let chunks = out.par_chunks_mut(group * pixels * columns).zip(images.par_chunks(group * image));
    chunks.for_each(|(out, images)| {
        let source = layout.padded(images);
        for pass in passes {
            let places: Vec<Place> = (0..source.len() / padded)
                .flat_map(|index| {
                    let moved = move |place: &Place| Place {
                        source: place.source + index * padded,
                        result: place.result + index * pixels,
                    };
                    pass.places.iter().map(moved)
                })
                .collect();
            for panel in 0..pass.panels.count {
                let first = panel * pass.panels.width;
                Arch::new().dispatch(Correlation {
                    source: &source,
                    line: layout.size[1] * layout.channels,
                    run: pass.run,
                    places: &places,
                    weights: pass.panels.panel(panel),
                    out: &mut out[first..],
                    columns,
                    width: pass.panels.width.min(columns - first),
                });
            }
        }
    });
    out
}

/// One panel of results at some places.
struct Correlation<'a> {
    source: &'a [f32],
    /// Values of a line of the source.
    line: usize,
    /// Values of a line of taps.
    run: usize,
    places: &'a [Place],
    weights: &'a [f32],
    /// From the panel's first column on.
    out: &'a mut [f32],
    /// Values of a result pixel.
    columns: usize,
    /// Columns of the panel.
    width: usize,
}

impl WithSimd for Correlation<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::F32_LANES >= 16 { self.tiles::<S, WIDE_TILE>(simd) } else { self.tiles::<S, TILE>(simd) }
    }
}

impl Correlation<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const P: usize>(self, simd: S) {
        let (weights, _) = S::as_simd_f32s(self.weights);
        let (weights, _) = weights.as_chunks::<VECTORS>();
        for tile in self.places.chunks(P) {
            // A tile that is not full computes its last pixel several times.
            let places: [Place; P] = from_fn(|p| tile[p.min(tile.len() - 1)]);
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; P];
            for (line, weights) in weights.chunks_exact(self.run).enumerate() {
                let runs: [&[f32]; P] =
                    from_fn(|p| &self.source[places[p].source + line * self.line..][..self.run]);
                for (tap, weights) in weights.iter().enumerate() {
                    for (sums, run) in sums.iter_mut().zip(&runs) {
                        let x = simd.splat_f32s(run[tap]);
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = simd.mul_add_e_f32s(x, *weight, *sum);
                        }
                    }
                }
            }
            for (place, sums) in tile.iter().zip(&sums) {
                let out = &mut self.out[place.result * self.columns..][..self.width];
                store(simd, out, sums);
            }
        }
    }
}

/// Writes as many of `vectors`' values as `out` has.
#[inline(always)]
fn store<S: Simd>(simd: S, out: &mut [f32], vectors: &[S::f32s; VECTORS]) {
    let (whole, rest) = S::as_mut_simd_f32s(out);
    let mut vectors = vectors.iter();
    for (out, vector) in whole.iter_mut().zip(&mut vectors) {
        *out = *vector;
    }
    if let (false, Some(vector)) = (rest.is_empty(), vectors.next()) {
        simd.partial_store_f32s(rest, *vector);
    }
}

/// Sums over all pixels of a line's taps times one panel of the gradient.
struct Outer<'a> {
    source: &'a [f32],
    /// First value under the line's first tap, of each result pixel.
    sources: &'a [usize],
    /// The panel of the gradient, by result pixel.
    dy: &'a [f32],
    /// By tap.
    sums: &'a mut [f32],
}

impl WithSimd for Outer<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::F32_LANES >= 16 { self.tiles::<S, WIDE_TILE>(simd) } else { self.tiles::<S, TILE>(simd) }
    }
}

impl Outer<'_> {
    #[inline(always)]
    fn tiles<S: Simd, const P: usize>(self, simd: S) {
        let (dy, _) = S::as_simd_f32s(self.dy);
        let (dy, _) = dy.as_chunks::<VECTORS>();
        let width = VECTORS * S::F32_LANES;
        for (sources, dy) in self.sources.chunks(BLOCK_PIXELS).zip(dy.chunks(BLOCK_PIXELS)) {
            for (tile, totals) in self.sums.chunks_mut(P * width).enumerate() {
                let source = &self.source[tile * P..];
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; P];
                for (start, dy) in sources.iter().zip(dy) {
                    // The padding at the source's end makes this never fail; a branch here would spill all sums.
                    let taps = source.get(*start..).and_then(|run| run.first_chunk()).unwrap_or(&[0.0; P]);
                    for (sums, tap) in sums.iter_mut().zip(taps) {
                        let x = simd.splat_f32s(*tap);
                        for (sum, dy) in sums.iter_mut().zip(dy) {
                            *sum = simd.mul_add_e_f32s(x, *dy, *sum);
                        }
                    }
                }
                let (totals, _) = S::as_mut_simd_f32s(totals);
                for (totals, sums) in totals.chunks_mut(VECTORS).zip(&sums) {
                    for (total, sum) in totals.iter_mut().zip(sums) {
                        *total = simd.add_f32s(*total, *sum);
                    }
                }
            }
        }
    }
}
