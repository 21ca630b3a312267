//! The vision transformer as timm builds it: a class token, learned positions, norms first.

use burn::tensor::Tensor;

use super::{Image, Layout, Pass, Shape, TensorList};
use crate::ops::image::{Activation, ImageOps};

/// How wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 192, 3 heads.
    Tiny,
    /// 384, 6 heads.
    Small,
}

const BLOCKS: usize = 12;
const EPS: f32 = 1e-6;

impl Width {
    const fn width(self) -> usize {
        match self {
            Self::Tiny => 192,
            Self::Small => 384,
        }
    }

    const fn heads(self) -> usize {
        self.width() / 64
    }
}

/// Side of a patch: 16 for images of 128 pixels and more, as in the paper; smaller ones are cut into 8 × 8 patches.
pub const fn patch_size(image_size: usize) -> usize {
    if image_size >= 128 {
        16
    } else if image_size >= 8 {
        image_size / 8
    } else {
        1
    }
}

pub(super) fn list(width: Width, shape: Shape, tensors: &mut TensorList) {
    let patch = patch_size(shape.image_size);
    let (side, width) = (shape.image_size / patch, width.width());
    tensors.add(String::from("cls_token"), &[1, 1, width], Layout::Embedding);
    tensors.add(String::from("pos_embed"), &[1, side * side + 1, width], Layout::Embedding);
    tensors.kernels("patch_embed.proj", shape.channels, width, patch);
    tensors.bias("patch_embed.proj", width);
    for index in 0..BLOCKS {
        let block = format!("blocks.{index}");
        tensors.factor_and_bias(&format!("{block}.norm1"), width);
        tensors.linear(&format!("{block}.attn.qkv"), width, 3 * width);
        tensors.linear(&format!("{block}.attn.proj"), width, width);
        tensors.factor_and_bias(&format!("{block}.norm2"), width);
        tensors.linear(&format!("{block}.mlp.fc1"), width, 4 * width);
        tensors.linear(&format!("{block}.mlp.fc2"), 4 * width, width);
    }
    tensors.factor_and_bias("norm", width);
    tensors.linear("head", width, shape.classes);
}

pub(super) fn forward<B: ImageOps>(width: Width, pass: &Pass<B>, image: Image<B>) -> Tensor<B, 2> {
    let patch = patch_size(image.grid.height);
    let patches = pass.convolution(&image, "patch_embed.proj", patch, patch, 0);
    let (images, count, columns) = (patches.grid.images, patches.grid.pixels_per_image(), width.width());
    let patches = pass.bias(patches.rows, "patch_embed.proj", Activation::Identity);
    let class = pass.tensor("cls_token").unsqueeze::<3>().expand([images, 1, columns]);
    let tokens = Tensor::cat(vec![class, patches.reshape([images, count, columns])], 1);
    let tokens = tokens + pass.tensor("pos_embed").unsqueeze::<3>();
    let mut x: Tensor<B, 2> = tokens.reshape([images * (count + 1), columns]);
    for index in 0..BLOCKS {
        let name = |part: &str| format!("blocks.{index}.{part}");
        let normal = pass.layer_norm(x.clone(), &name("norm1"), EPS);
        let qkv = pass.linear(normal, &name("attn.qkv"), Activation::Identity);
        let mixed = Pass::attention(qkv, images, width.heads());
        x = x + pass.linear(mixed, &name("attn.proj"), Activation::Identity);
        let normal = pass.layer_norm(x.clone(), &name("norm2"), EPS);
        let hidden = pass.linear(normal, &name("mlp.fc1"), Activation::Gelu);
        x = x + pass.linear(hidden, &name("mlp.fc2"), Activation::Identity);
    }
    // The class tokens alone; a norm goes by row.
    let class = x.reshape([images, count + 1, columns]).narrow(1, 0, 1).reshape([images, columns]);
    pass.linear(pass.layer_norm(class, "norm", EPS), "head", Activation::Identity)
}
