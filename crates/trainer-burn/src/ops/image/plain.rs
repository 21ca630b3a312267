//! The operations in plain burn: the default of every backend, and under burn's own autodiff the oracle.

use burn::tensor::{
    Tensor, TensorPrimitive, activation,
    backend::Backend,
    module,
    ops::{ConvOptions, PaddedConvOptions},
};

use super::{Activation, Convolution, Grid, Norm, NormGradients, SgdStep};

/// Rows of pixels as `[images, channels, height, width]`.
fn planes<B: Backend>(x: Tensor<B, 2>, grid: Grid) -> Tensor<B, 4> {
    let [_, channels] = x.dims();
    x.reshape([grid.images, grid.height, grid.width, channels]).permute([0, 3, 1, 2])
}

/// The other way round.
fn rows<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    let [images, channels, height, width] = x.dims();
    x.permute([0, 2, 3, 1]).reshape([images * height * width, channels])
}

/// `[size² · in, out]` as `[out, in, size, size]`.
fn kernels<B: Backend>(weight: Tensor<B, 2>, size: usize) -> Tensor<B, 4> {
    let [taps, out] = weight.dims();
    weight.reshape([size, size, taps / (size * size), out]).permute([3, 2, 0, 1])
}

fn options(at: Convolution, groups: usize) -> ConvOptions<2> {
    ConvOptions::new([at.stride; 2], [at.padding; 2], [1, 1], groups)
}

/// See [`super::ImageOps::convolution`].
pub fn convolution<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    let options = PaddedConvOptions::from(options(at, 1));
    rows(module::conv2d(planes(x, at.grid), kernels(weight, at.size), None, options))
}

/// See [`super::ImageOps::convolution_dx`].
pub fn convolution_dx<B: Backend>(weight: Tensor<B, 2>, dy: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    if reads_single_pixels(at) {
        return spread(dy.matmul(weight.transpose()), at);
    }
    let channels = weight.dims()[0] / (at.size * at.size);
    let like = Tensor::<B, 2>::zeros([at.grid.pixels(), channels], &dy.device());
    dx_of(planes(like, at.grid), kernels(weight, at.size), planes(dy, at.result()), options(at, 1))
}

/// Whether each pixel of a result is of one of the grid alone. burn 0.21's gradient to the input has zeros on wgpu where
/// such a window has a stride, so that these go without it.
const fn reads_single_pixels(at: Convolution) -> bool {
    at.size == 1 && at.padding == 0
}

/// The pixels of the result at their places among those of the grid, zeros between them.
fn spread<B: Backend>(x: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    if at.stride == 1 {
        return x;
    }
    let (device, [pixels, channels]) = (x.device(), x.dims());
    let (Grid { images, height, width }, result, skipped) = (at.grid, at.result(), at.stride - 1);
    let lines = images * result.height;
    let across = Tensor::zeros([pixels, skipped, channels], &device);
    let x = Tensor::cat(vec![x.reshape([pixels, 1, channels]), across], 1);
    let line = result.width * at.stride * channels;
    let down = Tensor::zeros([lines, skipped, line], &device);
    let x = Tensor::cat(vec![x.reshape([lines, 1, line]), down], 1);
    let x: Tensor<B, 4> = x.reshape([images, result.height * at.stride, result.width * at.stride, channels]);
    x.slice([0..images, 0..height, 0..width, 0..channels]).reshape([images * height * width, channels])
}

/// See [`super::ImageOps::convolution_dweight`].
pub fn convolution_dweight<B: Backend>(x: Tensor<B, 2>, dy: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    let ([_, channels], [_, out]) = (x.dims(), dy.dims());
    let like = Tensor::<B, 4>::zeros([out, channels, at.size, at.size], &dy.device());
    let dweight = dweight_of(planes(x, at.grid), like, planes(dy, at.result()), options(at, 1));
    dweight.permute([2, 3, 1, 0]).reshape([at.size * at.size * channels, out])
}

/// See [`super::ImageOps::depthwise`].
pub fn depthwise<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    let options = PaddedConvOptions::from(options(at, weight.dims()[1]));
    rows(module::conv2d(planes(x, at.grid), kernels(weight, at.size), None, options))
}

