//! Three 3 × 3 convolutions (32, 64, 128 channels) and a linear layer: for digits and other small images.
//!
//! [`Form::Cells`] is what is trained today. Each convolution is followed by a batch norm and ReLU; the first two halve
//! their image while it has 8 pixels or more a side. The linear layer sees the means of 4 × 4 cells, so it knows where
//! something lies (PyTorch's `AdaptiveAvgPool2d(4)`, `Flatten`, `Linear`).
//!
//! [`Form::Mean`] is what versions before 0.2 trained: biases in place of norms, images halved after the second and the
//! third convolution, and the linear layer sees the mean of all pixels. It needs a learning rate within narrow bounds,
//! and does not know where anything lies. It is here so that saved classifiers can be evaluated.

use burn::tensor::{Tensor, TensorData};

use super::{Image, Pass, Shape, TensorList};
use crate::ops::image::{Activation, Convolution, ImageOps};

const WIDTHS: [usize; 3] = [32, 64, 128];
/// Cells a side whose means the linear layer sees.
const CELLS: usize = 4;
/// Images with fewer pixels a side are not halved.
const HALVED_FROM: usize = 8;

/// Which of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With norms; the means of cells decide.
    Cells,
    /// Without norms; the mean of all pixels decides.
    Mean,
}

pub(super) fn list(form: Form, shape: Shape, tensors: &mut TensorList) {
    let mut channels = shape.channels;
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let number = index + 1;
        tensors.kernels(&format!("conv{number}"), channels, width, 3);
        match form {
            Form::Cells => tensors.batch_norm(&format!("bn{number}"), width),
            Form::Mean => tensors.bias(&format!("conv{number}"), width),
        }
        channels = width;
    }
    let inputs = match form {
        Form::Cells => channels * CELLS * CELLS,
        Form::Mean => channels,
    };
    tensors.linear("fc", inputs, shape.classes);
}

pub(super) fn forward<B: ImageOps>(form: Form, pass: &Pass<B>, image: Image<B>) -> Tensor<B, 2> {
    let features = match form {
        Form::Cells => cells(pass, image),
        Form::Mean => mean(pass, image),
    };
    pass.linear(features, "fc", Activation::Identity)
}

fn cells<B: ImageOps>(pass: &Pass<B>, mut x: Image<B>) -> Tensor<B, 2> {
    for number in 1..=WIDTHS.len() {
        x = pass.convolution(&x, &format!("conv{number}"), 3, 1, 1);
        x = pass.norm(x, &format!("bn{number}"), None, Activation::Relu);
        if number < WIDTHS.len() && x.grid.height >= HALVED_FROM {
            x = halved(x);
        }
    }
    cell_means(x)
}

fn mean<B: ImageOps>(pass: &Pass<B>, mut x: Image<B>) -> Tensor<B, 2> {
    for number in 1..=WIDTHS.len() {
        let name = format!("conv{number}");
        x = pass.convolution(&x, &name, 3, 1, 1);
        x.rows = pass.bias(x.rows, &name, Activation::Relu);
        if number > 1 {
            x = halved(x);
        }
    }
    B::mean_pool(x.rows, x.grid)
}

fn halved<B: ImageOps>(x: Image<B>) -> Image<B> {
    let at = Convolution { grid: x.grid, size: 2, stride: 2, padding: 0 };
    Image { rows: B::max_pool(x.rows, at), grid: at.result() }
}

/// Means of 4 × 4 cells, `[images, channels · 16]`: channel after channel, and in each the cells row by row.
fn cell_means<B: ImageOps>(x: Image<B>) -> Tensor<B, 2> {
    let (images, side) = (x.grid.images, x.grid.height);
    let (pixels, [_, channels]) = (side * side, x.rows.dims());
    let by_channel = x.rows.reshape([images, pixels, channels]).swap_dims(1, 2);
    let by_channel = by_channel.reshape([images * channels, pixels]);
    let means = if side == CELLS {
        by_channel
    } else {
        let shares = TensorData::new(shares(side), [pixels, CELLS * CELLS]);
        let device = by_channel.device();
        by_channel.matmul(Tensor::from_data(shares, &device))
    };
    means.reshape([images, channels * CELLS * CELLS])
}

/// The share of each pixel (rows) in the mean of each cell (columns). Along a side, cell `i` has the pixels from
/// `⌊i · side / 4⌋` up to `⌈(i + 1) · side / 4⌉`, as PyTorch's adaptive pooling has it.
fn shares(side: usize) -> Vec<f32> {
    let bounds = |cell: usize| cell * side / CELLS..((cell + 1) * side).div_ceil(CELLS);
    let mut shares = vec![0.0; side * side * CELLS * CELLS];
    for row in 0..CELLS {
        for column in 0..CELLS {
            let count = bounds(row).len() * bounds(column).len();
            for y in bounds(row) {
                for x in bounds(column) {
                    shares[(y * side + x) * CELLS * CELLS + row * CELLS + column] = 1.0 / count as f32;
                }
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_adaptive_pooling() {
        // 8 pixels: cells of 2 × 2.
        let of_8 = shares(8);
        let column =
            |cell: usize| -> Vec<usize> { (0..64).filter(|pixel| of_8[pixel * 16 + cell] > 0.0).collect() };
        assert_eq!(column(0), [0, 1, 8, 9]);
        assert_eq!(column(7), [22, 23, 30, 31]);
        assert!(of_8.iter().all(|share| [0.0, 0.25].contains(share)));
        // 7 pixels: 0..2, 1..4, 3..6, 5..7 along a side.
        let of_7 = shares(7);
        let rows: Vec<usize> = (0..7).filter(|y| of_7[y * 7 * 16 + 4] > 0.0).collect();
        assert_eq!(rows, [1, 2, 3]);
        for (side, shares) in [(7, of_7), (5, shares(5)), (56, shares(56))] {
            for cell in 0..16 {
                let sum: f32 = (0..side * side).map(|pixel| shares[pixel * 16 + cell]).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{side}: {sum}");
            }
        }
    }
}
