//! What happens to whole images or windows: pools and gates, a task per image.

use rayon::prelude::*;

use crate::ops::{
    flex::simd::{sigmoid, vectorised},
    image::{Convolution, Grid},
};

/// `[pixels, channels]` to `[images, channels]`.
pub fn mean(x: &[f32], channels: usize, grid: Grid) -> Vec<f32> {
    let pixels = grid.pixels_per_image();
    let mut out = vec![0.0; grid.images * channels];
    out.par_chunks_mut(channels).zip(x.par_chunks(pixels * channels)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for pixel in x.chunks_exact(channels) {
                    for (out, value) in out.iter_mut().zip(pixel) {
                        *out += value;
                    }
                }
                for out in out {
                    *out /= pixels as f32;
                }
            },
        );
    });
    out
}

/// Gradient of [`mean`].
pub fn mean_backward(dy: &[f32], channels: usize, grid: Grid) -> Vec<f32> {
    let pixels = grid.pixels_per_image();
    let mut dx = vec![0.0; grid.pixels() * channels];
    dx.par_chunks_mut(pixels * channels).zip(dy.par_chunks(channels)).for_each(|(dx, dy)| {
        for pixel in dx.chunks_exact_mut(channels) {
            for (dx, dy) in pixel.iter_mut().zip(dy) {
                *dx = dy / pixels as f32;
            }
        }
    });
    dx
}

/// `x · sigmoid(gate)`, a gate per image and channel.
pub fn gated(x: &[f32], gate: &[f32], channels: usize, grid: Grid) -> Vec<f32> {
    let image = grid.pixels_per_image() * channels;
    let mut out = vec![0.0; x.len()];
    let inputs = x.par_chunks(image).zip(gate.par_chunks(channels));
    out.par_chunks_mut(image).zip(inputs).for_each(|(out, (x, gate))| {
        let open: Vec<f32> = gate.iter().map(|gate| sigmoid(*gate)).collect();
        vectorised(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for ((out, x), open) in out.iter_mut().zip(x).zip(&open) {
                        *out = x * open;
                    }
                }
            },
        );
    });
    out
}

/// Gradients of [`gated`] to `x` and `gate`.
pub fn gated_backward(
    x: &[f32],
    gate: &[f32],
    dy: &[f32],
    channels: usize,
    grid: Grid,
) -> (Vec<f32>, Vec<f32>) {
    let image = grid.pixels_per_image() * channels;
    let (mut dx, mut dgate) = (vec![0.0; x.len()], vec![0.0; gate.len()]);
    let inputs = x.par_chunks(image).zip(dy.par_chunks(image)).zip(gate.par_chunks(channels));
    let outputs = dx.par_chunks_mut(image).zip(dgate.par_chunks_mut(channels));
    outputs.zip(inputs).for_each(|((dx, dgate), ((x, dy), gate))| {
        let open: Vec<f32> = gate.iter().map(|gate| sigmoid(*gate)).collect();
        vectorised(
            #[inline(always)]
            || {
                let pixels = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
                for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(pixels) {
                    for ((dx, dy), open) in dx.iter_mut().zip(dy).zip(&open) {
                        *dx = dy * open;
                    }
                    for ((dgate, x), dy) in dgate.iter_mut().zip(x).zip(dy) {
                        *dgate += x * dy;
                    }
                }
                for (dgate, open) in dgate.iter_mut().zip(&open) {
                    *dgate *= open * (1.0 - open);
                }
            },
        );
    });
    (dx, dgate)
}

/// The pixels of an image under a window whose result is at `[line, position]`.
fn window(at: Convolution, line: usize, position: usize) -> impl Iterator<Item = usize> {
    let range = |first: usize, side: usize| {
        let start = first * at.stride;
        start.max(at.padding) - at.padding..(start + at.size).saturating_sub(at.padding).min(side)
    };
    let pixels = range(position, at.grid.width);
    range(line, at.grid.height)
        .flat_map(move |line| pixels.clone().map(move |pixel| line * at.grid.width + pixel))
}

/// Largest value of each window, by channel.
pub fn max(x: &[f32], channels: usize, at: Convolution) -> Vec<f32> {
    let (result, image) = (at.result(), at.grid.pixels_per_image() * channels);
    let mut out = vec![f32::NEG_INFINITY; result.pixels() * channels];
    out.par_chunks_mut(result.pixels_per_image() * channels).zip(x.par_chunks(image)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (index, out) in out.chunks_exact_mut(channels).enumerate() {
                    for pixel in window(at, index / result.width, index % result.width) {
                        for (out, x) in out.iter_mut().zip(&x[pixel * channels..(pixel + 1) * channels]) {
                            *out = if *x > *out { *x } else { *out };
                        }
                    }
                }
            },
        );
    });
    out
}

/// Gradient of [`max`]: to the first largest value of each window.
pub fn max_backward(x: &[f32], dy: &[f32], channels: usize, at: Convolution) -> Vec<f32> {
    let (result, image) = (at.result(), at.grid.pixels_per_image() * channels);
    let mut dx = vec![0.0; x.len()];
    let inputs = x.par_chunks(image).zip(dy.par_chunks(result.pixels_per_image() * channels));
    dx.par_chunks_mut(image).zip(inputs).for_each(|(dx, (x, dy))| {
        let (mut largest, mut place) = (vec![0.0f32; channels], vec![0u32; channels]);
        for (index, dy) in dy.chunks_exact(channels).enumerate() {
            largest.fill(f32::NEG_INFINITY);
            vectorised(
                #[inline(always)]
                || {
                    for pixel in window(at, index / result.width, index % result.width) {
                        let x = &x[pixel * channels..(pixel + 1) * channels];
                        for ((largest, place), x) in largest.iter_mut().zip(&mut place).zip(x) {
                            let is_larger = *x > *largest;
                            *largest = if is_larger { *x } else { *largest };
                            *place = if is_larger { pixel as u32 } else { *place };
                        }
                    }
                },
            );
            for (channel, (place, dy)) in place.iter().zip(dy).enumerate() {
                dx[*place as usize * channels + channel] += dy;
            }
        }
    });
    dx
}
