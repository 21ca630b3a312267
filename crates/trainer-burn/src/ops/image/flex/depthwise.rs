//! Convolution of each channel by itself: vectorised over channels, a line of the result at a time.

use rayon::prelude::*;

use crate::ops::{flex::simd::vectorised, image::Convolution};

/// The pixels of a line of length `side` that tap `tap` meets, as positions of the window.
fn positions(side: usize, results: usize, tap: usize, at: Convolution) -> std::ops::Range<usize> {
    // position · stride + tap − padding in 0..side
    let first = at.padding.saturating_sub(tap).div_ceil(at.stride);
    let last = (side + at.padding).saturating_sub(tap).div_ceil(at.stride).min(results);
    first.min(last)..last
}

/// `x [pixels, channels]`, `weight [size², channels]`.
pub fn forward(x: &[f32], weight: &[f32], channels: usize, at: Convolution) -> Vec<f32> {
    let (grid, result) = (at.grid, at.result());
    let mut out = vec![0.0; result.pixels() * channels];
    let image = grid.pixels_per_image() * channels;
    out.par_chunks_mut(result.width * channels).enumerate().for_each(|(line, out)| {
        let (x, line) = (&x[line / result.height * image..], line % result.height);
        vectorised(
            #[inline(always)]
            || {
                for tap in 0..at.size * at.size {
                    let [down, along] = [tap / at.size, tap % at.size];
                    if !positions(grid.height, result.height, down, at).contains(&line) {
                        continue;
                    }
                    let x = &x[(line * at.stride + down - at.padding) * grid.width * channels..];
                    let weight = &weight[tap * channels..(tap + 1) * channels];
                    for position in positions(grid.width, result.width, along, at) {
                        let start = (position * at.stride + along - at.padding) * channels;
                        let (x, out) = (&x[start..start + channels], &mut out[position * channels..]);
                        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                            *out += x * weight;
                        }
                    }
                }
            },
        );
    });
    out
}

/// Gradient to `x`.
pub fn dx(weight: &[f32], dy: &[f32], channels: usize, at: Convolution) -> Vec<f32> {
    let (grid, result) = (at.grid, at.result());
    let mut out = vec![0.0; grid.pixels() * channels];
    let images = out.par_chunks_mut(grid.pixels_per_image() * channels);
    images.zip(dy.par_chunks(result.pixels_per_image() * channels)).for_each(|(out, dy)| {
        vectorised(
            #[inline(always)]
            || {
                for tap in 0..at.size * at.size {
                    let [down, along] = [tap / at.size, tap % at.size];
                    let weight = &weight[tap * channels..(tap + 1) * channels];
                    for line in positions(grid.height, result.height, down, at) {
                        let out = &mut out[(line * at.stride + down - at.padding) * grid.width * channels..];
                        let dy = &dy[line * result.width * channels..];
                        for position in positions(grid.width, result.width, along, at) {
                            let start = (position * at.stride + along - at.padding) * channels;
                            let (out, dy) = (&mut out[start..start + channels], &dy[position * channels..]);
                            for ((out, dy), weight) in out.iter_mut().zip(dy).zip(weight) {
                                *out += dy * weight;
                            }
                        }
                    }
                }
            },
        );
    });
    out
}

/// Gradient to `weight`.
pub fn dweight(x: &[f32], dy: &[f32], channels: usize, at: Convolution) -> Vec<f32> {
    let (grid, result) = (at.grid, at.result());
    let taps: Vec<Vec<f32>> = (0..at.size * at.size)
        .into_par_iter()
        .map(|tap| {
            let [down, along] = [tap / at.size, tap % at.size];
            let mut sums = vec![0.0f32; channels];
            vectorised(
                #[inline(always)]
                || {
                    for image in 0..grid.images {
                        for line in positions(grid.height, result.height, down, at) {
                            let source = image * grid.height + line * at.stride + down - at.padding;
                            let x = &x[source * grid.width * channels..];
                            let dy = &dy[(image * result.height + line) * result.width * channels..];
                            for position in positions(grid.width, result.width, along, at) {
                                let start = (position * at.stride + along - at.padding) * channels;
                                let (x, dy) = (&x[start..start + channels], &dy[position * channels..]);
                                for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
                                    *sum += x * dy;
                                }
                            }
                        }
                    }
                },
            );
            sums
        })
        .collect();
    taps.concat()
}
