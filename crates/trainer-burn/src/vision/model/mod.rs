//! Image classifiers: what their tensors are called and how large they are, and their forward pass.
//!
//! Names, shapes and arithmetic are torchvision's (ViT: timm's), so that their files can be loaded and written. In
//! memory a tensor is a matrix in the form that the operations take ([`Layout`]).

mod efficientnet;
mod pass;
mod resnet;
mod simplecnn;
mod vit;

use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::{
    model::{HostTensor, Parameters},
    ops::image::{Grid, ImageOps},
};
pub use pass::{Image, Mode, Pass};

/// Which network, for which images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which network.
    pub architecture: Architecture,
    /// Classes that it tells apart.
    pub classes: usize,
    /// Channels of an image: 1 or 3.
    pub channels: usize,
    /// Side of the square images that it sees.
    pub image_size: usize,
}

/// The networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Three convolutions and a linear layer.
    SimpleCnn(simplecnn::Form),
    /// ResNet (He et al. 2016, arXiv:1512.03385).
    ResNet(resnet::Depth),
    /// EfficientNet (Tan & Le 2019, arXiv:1905.11946).
    EfficientNet(efficientnet::Scale),
    /// Vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929).
    ViT(vit::Width),
}

/// What a tensor is, which says how it lies in memory and how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A convolution's kernels: `[out, in, k, k]` in a file, `[k · k · in, out]` in memory.
    Kernels,
    /// Kernels of one channel each: `[channels, 1, k, k]` in a file, `[k · k, channels]` in memory.
    ChannelKernels,
    /// A linear layer's weight: `[out, in]`.
    Linear,
    /// A vector `[n]`, in memory `[1, n]`: a norm's factor, and the mean squares that it keeps.
    Ones,
    /// A vector `[n]`, in memory `[1, n]`: a bias, and the means that a norm keeps.
    Zeros,
    /// Embeddings `[1, n, width]`, in memory `[n, width]`.
    Embedding,
}

/// A tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in a file.
    pub name: String,
    /// Its shape in a file.
    pub shape: Vec<usize>,
    /// What it is.
    pub layout: Layout,
    /// Whether it is trained; a norm's running moments are not.
    pub is_trained: bool,
}

impl Architecture {
    /// The network of this name, one of [`greentune_core_config::settings::VISION_MODELS`].
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "simplecnn" => Self::SIMPLE_CNN,
            "resnet18" => Self::ResNet(resnet::Depth::R18),
            "resnet34" => Self::ResNet(resnet::Depth::R34),
            "resnet50" => Self::ResNet(resnet::Depth::R50),
            "resnet101" => Self::ResNet(resnet::Depth::R101),
            "efficientnet_b0" => Self::EfficientNet(efficientnet::Scale::B0),
            "efficientnet_b1" => Self::EfficientNet(efficientnet::Scale::B1),
            "efficientnet_b2" => Self::EfficientNet(efficientnet::Scale::B2),
            "efficientnet_b3" => Self::EfficientNet(efficientnet::Scale::B3),
            "vit_tiny" => Self::ViT(vit::Width::Tiny),
            "vit_small" => Self::ViT(vit::Width::Small),
            _ => return None,
        })
    }

    /// The network of this name as it was drawn in `revision`, from 1. Only `simplecnn` has changed: its first revision
    /// is [`Architecture::SIMPLE_CNN_OF_THE_MEAN`].
    pub fn of_revision(name: &str, revision: u32) -> Option<Self> {
        match (name, revision) {
            ("simplecnn", 1) => Some(Self::SIMPLE_CNN_OF_THE_MEAN),
            _ => Self::named(name),
        }
    }

    /// `simplecnn` as it is trained today.
    pub const SIMPLE_CNN: Self = Self::SimpleCnn(simplecnn::Form::Cells);

    /// `simplecnn` as versions before 0.2 trained it: without norms, its last layer on the mean of all pixels.
    pub const SIMPLE_CNN_OF_THE_MEAN: Self = Self::SimpleCnn(simplecnn::Form::Mean);

    /// The revision in which [`Architecture::of_revision`] draws it.
    pub const fn revision(self) -> u32 {
        match self {
            Self::SimpleCnn(simplecnn::Form::Cells) => 2,
            _ => 1,
        }
    }

    /// Least side of its images.
    const fn least_image_size(self) -> usize {
        match self {
            Self::SimpleCnn(_) => 4,
            Self::ResNet(_) | Self::EfficientNet(_) => 1,
            Self::ViT(_) => 8,
        }
    }

    /// Name of the last layer, whose size is the number of classes.
    pub const fn head(self) -> &'static str {
        match self {
            Self::SimpleCnn(_) | Self::ResNet(_) => "fc",
            Self::EfficientNet(_) => "classifier.1",
            Self::ViT(_) => "head",
        }
    }
}

