//! The operations that an image classifier's training step spends its time in, as one trait over burn's backends.
//!
//! Images lie pixel after pixel in the rows of `[images · height · width, channels]`, whose [`Grid`] says where an
//! image and a line end: a convolution's result is the input of the next product without a change of layout, and a
//! norm's channels are columns. As in [`super::Ops`], every operation has a plain-burn default, forward and backward;
//! [`flex`] overrides them on the processor, and [`autodiff`] makes each one node of burn's graph.

mod autodiff;
mod flex;
pub mod plain;

use burn::tensor::{Tensor, backend::Backend};

use super::Ops;

/// Operations of an image classifier; see the module's documentation.
pub trait ImageOps: Ops {
    /// Convolution: `x [pixels, in]`, `weight [size² · in, out]` by kernel row, kernel column and channel; result
    /// `[pixels of the result's grid, out]`.
    fn convolution(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::convolution(x, weight, at)
    }

    /// Gradient of [`ImageOps::convolution`] to `x`.
    fn convolution_dx(weight: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::convolution_dx(weight, dy, at)
    }

    /// Gradient of [`ImageOps::convolution`] to `weight`.
    fn convolution_dweight(x: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::convolution_dweight(x, dy, at)
    }

    /// Convolution of each channel by itself: `x [pixels, channels]`, `weight [size², channels]`.
    fn depthwise(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::depthwise(x, weight, at)
    }

    /// Gradients `(dx, dweight)` of [`ImageOps::depthwise`].
    fn depthwise_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        dy: Tensor<Self, 2>,
        at: Convolution,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::depthwise_backward(x, weight, dy, at)
    }

    /// Mean and variance (divided by the number of rows) of each column, each `[1, channels]`.
    fn column_moments(x: Tensor<Self, 2>) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::column_moments(x)
    }

    /// `activation((x − mean) / sqrt(variance + eps) · weight + bias + residual)` by column (Ioffe & Szegedy 2015);
    /// what is `[1, channels]` but for `x` and `residual`.
    fn normalise(
        x: Tensor<Self, 2>,
        norm: &Norm<Self>,
        residual: Option<Tensor<Self, 2>>,
        activation: Activation,
    ) -> Tensor<Self, 2> {
        plain::normalise(x, norm, residual, activation)
    }

    /// Gradients of [`ImageOps::normalise`] with the moments of `x` itself: `y` is its result.
    fn normalise_backward(
        x: Tensor<Self, 2>,
        y: Tensor<Self, 2>,
        norm: &Norm<Self>,
        activation: Activation,
        dy: Tensor<Self, 2>,
    ) -> NormGradients<Self> {
        plain::normalise_backward(x, y, norm, activation, dy)
    }

    /// `activation(x + bias)`, `bias [1, channels]`.
    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 2>, activation: Activation) -> Tensor<Self, 2> {
        plain::add_bias(x, bias, activation)
    }

    /// Gradients `(dx, dbias)` of [`ImageOps::add_bias`].
    fn add_bias_backward(
        x: Tensor<Self, 2>,
        bias: Tensor<Self, 2>,
        activation: Activation,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::add_bias_backward(x, bias, activation, dy)
    }

    /// `x · sigmoid(gate)`, one gate per image and channel (Hu et al. 2018): `x [pixels, c]`, `gate [images, c]`.
    fn gated(x: Tensor<Self, 2>, gate: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        plain::gated(x, gate, grid)
    }

    /// Gradients `(dx, dgate)` of [`ImageOps::gated`].
    fn gated_backward(
        x: Tensor<Self, 2>,
        gate: Tensor<Self, 2>,
        grid: Grid,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::gated_backward(x, gate, grid, dy)
    }

    /// Mean over the pixels of each image: `[pixels, c]` to `[images, c]`.
    fn mean_pool(x: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        plain::mean_pool(x, grid)
    }

    /// Gradient of [`ImageOps::mean_pool`].
    fn mean_pool_backward(dy: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        plain::mean_pool_backward(dy, grid)
    }

    /// Largest value of each window, by channel; padding is never the largest.
    fn max_pool(x: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::max_pool(x, at)
    }

    /// Gradient of [`ImageOps::max_pool`]: to the first largest value of each window.
    fn max_pool_backward(x: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        plain::max_pool_backward(x, dy, at)
    }

    /// One step of SGD with momentum on a parameter, as PyTorch takes it: `g = gradient + decay · value`,
    /// `v = momentum · v + g` (`g` in the first step), `value − rate · v`. Returns value and velocity.
    fn sgd_step(
        value: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
        velocity: Option<Tensor<Self, 2>>,
        step: SgdStep,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        plain::sgd_step(value, gradient, velocity, step)
    }
}

