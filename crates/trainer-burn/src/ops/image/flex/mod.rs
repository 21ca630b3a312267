//! The operations on images on the processor: burn's flex backend, f32.
//!
//! As in [`crate::ops::flex`], work is split by fixed sizes, never by the number of threads, so that results are
//! bit-identical from run to run.

mod columns;
mod convolution;
mod depthwise;
mod pooling;

use burn::{backend::Flex, tensor::Tensor};

use super::{Activation, Convolution, Grid, ImageOps, Norm, NormGradients, SgdStep};
use crate::ops::flex::{Buffer, matmul, tensor};

impl ImageOps for Flex {
    fn convolution(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let [x, weight] = [x, weight].map(Buffer::from);
        let y = if at.is_pointwise() {
            matmul(x.matrix(), weight.matrix())
        } else {
            convolution::forward(x.values(), weight.values(), [x.columns, weight.columns], at)
        };
        tensor(y, [at.result().pixels(), weight.columns])
    }

    fn convolution_dx(weight: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let [weight, dy] = [weight, dy].map(Buffer::from);
        let channels = weight.rows / (at.size * at.size);
        let dx = if at.is_pointwise() {
            matmul(dy.matrix(), weight.matrix().transposed())
        } else {
            convolution::dx(weight.values(), dy.values(), [channels, dy.columns], at)
        };
        tensor(dx, [at.grid.pixels(), channels])
    }

    fn convolution_dweight(x: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let [x, dy] = [x, dy].map(Buffer::from);
        let dweight = if at.is_pointwise() {
            matmul(x.matrix().transposed(), dy.matrix())
        } else {
            convolution::dweight(x.values(), dy.values(), [x.columns, dy.columns], at)
        };
        tensor(dweight, [at.size * at.size * x.columns, dy.columns])
    }

    fn depthwise(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let [x, weight] = [x, weight].map(Buffer::from);
        tensor(
            depthwise::forward(x.values(), weight.values(), x.columns, at),
            [at.result().pixels(), x.columns],
        )
    }