impl Shape {
    /// Least side of the network's images.
    pub const fn least_image_size(self) -> usize {
        self.architecture.least_image_size()
    }

    /// Every tensor of the network.
    pub fn tensors(self) -> Vec<TensorSpec> {
        let mut list = TensorList::default();
        match self.architecture {
            Architecture::SimpleCnn(form) => simplecnn::list(form, self, &mut list),
            Architecture::ResNet(depth) => resnet::list(depth, self, &mut list),
            Architecture::EfficientNet(scale) => efficientnet::list(scale, self, &mut list),
            Architecture::ViT(width) => vit::list(width, self, &mut list),
        }
        list.0
    }

    /// A fresh network, drawn from `seed`: kernels normal with variance 2 / fan-out (He et al. 2015), linear layers
    /// uniform within 1 / √fan-in, embeddings and a transformer's linear layers normal with deviation 0.02.
    pub fn draw<B: ImageOps>(self, seed: u64, device: &B::Device) -> Network<B> {
        let mut network = Network::empty(self);
        for (index, spec) in self.tensors().into_iter().enumerate() {
            // A stream for each tensor: what one network has more than another moves no other draw.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            let values = spec.drawn(&mut rng, matches!(self.architecture, Architecture::ViT(_)));
            network.put(&spec, spec.to_memory(values).on(device));
        }
        network
    }
}

impl Architecture {
    /// timm's name of the tensor `name`, where it is another.
    pub fn timm_name(self, name: &str) -> Option<String> {
        match self {
            Self::EfficientNet(_) => greentune_model_folder::efficientnet_name_in_timm(name),
            _ => None,
        }
    }
}

impl TensorSpec {
    /// Rows and columns in memory.
    pub fn matrix_shape(&self) -> [usize; 2] {
        let shape = &self.shape;
        match self.layout {
            Layout::Kernels => [shape[1] * shape[2] * shape[3], shape[0]],
            Layout::ChannelKernels => [shape[2] * shape[3], shape[0]],
            Layout::Linear => [shape[0], shape[1]],
            Layout::Ones | Layout::Zeros => [1, shape[0]],
            Layout::Embedding => [shape[1], shape[2]],
        }
    }

    /// Values of a file as they lie in memory.
    pub fn to_memory(&self, values: Vec<f32>) -> HostTensor {
        HostTensor { shape: self.matrix_shape(), values: self.exchanged(values, false) }
    }

    /// Values of memory as they lie in a file.
    pub fn to_file(&self, values: Vec<f32>) -> Vec<f32> {
        self.exchanged(values, true)
    }

    fn exchanged(&self, values: Vec<f32>, to_file: bool) -> Vec<f32> {
        if !matches!(self.layout, Layout::Kernels | Layout::ChannelKernels) {
            return values;
        }
        let [out, channels, taps] = [self.shape[0], self.shape[1], self.shape[2] * self.shape[3]];
        let mut exchanged = vec![0.0; values.len()];
        for o in 0..out {
            for c in 0..channels {
                for tap in 0..taps {
                    let (in_file, in_memory) =
                        ((o * channels + c) * taps + tap, (tap * channels + c) * out + o);
                    let (from, to) = if to_file { (in_memory, in_file) } else { (in_file, in_memory) };
                    exchanged[to] = values[from];
                }
            }
        }
        exchanged
    }

    fn drawn(&self, rng: &mut ChaCha8Rng, is_transformer: bool) -> Vec<f32> {
        let count = self.shape.iter().product();
        let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / f64::from(u32::MAX);
        let mut normal = |deviation: f64| {
            // Box & Muller 1958.
            let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), uniform() * std::f64::consts::TAU);
            (deviation * radius * angle.cos()) as f32
        };
        match self.layout {
            Layout::Kernels | Layout::ChannelKernels => {
                let fan_out = match self.layout {
                    Layout::Kernels => self.shape[0] * self.shape[2] * self.shape[3],
                    _ => self.shape[2] * self.shape[3],
                };
                (0..count).map(|_| normal((2.0 / fan_out as f64).sqrt())).collect()
            }
            Layout::Linear if is_transformer => (0..count).map(|_| normal(0.02)).collect(),
            Layout::Linear => {
                let bound = 1.0 / (self.shape[1] as f64).sqrt();
                (0..count).map(|_| (bound * (2.0 * uniform() - 1.0)) as f32).collect()
            }
            Layout::Embedding => (0..count).map(|_| normal(0.02)).collect(),
            Layout::Ones => vec![1.0; count],
            Layout::Zeros => vec![0.0; count],
        }
    }
}

