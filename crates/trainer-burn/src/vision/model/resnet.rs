//! ResNet as torchvision builds it: in a bottleneck the 3 × 3 convolution takes the stride.

use burn::tensor::Tensor;

use super::{Image, Pass, Shape, TensorList};
use crate::ops::image::{Activation, Convolution, ImageOps};

/// How deep it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// ResNet-18.
    R18,
    /// ResNet-34.
    R34,
    /// ResNet-50.
    R50,
    /// ResNet-101.
    R101,
}

const WIDTHS: [usize; 4] = [64, 128, 256, 512];

impl Depth {
    const fn blocks(self) -> [usize; 4] {
        match self {
            Self::R18 => [2, 2, 2, 2],
            Self::R34 | Self::R50 => [3, 4, 6, 3],
            Self::R101 => [3, 4, 23, 3],
        }
    }

    /// Whether a block is a bottleneck: 1 × 1, 3 × 3 and 1 × 1 in place of two 3 × 3.
    const fn has_bottlenecks(self) -> bool {
        matches!(self, Self::R50 | Self::R101)
    }

    const fn expansion(self) -> usize {
        if self.has_bottlenecks() { 4 } else { 1 }
    }

    /// The blocks with their names, widths and strides.
    fn layers(self) -> impl Iterator<Item = Block> {
        let mut channels = WIDTHS[0];
        (0..4).flat_map(move |stage| (0..self.blocks()[stage]).map(move |index| (stage, index))).map(
            move |(stage, index)| {
                let (width, stride) = (WIDTHS[stage], if stage > 0 && index == 0 { 2 } else { 1 });
                let block = Block {
                    name: format!("layer{}.{index}", stage + 1),
                    channels,
                    width,
                    outputs: width * self.expansion(),
                    stride,
                };
                channels = block.outputs;
                block
            },
        )
    }
}

struct Block {
    name: String,
    channels: usize,
    width: usize,
    outputs: usize,
    stride: usize,
}

impl Block {
    fn has_downsample(&self) -> bool {
        self.stride > 1 || self.channels != self.outputs
    }
}

pub(super) fn list(depth: Depth, shape: Shape, tensors: &mut TensorList) {
    tensors.kernels("conv1", shape.channels, WIDTHS[0], 7);
    tensors.batch_norm("bn1", WIDTHS[0]);
    for block in depth.layers() {
        let Block { name, channels, width, outputs, .. } = &block;
        let convolutions = if depth.has_bottlenecks() {
            vec![(*channels, *width, 1), (*width, *width, 3), (*width, *outputs, 1)]
        } else {
            vec![(*channels, *width, 3), (*width, *outputs, 3)]
        };
        for (index, (channels, outputs, size)) in convolutions.into_iter().enumerate() {
            tensors.kernels(&format!("{name}.conv{}", index + 1), channels, outputs, size);
            tensors.batch_norm(&format!("{name}.bn{}", index + 1), outputs);
        }
        if block.has_downsample() {
            tensors.kernels(&format!("{name}.downsample.0"), *channels, *outputs, 1);
            tensors.batch_norm(&format!("{name}.downsample.1"), *outputs);
        }
    }
    tensors.linear("fc", WIDTHS[3] * depth.expansion(), shape.classes);
}

pub(super) fn forward<B: ImageOps>(depth: Depth, pass: &Pass<B>, image: Image<B>) -> Tensor<B, 2> {
    let x = pass.norm(pass.convolution(&image, "conv1", 7, 2, 3), "bn1", None, Activation::Relu);
    let at = Convolution { grid: x.grid, size: 3, stride: 2, padding: 1 };
    let mut x = Image { rows: B::max_pool(x.rows, at), grid: at.result() };
    for block in depth.layers() {
        let name = &block.name;
        let convolve = |x: &Image<B>, index: usize, size: usize, stride: usize| {
            pass.convolution(x, &format!("{name}.conv{index}"), size, stride, size / 2)
        };
        let norm = |x, index: usize, residual| {
            pass.norm(x, &format!("{name}.bn{index}"), residual, Activation::Relu)
        };
        let residual = if block.has_downsample() {
            let x = pass.convolution(&x, &format!("{name}.downsample.0"), 1, block.stride, 0);
            pass.norm(x, &format!("{name}.downsample.1"), None, Activation::Identity)
        } else {
            x.clone()
        };
        x = if depth.has_bottlenecks() {
            let y = norm(convolve(&x, 1, 1, 1), 1, None);
            let y = norm(convolve(&y, 2, 3, block.stride), 2, None);
            norm(convolve(&y, 3, 1, 1), 3, Some(residual))
        } else {
            let y = norm(convolve(&x, 1, 3, block.stride), 1, None);
            norm(convolve(&y, 2, 3, 1), 2, Some(residual))
        };
    }
    pass.linear(B::mean_pool(x.rows, x.grid), "fc", Activation::Identity)
}