/// See [`super::ImageOps::depthwise_backward`].
pub fn depthwise_backward<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    dy: Tensor<B, 2>,
    at: Convolution,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let [taps, channels] = weight.dims();
    let planes_of_x = planes(x, at.grid);
    let (kernels, planes_of_dy) = (kernels(weight.clone(), at.size), planes(dy.clone(), at.result()));
    let dx = if reads_single_pixels(at) {
        spread(dy * weight, at)
    } else {
        dx_of(planes_of_x.clone(), kernels.clone(), planes_of_dy.clone(), options(at, channels))
    };
    let dweight = dweight_of(planes_of_x, kernels, planes_of_dy, options(at, channels));
    (dx, dweight.permute([2, 3, 1, 0]).reshape([taps, channels]))
}

fn dx_of<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    dy: Tensor<B, 4>,
    options: ConvOptions<2>,
) -> Tensor<B, 2> {
    let [x, weight, dy] = [x, weight, dy].map(|tensor| tensor.into_primitive().tensor());
    let dx = B::conv2d_x_backward(x, weight, dy, options);
    rows(Tensor::from_primitive(TensorPrimitive::Float(dx)))
}

fn dweight_of<B: Backend>(
    x: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    dy: Tensor<B, 4>,
    options: ConvOptions<2>,
) -> Tensor<B, 4> {
    let [x, weight, dy] = [x, weight, dy].map(|tensor| tensor.into_primitive().tensor());
    let dweight = B::conv2d_weight_backward(x, weight, dy, options);
    Tensor::from_primitive(TensorPrimitive::Float(dweight))
}

/// See [`super::ImageOps::column_moments`].
pub fn column_moments<B: Backend>(x: Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let mean = x.clone().mean_dim(0);
    let centred = x - mean.clone();
    (mean, (centred.clone() * centred).mean_dim(0))
}

fn deviation<B: Backend>(variance: Tensor<B, 2>, eps: f32) -> Tensor<B, 2> {
    variance.add_scalar(eps).sqrt()
}

/// See [`super::ImageOps::normalise`].
pub fn normalise<B: Backend>(
    x: Tensor<B, 2>,
    norm: &Norm<B>,
    residual: Option<Tensor<B, 2>>,
    activation: Activation,
) -> Tensor<B, 2> {
    let scale = norm.weight.clone() / deviation(norm.variance.clone(), norm.eps);
    let y = (x - norm.mean.clone()) * scale + norm.bias.clone();
    activated(residual.into_iter().fold(y, |y, residual| y + residual), activation)
}

/// See [`super::ImageOps::normalise_backward`].
pub fn normalise_backward<B: Backend>(
    x: Tensor<B, 2>,
    y: Tensor<B, 2>,
    norm: &Norm<B>,
    activation: Activation,
    dy: Tensor<B, 2>,
) -> NormGradients<B> {
    let inverse = deviation(norm.variance.clone(), norm.eps).recip();
    let normal = (x - norm.mean.clone()) * inverse.clone();
    let dsum = match activation {
        // The result says on which side of 0 the sum was, the residual included.
        Activation::Relu => dy.mask_fill(y.lower_equal_elem(0.0), 0.0),
        _ => dy * slope(normal.clone() * norm.weight.clone() + norm.bias.clone(), activation),
    };
    let rows = dsum.dims()[0] as f32;
    let dbias = dsum.clone().sum_dim(0);
    let dweight = (dsum.clone() * normal.clone()).sum_dim(0);
    let mean = dbias.clone() / rows + normal * (dweight.clone() / rows);
    let dx = (dsum.clone() - mean) * (norm.weight.clone() * inverse);
    NormGradients { dx, dweight, dbias, dresidual: dsum }
}

/// `activation(x)`.
pub fn activated<B: Backend>(x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
    }
}

/// Derivative of an activation at `x`.
fn slope<B: Backend>(x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => x.ones_like(),
        Activation::Relu => x.greater_elem(0.0).float(),
        Activation::Silu => {
            let sigmoid = activation::sigmoid(x.clone());
            sigmoid.clone() * (x * (-sigmoid).add_scalar(1.0)).add_scalar(1.0)
        }
        Activation::Gelu => {
            // Φ(x) + x · φ(x)
            let cumulative =
                (x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
            let density = (x.clone() * x.clone() * -0.5).exp()
                * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
            cumulative + x * density
        }
    }
}