/// Tensors, as a network lists them.
#[derive(Default)]
struct TensorList(Vec<TensorSpec>);

impl TensorList {
    fn add(&mut self, name: String, shape: &[usize], layout: Layout) {
        self.0.push(TensorSpec { name, shape: shape.to_vec(), layout, is_trained: true });
    }

    fn kernels(&mut self, name: &str, channels: usize, outputs: usize, size: usize) {
        self.add(format!("{name}.weight"), &[outputs, channels, size, size], Layout::Kernels);
    }

    fn channel_kernels(&mut self, name: &str, channels: usize, size: usize) {
        self.add(format!("{name}.weight"), &[channels, 1, size, size], Layout::ChannelKernels);
    }

    fn bias(&mut self, name: &str, outputs: usize) {
        self.add(format!("{name}.bias"), &[outputs], Layout::Zeros);
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.add(format!("{name}.weight"), &[outputs, inputs], Layout::Linear);
        self.bias(name, outputs);
    }

    fn factor_and_bias(&mut self, name: &str, channels: usize) {
        self.add(format!("{name}.weight"), &[channels], Layout::Ones);
        self.bias(name, channels);
    }

    fn batch_norm(&mut self, name: &str, channels: usize) {
        self.factor_and_bias(name, channels);
        for (moment, layout) in [("running_mean", Layout::Zeros), ("running_var", Layout::Ones)] {
            let name = format!("{name}.{moment}");
            self.0.push(TensorSpec { name, shape: vec![channels], layout, is_trained: false });
        }
    }
}

/// An image classifier.
#[derive(Clone, Debug)]
pub struct Network<B: Backend> {
    /// What it is.
    pub shape: Shape,
    /// What is trained.
    pub weights: Parameters<B>,
    /// The running moments of its norms.
    pub moments: Parameters<B>,
}

impl<B: Backend> Network<B> {
    /// A network without any tensor yet.
    pub fn empty(shape: Shape) -> Self {
        Self { shape, weights: Parameters::default(), moments: Parameters::default() }
    }

    /// Puts a tensor to what is trained or to the moments.
    pub fn put(&mut self, spec: &TensorSpec, tensor: Tensor<B, 2>) {
        let into = if spec.is_trained { &mut self.weights } else { &mut self.moments };
        into.insert(spec.name.clone(), tensor);
    }

    /// The same network on the autodiff backend, each weight a leaf that gets a gradient.
    #[must_use]
    pub fn lift<A: AutodiffBackend<InnerBackend = B>>(&self) -> Network<A> {
        Network { shape: self.shape, weights: self.weights.lift(true), moments: self.moments.lift(false) }
    }
}

impl<B: ImageOps> Network<B> {
    /// `[images, classes]` before the softmax, of `images` in rows of pixels; and, in training, the moments of this
    /// batch by the names of the running ones.
    pub fn forward(&self, images: Tensor<B, 2>, mode: Mode) -> (Tensor<B, 2>, Parameters<B>) {
        let side = self.shape.image_size;
        let count = images.dims()[0] / (side * side);
        let pass = Pass::new(&self.weights, &self.moments, mode);
        let image = Image { rows: images, grid: Grid { images: count, height: side, width: side } };
        let logits = match self.shape.architecture {
            Architecture::SimpleCnn(form) => simplecnn::forward(form, &pass, image),
            Architecture::ResNet(depth) => resnet::forward(depth, &pass, image),
            Architecture::EfficientNet(scale) => efficientnet::forward(scale, &pass, image),
            Architecture::ViT(width) => vit::forward(width, &pass, image),
        };
        (logits, pass.into_moments())
    }

    /// Moves the running moments a tenth of the way to those of a batch, as PyTorch does.
    pub fn note_moments(&mut self, batch: &Parameters<B>) {
        const MOMENTUM: f64 = 0.1;
        self.moments = self.moments.map(|name, running| match batch.get(name) {
            Some(seen) => running.clone() * (1.0 - MOMENTUM) + seen.clone() * MOMENTUM,
            None => running.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::settings::VISION_MODELS;

    use super::*;

    #[test]
    fn every_model_that_settings_allow_is_there() {
        for name in VISION_MODELS {
            assert!(Architecture::named(name).is_some(), "{name}");
        }
        assert!(Architecture::named("resnet19").is_none());
    }
}
