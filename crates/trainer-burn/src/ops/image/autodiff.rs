//! Each operation on images as one node of burn's graph.

use burn::tensor::Tensor;
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops as Node, OpsKind},
};

use super::{Activation, Convolution, Grid, ImageOps, Norm};
use crate::ops::autodiff::{register, track, unwrap, wrap};

impl<B: ImageOps, C: CheckpointStrategy> ImageOps for Autodiff<B, C> {
    fn convolution(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let (x, weight) = (unwrap(x), unwrap(weight));
        let [px, pw] = [&x, &weight].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        track!(
            Convolve,
            [x, weight],
            (([px.clone(), pw.clone()], at), B::convolution(px, pw, at)),
            B::convolution(px, pw, at)
        )
    }

    fn depthwise(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let (x, weight) = (unwrap(x), unwrap(weight));
        let [px, pw] = [&x, &weight].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        track!(
            Depthwise,
            [x, weight],
            (([px.clone(), pw.clone()], at), B::depthwise(px, pw, at)),
            B::depthwise(px, pw, at)
        )
    }

    /// Not tracked: [`ImageOps::normalise_backward`] knows that the moments depend on `x`.
    fn column_moments(x: Tensor<Self, 2>) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let (mean, variance) = B::column_moments(wrap::<B>(unwrap(x).primitive));
        (Tensor::from_inner(mean), Tensor::from_inner(variance))
    }

    fn normalise(
        x: Tensor<Self, 2>,
        norm: &Norm<Self>,
        residual: Option<Tensor<Self, 2>>,
        activation: Activation,
    ) -> Tensor<Self, 2> {
        let (x, weight, bias) = (unwrap(x), unwrap(norm.weight.clone()), unwrap(norm.bias.clone()));
        let inner = Norm {
            mean: norm.mean.clone().inner(),
            variance: norm.variance.clone().inner(),
            weight: wrap::<B>(weight.primitive.clone()),
            bias: wrap::<B>(bias.primitive.clone()),
            eps: norm.eps,
        };
        let px = wrap::<B>(x.primitive.clone());
        if let Some(residual) = residual.map(unwrap) {
            let y = B::normalise(px.clone(), &inner, Some(wrap(residual.primitive.clone())), activation);
            let state = ([px, y.clone()], inner, activation);
            track!(NormaliseSum, [x, weight, bias, residual], (state, y), y)
        } else {
            let y = B::normalise(px.clone(), &inner, None, activation);
            let state = ([px, y.clone()], inner, activation);
            track!(Normalise, [x, weight, bias], (state, y), y)
        }
    }

    fn add_bias(x: Tensor<Self, 2>, bias: Tensor<Self, 2>, activation: Activation) -> Tensor<Self, 2> {
        let (x, bias) = (unwrap(x), unwrap(bias));
        let [px, pb] = [&x, &bias].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        track!(
            Bias,
            [x, bias],
            (([px.clone(), pb.clone()], activation), B::add_bias(px, pb, activation)),
            B::add_bias(px, pb, activation)
        )
    }

    fn gated(x: Tensor<Self, 2>, gate: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        let (x, gate) = (unwrap(x), unwrap(gate));
        let [px, pg] = [&x, &gate].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        track!(
            Gate,
            [x, gate],
            (([px.clone(), pg.clone()], grid), B::gated(px, pg, grid)),
            B::gated(px, pg, grid)
        )
    }

    fn mean_pool(x: Tensor<Self, 2>, grid: Grid) -> Tensor<Self, 2> {
        let x = unwrap(x);
        let px = wrap::<B>(x.primitive.clone());
        track!(MeanPool, [x], (grid, B::mean_pool(px, grid)), B::mean_pool(px, grid))
    }

    fn max_pool(x: Tensor<Self, 2>, at: Convolution) -> Tensor<Self, 2> {
        let x = unwrap(x);
        let px = wrap::<B>(x.primitive.clone());
        track!(MaxPool, [x], ((px.clone(), at), B::max_pool(px, at)), B::max_pool(px, at))
    }
}