/// How many images there are in the rows of a tensor, and of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Images.
    pub images: usize,
    /// Lines of each.
    pub height: usize,
    /// Pixels of a line.
    pub width: usize,
}

impl Grid {
    /// Pixels of one image.
    pub const fn pixels_per_image(self) -> usize {
        self.height * self.width
    }

    /// Rows of the tensor.
    pub const fn pixels(self) -> usize {
        self.images * self.pixels_per_image()
    }
}

/// A square window that is moved over images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// The images that it is moved over.
    pub grid: Grid,
    /// Side of the window.
    pub size: usize,
    /// Pixels by which it is moved.
    pub stride: usize,
    /// Pixels around each image that count as 0.
    pub padding: usize,
}

impl Convolution {
    /// The images that come out.
    ///
    /// # Panics
    /// If the window is larger than a padded image; models check their input's size first.
    pub const fn result(self) -> Grid {
        Grid {
            images: self.grid.images,
            height: (self.grid.height + 2 * self.padding - self.size) / self.stride + 1,
            width: (self.grid.width + 2 * self.padding - self.size) / self.stride + 1,
        }
    }

    /// Whether each pixel is multiplied by itself: a plain product of matrices.
    const fn is_pointwise(self) -> bool {
        self.size == 1 && self.stride == 1 && self.padding == 0
    }
}

/// What follows a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The sum itself.
    Identity,
    /// `max(0, x)`.
    Relu,
    /// `x · sigmoid(x)` (Elfwing et al. 2017).
    Silu,
    /// `x · Φ(x)`, exact (Hendrycks & Gimpel 2016).
    Gelu,
}

/// A norm by column, each tensor `[1, channels]`.
#[derive(Clone, Debug)]
pub struct Norm<B: Backend> {
    /// Mean.
    pub mean: Tensor<B, 2>,
    /// Variance.
    pub variance: Tensor<B, 2>,
    /// Factor.
    pub weight: Tensor<B, 2>,
    /// Summand.
    pub bias: Tensor<B, 2>,
    /// Added to the variance.
    pub eps: f32,
}

/// Gradients of a norm.
#[derive(Debug)]
pub struct NormGradients<B: Backend> {
    /// To the input.
    pub dx: Tensor<B, 2>,
    /// To the factor.
    pub dweight: Tensor<B, 2>,
    /// To the summand.
    pub dbias: Tensor<B, 2>,
    /// To the residual, or what it would be.
    pub dresidual: Tensor<B, 2>,
}

/// The numbers of a step of SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub rate: f32,
    /// Momentum.
    pub momentum: f32,
    /// Weight decay, added to the gradient.
    pub decay: f32,
}

/// `x` normalised by its own columns' moments, which come with it: what a norm does while it is trained.
pub fn batch_norm<B: ImageOps>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 2>,
    eps: f32,
    residual: Option<Tensor<B, 2>>,
    activation: Activation,
) -> (Tensor<B, 2>, [Tensor<B, 2>; 2]) {
    let (mean, variance) = B::column_moments(x.clone());
    let norm = Norm { mean: mean.clone(), variance: variance.clone(), weight, bias, eps };
    (B::normalise(x, &norm, residual, activation), [mean, variance])
}
