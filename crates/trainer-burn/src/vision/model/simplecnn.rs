//! Three 3 × 3 convolutions with ReLU (32, 64, 128 channels), halved after the second and the third, the mean of all
//! pixels, a linear layer: for digits and other small images.

use burn::tensor::Tensor;

use super::{Image, Pass, Shape, TensorList};
use crate::ops::image::{Activation, Convolution, ImageOps};

const WIDTHS: [usize; 3] = [32, 64, 128];

pub(super) fn list(shape: Shape, tensors: &mut TensorList) {
    let mut channels = shape.channels;
    for (index, width) in WIDTHS.into_iter().enumerate() {
        let name = format!("conv{}", index + 1);
        tensors.kernels(&name, channels, width, 3);
        tensors.bias(&name, width);
        channels = width;
    }
    tensors.linear("fc", channels, shape.classes);
}

pub(super) fn forward<B: ImageOps>(pass: &Pass<B>, mut x: Image<B>) -> Tensor<B, 2> {
    for index in 1..=WIDTHS.len() {
        let name = format!("conv{index}");
        x = pass.convolution(&x, &name, 3, 1, 1);
        x.rows = pass.bias(x.rows, &name, Activation::Relu);
        if index > 1 {
            let at = Convolution { grid: x.grid, size: 2, stride: 2, padding: 0 };
            x = Image { rows: B::max_pool(x.rows, at), grid: at.result() };
        }
    }
    pass.linear(B::mean_pool(x.rows, x.grid), "fc", Activation::Identity)
}