#[derive(Debug)]
struct Convolve;
impl<B: ImageOps> Backward<B, 2> for Convolve {
    type State = ([Tensor<B, 2>; 2], Convolution);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, weight], at), [x_node, weight_node]) = (ops.state, ops.parents);
        let dx = x_node.is_some().then(|| B::convolution_dx(weight, dy.clone(), at));
        let dweight = weight_node.is_some().then(|| B::convolution_dweight(x, dy, at));
        register!(grads, x_node, dx);
        register!(grads, weight_node, dweight);
    }
}

#[derive(Debug)]
struct Depthwise;
impl<B: ImageOps> Backward<B, 2> for Depthwise {
    type State = ([Tensor<B, 2>; 2], Convolution);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, weight], at), [x_node, weight_node]) = (ops.state, ops.parents);
        let (dx, dweight) = B::depthwise_backward(x, weight, dy, at);
        register!(grads, x_node, Some(dx));
        register!(grads, weight_node, Some(dweight));
    }
}

/// Input and result, the norm, what followed it.
type NormState<B> = ([Tensor<B, 2>; 2], Norm<B>, Activation);

#[derive(Debug)]
struct Normalise;
impl<B: ImageOps> Backward<B, 3> for Normalise {
    type State = NormState<B>;
    fn backward(self, ops: Node<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, y], norm, activation), [x_node, weight_node, bias_node]) = (ops.state, ops.parents);
        let found = B::normalise_backward(x, y, &norm, activation, dy);
        register!(grads, x_node, Some(found.dx));
        register!(grads, weight_node, Some(found.dweight));
        register!(grads, bias_node, Some(found.dbias));
    }
}

#[derive(Debug)]
struct NormaliseSum;
impl<B: ImageOps> Backward<B, 4> for NormaliseSum {
    type State = NormState<B>;
    fn backward(self, ops: Node<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, y], norm, activation), parents) = (ops.state, ops.parents);
        let [x_node, weight_node, bias_node, residual_node] = parents;
        let found = B::normalise_backward(x, y, &norm, activation, dy);
        register!(grads, x_node, Some(found.dx));
        register!(grads, weight_node, Some(found.dweight));
        register!(grads, bias_node, Some(found.dbias));
        register!(grads, residual_node, Some(found.dresidual));
    }
}

#[derive(Debug)]
struct Bias;
impl<B: ImageOps> Backward<B, 2> for Bias {
    type State = ([Tensor<B, 2>; 2], Activation);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, bias], activation), [x_node, bias_node]) = (ops.state, ops.parents);
        let (dx, dbias) = B::add_bias_backward(x, bias, activation, dy);
        register!(grads, x_node, Some(dx));
        register!(grads, bias_node, Some(dbias));
    }
}

#[derive(Debug)]
struct Gate;
impl<B: ImageOps> Backward<B, 2> for Gate {
    type State = ([Tensor<B, 2>; 2], Grid);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (([x, gate], grid), [x_node, gate_node]) = (ops.state, ops.parents);
        let (dx, dgate) = B::gated_backward(x, gate, grid, dy);
        register!(grads, x_node, Some(dx));
        register!(grads, gate_node, Some(dgate));
    }
}

#[derive(Debug)]
struct MeanPool;
impl<B: ImageOps> Backward<B, 1> for MeanPool {
    type State = Grid;
    fn backward(self, ops: Node<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let [node] = ops.parents;
        register!(grads, node, Some(B::mean_pool_backward(dy, ops.state)));
    }
}

#[derive(Debug)]
struct MaxPool;
impl<B: ImageOps> Backward<B, 1> for MaxPool {
    type State = (Tensor<B, 2>, Convolution);
    fn backward(self, ops: Node<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let ((x, at), [node]) = (ops.state, ops.parents);
        register!(grads, node, Some(B::max_pool_backward(x, dy, at)));
    }
}