/// See [`super::ImageOps::add_bias`].
pub fn add_bias<B: Backend>(x: Tensor<B, 2>, bias: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    activated(x + bias, activation)
}

/// See [`super::ImageOps::add_bias_backward`].
pub fn add_bias_backward<B: Backend>(
    x: Tensor<B, 2>,
    bias: Tensor<B, 2>,
    activation: Activation,
    dy: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let dx = dy * slope(x + bias, activation);
    (dx.clone(), dx.sum_dim(0))
}

/// `[images, c]`, each row repeated for the pixels of its image.
fn repeated<B: Backend>(x: Tensor<B, 2>, grid: Grid) -> Tensor<B, 2> {
    let [images, channels] = x.dims();
    let pixels = grid.pixels_per_image();
    x.unsqueeze_dim::<3>(1).expand([images, pixels, channels]).reshape([images * pixels, channels])
}

/// Sums over the pixels of each image.
fn summed<B: Backend>(x: Tensor<B, 2>, grid: Grid) -> Tensor<B, 2> {
    let [_, channels] = x.dims();
    let x = x.reshape([grid.images, grid.pixels_per_image(), channels]);
    x.sum_dim(1).reshape([grid.images, channels])
}

/// See [`super::ImageOps::gated`].
pub fn gated<B: Backend>(x: Tensor<B, 2>, gate: Tensor<B, 2>, grid: Grid) -> Tensor<B, 2> {
    x * repeated(activation::sigmoid(gate), grid)
}

/// See [`super::ImageOps::gated_backward`].
pub fn gated_backward<B: Backend>(
    x: Tensor<B, 2>,
    gate: Tensor<B, 2>,
    grid: Grid,
    dy: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let open = activation::sigmoid(gate);
    let slope = open.clone() * (-open.clone()).add_scalar(1.0);
    let dgate = summed(x * dy.clone(), grid) * slope;
    (dy * repeated(open, grid), dgate)
}

/// See [`super::ImageOps::mean_pool`].
pub fn mean_pool<B: Backend>(x: Tensor<B, 2>, grid: Grid) -> Tensor<B, 2> {
    summed(x, grid) / grid.pixels_per_image() as f32
}

/// See [`super::ImageOps::mean_pool_backward`].
pub fn mean_pool_backward<B: Backend>(dy: Tensor<B, 2>, grid: Grid) -> Tensor<B, 2> {
    repeated(dy / grid.pixels_per_image() as f32, grid)
}

/// See [`super::ImageOps::max_pool`].
pub fn max_pool<B: Backend>(x: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    rows(module::max_pool2d(planes(x, at.grid), [at.size; 2], [at.stride; 2], [at.padding; 2], [1, 1], false))
}

/// See [`super::ImageOps::max_pool_backward`].
pub fn max_pool_backward<B: Backend>(x: Tensor<B, 2>, dy: Tensor<B, 2>, at: Convolution) -> Tensor<B, 2> {
    let [x, dy] =
        [planes(x, at.grid), planes(dy, at.result())].map(|tensor| tensor.into_primitive().tensor());
    let (size, stride, padding) = ([at.size; 2], [at.stride; 2], [at.padding; 2]);
    let pooled = B::max_pool2d_with_indices(x.clone(), size, stride, padding, [1, 1], false);
    let dx = B::max_pool2d_with_indices_backward(x, size, stride, padding, [1, 1], false, dy, pooled.indices);
    rows(Tensor::from_primitive(TensorPrimitive::Float(dx.x_grad)))
}

/// See [`super::ImageOps::sgd_step`].
pub fn sgd_step<B: Backend>(
    value: Tensor<B, 2>,
    gradient: Tensor<B, 2>,
    velocity: Option<Tensor<B, 2>>,
    step: SgdStep,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let gradient = gradient + value.clone() * step.decay;
    let velocity = match velocity {
        Some(velocity) => velocity * step.momentum + gradient,
        None => gradient,
    };
    (value - velocity.clone() * step.rate, velocity)
}