    fn depthwise_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        dy: Tensor<Self, 2>,
        at: Convolution,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let [x, weight, dy] = [x, weight, dy].map(Buffer::from);
        let dx = depthwise::dx(weight.values(), dy.values(), x.columns, at);
        let dweight = depthwise::dweight(x.values(), dy.values(), x.columns, at);
        (tensor(dx, [x.rows, x.columns]), tensor(dweight, [weight.rows, weight.columns]))
    }

    fn column_moments(x: Tensor<Self, 2>) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let x = Buffer::from(x);
        let (mean, variance) = columns::moments(x.values(), x.columns);
        (tensor(mean, [1, x.columns]), tensor(variance, [1, x.columns]))
    }

    fn normalise(
        x: Tensor<Self, 2>,
        norm: &Norm<Self>,
        residual: Option<Tensor<Self, 2>>,
        activation: Activation,
    ) -> Tensor<Self, 2> {
        let x = Buffer::from(x);
        let residual = residual.map(Buffer::from);
        let (scale, shift) = scale_and_shift(norm);
        let residual = residual.as_ref().map(Buffer::values);
        tensor(columns::scaled(x.values(), &scale, &shift, residual, activation), [x.rows, x.columns])
    }

    fn normalise_backward(
        x: Tensor<Self, 2>,
        y: Tensor<Self, 2>,
        norm: &Norm<Self>,
        activation: Activation,
        dy: Tensor<Self, 2>,
    ) -> NormGradients<Self> {
        let [x, y, dy] = [x, y, dy].map(Buffer::from);
        let (scale, shift) = scale_and_shift(norm);
        let mean = Buffer::from(norm.mean.clone());
        let inverse: Vec<f32> = Buffer::from(norm.variance.clone())
            .values()
            .iter()
            .map(|v| 1.0 / (v + norm.eps).sqrt())
            .collect();
        let shape = [x.rows, x.columns];
        let dsum = match activation {
            Activation::Identity => dy,
            Activation::Relu => Buffer::from(tensor(columns::where_positive(y.values(), dy.values()), shape)),
            _ => Buffer::from(tensor(
                columns::through(x.values(), &scale, &shift, activation, dy.values()),
                shape,
            )),
        };
        let out = columns::norm_backward(x.values(), mean.values(), &inverse, &scale, dsum.values());
        NormGradients {
            dx: tensor(out.dx, shape),
            dweight: tensor(out.dweight, [1, x.columns]),
            dbias: tensor(out.dbias, [1, x.columns]),
            dresidual: dsum.into_tensor(),
        }
    }

    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 2>, activation: Activation) -> Tensor<Self, 2> {
        let [x, bias] = [x, bias].map(Buffer::from);
        let ones = vec![1.0; x.columns];
        tensor(columns::scaled(x.values(), &ones, bias.values(), None, activation), [x.rows, x.columns])
    }

    fn add_bias_backward(
        x: Tensor<Self, 2>,
        bias: Tensor<Self, 2>,
        activation: Activation,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let [x, bias, dy] = [x, bias, dy].map(Buffer::from);
        let dx = if activation == Activation::Identity {
            dy
        } else {
            let ones = vec![1.0; x.columns];
            let dx = columns::through(x.values(), &ones, bias.values(), activation, dy.values());
            Buffer::from(tensor(dx, [x.rows, x.columns]))
        };
        let dbias = columns::sums(dx.values(), x.columns);
        (dx.into_tensor(), tensor(dbias, [1, x.columns]))
    }

    fn gated(x: Tensor<Self, 2>, gate: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        let [x, gate] = [x, gate].map(Buffer::from);
        let y = pooling::gated(x.values(), gate.values(), x.columns, grid);
        tensor(y, [x.rows, x.columns])
    }

    fn gated_backward(
        x: Tensor<Self, 2>,
        gate: Tensor<Self, 2>,
        grid: Grid,
        dy: Tensor<Self, 2>,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let [x, gate, dy] = [x, gate, dy].map(Buffer::from);
        let (dx, dgate) = pooling::gated_backward(x.values(), gate.values(), dy.values(), x.columns, grid);
        (tensor(dx, [x.rows, x.columns]), tensor(dgate, [gate.rows, gate.columns]))
    }

    fn mean_pool(x: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        let x = Buffer::from(x);
        tensor(pooling::mean(x.values(), x.columns, grid), [grid.images, x.columns])
    }

    fn mean_pool_backward(dy: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        let dy = Buffer::from(dy);
        tensor(pooling::mean_backward(dy.values(), dy.columns, grid), [grid.pixels(), dy.columns])
    }

    fn max_pool(x: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let x = Buffer::from(x);
        tensor(pooling::max(x.values(), x.columns, at), [at.result().pixels(), x.columns])
    }

    fn max_pool_backward(x: Tensor<Self, 2>, dy: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let [x, dy] = [x, dy].map(Buffer::from);
        tensor(pooling::max_backward(x.values(), dy.values(), x.columns, at), [x.rows, x.columns])
    }

    fn sgd_step(
        value: Tensor<Self, 2>,
        gradient: Tensor<Self, 2>,
        velocity: Option<Tensor<Self, 2>>,
        step: SgdStep,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let [value, gradient] = [value, gradient].map(Buffer::from);
        let velocity = velocity.map(Buffer::from);
        let velocity = velocity.as_ref().map(Buffer::values);
        let shape = [value.rows, value.columns];
        let (value, velocity) = columns::sgd_step(value.values(), gradient.values(), velocity, step);
        (tensor(value, shape), tensor(velocity, shape))
    }
}

/// A norm as a factor and a summand of each column.
fn scale_and_shift(norm: &Norm<Flex>) -> (Vec<f32>, Vec<f32>) {
    let [mean, variance, weight, bias] =
        [&norm.mean, &norm.variance, &norm.weight, &norm.bias].map(|tensor| Buffer::from(tensor.clone()));
    let scale: Vec<f32> =
        weight.values().iter().zip(variance.values()).map(|(w, v)| w / (v + norm.eps).sqrt()).collect();
    let moved = bias.values().iter().zip(mean.values()).zip(&scale);
    let shift = moved.map(|((bias, mean), scale)| bias - mean * scale).collect();
    (scale, shift)
}
