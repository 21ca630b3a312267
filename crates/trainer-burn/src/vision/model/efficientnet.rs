//! EfficientNet as torchvision builds it.

use burn::tensor::Tensor;

use super::{Image, Pass, Shape, TensorList};
use crate::ops::image::{Activation, ImageOps};

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// EfficientNet-B0.
    B0,
    /// EfficientNet-B1.
    B1,
    /// EfficientNet-B2.
    B2,
    /// EfficientNet-B3.
    B3,
}

/// A stage of B0: expansion, kernel size, stride, channels, blocks.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];
const STEM: usize = 32;
/// Share of images for which the last block's branch is left out; it rises from 0 over the blocks.
const DROP_PATH: f32 = 0.2;

impl Scale {
    const fn width_factor(self) -> f64 {
        match self {
            Self::B0 | Self::B1 => 1.0,
            Self::B2 => 1.1,
            Self::B3 => 1.2,
        }
    }

    const fn depth_factor(self) -> f64 {
        match self {
            Self::B0 => 1.0,
            Self::B1 => 1.1,
            Self::B2 => 1.2,
            Self::B3 => 1.4,
        }
    }

    const fn dropout(self) -> f32 {
        match self {
            Self::B0 | Self::B1 => 0.2,
            Self::B2 | Self::B3 => 0.3,
        }
    }

    /// Channels scaled to the nearest multiple of 8 that takes no more than a tenth away.
    fn width(self, channels: usize) -> usize {
        let scaled = channels as f64 * self.width_factor();
        let rounded = (((scaled + 4.0) as usize) / 8 * 8).max(8);
        if (rounded as f64) < 0.9 * scaled { rounded + 8 } else { rounded }
    }

    fn blocks(self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut channels = self.width(STEM);
        for (stage, (expansion, size, stride, outputs, count)) in STAGES.into_iter().enumerate() {
            let outputs = self.width(outputs);
            for index in 0..(count as f64 * self.depth_factor()).ceil() as usize {
                blocks.push(Block {
                    name: format!("features.{}.{index}.block", stage + 1),
                    channels,
                    expanded: channels * expansion,
                    outputs,
                    size,
                    stride: if index == 0 { stride } else { 1 },
                });
                channels = outputs;
            }
        }
        blocks
    }

    /// Channels of the last convolution.
    fn last_width(self) -> usize {
        4 * self.width(STAGES[6].3)
    }
}

/// An inverted bottleneck with squeeze and excitation.
struct Block {
    name: String,
    channels: usize,
    expanded: usize,
    outputs: usize,
    size: usize,
    stride: usize,
}

impl Block {
    const fn expands(&self) -> bool {
        self.expanded != self.channels
    }

    /// Names of depthwise convolution, gate and projection.
    fn parts(&self) -> [String; 3] {
        let first = usize::from(self.expands());
        [first, first + 1, first + 2].map(|index| format!("{}.{index}", self.name))
    }
}

const HEAD: &str = "features.8";

pub(super) fn list(scale: Scale, shape: Shape, tensors: &mut TensorList) {
    tensors.kernels("features.0.0", shape.channels, scale.width(STEM), 3);
    tensors.batch_norm("features.0.1", scale.width(STEM));
    for block in scale.blocks() {
        if block.expands() {
            tensors.kernels(&format!("{}.0.0", block.name), block.channels, block.expanded, 1);
            tensors.batch_norm(&format!("{}.0.1", block.name), block.expanded);
        }
        let [depthwise, gate, project] = block.parts();
        tensors.channel_kernels(&format!("{depthwise}.0"), block.expanded, block.size);
        tensors.batch_norm(&format!("{depthwise}.1"), block.expanded);
        let squeezed = (block.channels / 4).max(1);
        for (name, channels, outputs) in
            [("fc1", block.expanded, squeezed), ("fc2", squeezed, block.expanded)]
        {
            let name = format!("{gate}.{name}");
            tensors.kernels(&name, channels, outputs, 1);
            tensors.bias(&name, outputs);
        }
        tensors.kernels(&format!("{project}.0"), block.expanded, block.outputs, 1);
        tensors.batch_norm(&format!("{project}.1"), block.outputs);
    }
    tensors.kernels(&format!("{HEAD}.0"), scale.width(STAGES[6].3), scale.last_width(), 1);
    tensors.batch_norm(&format!("{HEAD}.1"), scale.last_width());
    tensors.linear("classifier.1", scale.last_width(), shape.classes);
}

pub(super) fn forward<B: ImageOps>(scale: Scale, pass: &Pass<B>, image: Image<B>) -> Tensor<B, 2> {
    let x = pass.convolution(&image, "features.0.0", 3, 2, 1);
    let mut x = pass.norm(x, "features.0.1", None, Activation::Silu);
    let blocks = scale.blocks();
    for (index, block) in blocks.iter().enumerate() {
        let [depthwise, gate, project] = block.parts();
        let mut y = x.clone();
        if block.expands() {
            let name = format!("{}.0", block.name);
            y = pass.norm(
                pass.convolution(&y, &format!("{name}.0"), 1, 1, 0),
                &format!("{name}.1"),
                None,
                Activation::Silu,
            );
        }
        y = pass.depthwise(&y, &format!("{depthwise}.0"), block.size, block.stride);
        y = pass.norm(y, &format!("{depthwise}.1"), None, Activation::Silu);
        y.rows = B::gated(y.rows.clone(), excitation(pass, &gate, &y), y.grid);
        y = pass.convolution(&y, &format!("{project}.0"), 1, 1, 0);
        let norm = format!("{project}.1");
        x = if block.stride == 1 && block.channels == block.outputs {
            let rate = DROP_PATH * index as f32 / blocks.len() as f32;
            let mut y = pass.drop_path(pass.norm(y, &norm, None, Activation::Identity), rate, index as u64);
            y.rows = y.rows + x.rows;
            y
        } else {
            pass.norm(y, &norm, None, Activation::Identity)
        };
    }
    let x = pass.convolution(&x, &format!("{HEAD}.0"), 1, 1, 0);
    let x = pass.norm(x, &format!("{HEAD}.1"), None, Activation::Silu);
    let pooled = pass.dropout(B::mean_pool(x.rows, x.grid), scale.dropout(), u64::MAX);
    pass.linear(pooled, "classifier.1", Activation::Identity)
}

/// The gates before their sigmoid, `[images, channels]`.
fn excitation<B: ImageOps>(pass: &Pass<B>, name: &str, x: &Image<B>) -> Tensor<B, 2> {
    let mut gate = B::mean_pool(x.rows.clone(), x.grid);
    for (layer, activation) in [("fc1", Activation::Silu), ("fc2", Activation::Identity)] {
        let layer = format!("{name}.{layer}");
        // Its kernels of a single tap are `[in, out]`.
        let product =
            B::project(gate, &crate::ops::Weight::Full(pass.tensor(&format!("{layer}.weight")).transpose()));
        gate = pass.bias(product, &layer, activation);
    }
    gate
}
