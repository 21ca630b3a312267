//! Each operation as one node of burn's graph, with the backward pass of whatever backend is inside.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops as Node, OpsKind},
};

use super::{AttentionSpec, Labels, LoraSpec, Ops, Weight};

pub(super) type Primitive<B> = <B as burn::tensor::backend::BackendTypes>::FloatTensorPrimitive;

/// Waits until no other thread of this process has a graph, and keeps them waiting.
///
/// burn 0.21 keeps all graphs of a process in one table. Each backward pass ends by removing what no tensor refers to any more
/// (`cleanup_orphaned_entries` in `burn-autodiff/src/runtime/graph.rs`), in the graphs of other threads too. A graph that is
/// being built may lose parts, and its gradients are then wrong without an error. Hold this from a graph's first operation to
/// the end of its backward pass.
pub fn only_graph() -> MutexGuard<'static, ()> {
    static GRAPH: Mutex<()> = Mutex::new(());
    GRAPH.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unwrap<B: Backend>(tensor: Tensor<B, 2>) -> Primitive<B> {
    tensor.into_primitive().tensor()
}

pub(super) fn wrap<B: Backend>(primitive: Primitive<B>) -> Tensor<B, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Hands a gradient to the parent it belongs to, if that parent is tracked and the gradient was computed.
macro_rules! register {
    ($grads:expr, $parent:expr, $gradient:expr) => {
        if let (Some(node), Some(gradient)) = ($parent, $gradient) {
            $grads.register::<B>(node.id, unwrap(gradient));
        }
    };
}

/// Prepares a node over tracked parents: the state is built only when something needs a gradient.
macro_rules! track {
    ($backward:expr, [$($parent:ident),+], $tracked:expr, $untracked:expr) => {
        match $backward.prepare::<C>([$($parent.node.clone()),+]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (state, output) = $tracked;
                wrap(prep.finish(state, unwrap(output)))
            }
            OpsKind::UnTracked(prep) => wrap(prep.finish(unwrap($untracked))),
        }
    };
}

pub(super) use {register, track};

impl<B: Ops, C: CheckpointStrategy> Ops for Autodiff<B, C> {
    fn project(x: Tensor<Self, 2>, weight: &Weight<Self>) -> Tensor<Self, 2> {
        let (x, inner) = (unwrap(x), weight.inner());
        let px = wrap::<B>(x.primitive.clone());
        match weight {
            Weight::Full(weight) if unwrap(weight.clone()).is_tracked() => {
                let weight = unwrap(weight.clone());
                track!(
                    Linear,
                    [x, weight],
                    ((px.clone(), inner.clone()), B::project(px, &inner)),
                    B::project(px, &inner)
                )
            }
            _ => track!(FrozenLinear, [x], (inner.clone(), B::project(px, &inner)), B::project(px, &inner)),
        }
    }

    fn lora_linear(
        x: Tensor<Self, 2>,
        weight: &Weight<Self>,
        a: Tensor<Self, 2>,
        b: Tensor<Self, 2>,
        lora: LoraSpec,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let (x, a, b, weight) = (unwrap(x), unwrap(a), unwrap(b), weight.inner());
        let [px, pa, pb] = [&x, &a, &b].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        let (y, low) = B::lora_linear(px.clone(), &weight, pa.clone(), pb.clone(), lora);
        let state = ([px, pa, pb, low.clone()], weight, lora);
        (track!(LoraLinear, [x, a, b], (state, y), y), Tensor::from_inner(low))
    }

    fn unweighted_layer_norm(x: Tensor<Self, 2>, eps: f32) -> Tensor<Self, 2> {
        let x = unwrap(x);
        let px = wrap::<B>(x.primitive.clone());
        track!(
            LayerNorm,
            [x],
            ((px.clone(), eps), B::unweighted_layer_norm(px, eps)),
            B::unweighted_layer_norm(px, eps)
        )
    }

    fn rms_norm(x: Tensor<Self, 2>, weight: Tensor<Self, 2>, eps: f32) -> Tensor<Self, 2> {
        let (x, weight) = (unwrap(x), unwrap(weight));
        let (px, pw) = (wrap::<B>(x.primitive.clone()), wrap::<B>(weight.primitive.clone()));
        track!(
            RmsNorm,
            [x, weight],
            ((px.clone(), pw.clone(), eps), B::rms_norm(px, pw, eps)),
            B::rms_norm(px, pw, eps)
        )
    }

    fn swiglu(gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let (gate, up) = (unwrap(gate), unwrap(up));
        let (pg, pu) = (wrap::<B>(gate.primitive.clone()), wrap::<B>(up.primitive.clone()));
        track!(Swiglu, [gate, up], ((pg.clone(), pu.clone()), B::swiglu(pg, pu)), B::swiglu(pg, pu))
    }

    fn causal_attention(
        q: Tensor<Self, 2>,
        k: Tensor<Self, 2>,
        v: Tensor<Self, 2>,
        spec: &AttentionSpec,
    ) -> Tensor<Self, 2> {
        let (q, k, v) = (unwrap(q), unwrap(k), unwrap(v));
        let [pq, pk, pv] = [&q, &k, &v].map(|tensor| wrap::<B>(tensor.primitive.clone()));
        track!(
            Attention,
            [q, k, v],
            (([pq.clone(), pk.clone(), pv.clone()], spec.clone()), B::causal_attention(pq, pk, pv, spec)),
            B::causal_attention(pq, pk, pv, spec)
        )
    }

    fn linear_cross_entropy(
        hidden: Tensor<Self, 2>,
        weight: &Weight<Self>,
        labels: &Labels,
    ) -> (Tensor<Self, 2>, Tensor<Self, 2>) {
        let (hidden, inner) = (unwrap(hidden), weight.inner());
        let ph = wrap::<B>(hidden.primitive.clone());
        let tracked = match weight {
            Weight::Full(weight) => Some(unwrap(weight.clone())),
            Weight::Packed(_) => None,
        }
        .filter(Primitive::<Self>::is_tracked);
        let out = B::linear_cross_entropy_gradients(ph, &inner, labels, tracked.is_some());
        let (scores, loss) = (Tensor::from_inner(out.scores), out.loss);
        let loss = match tracked {
            Some(weight) => {
                track!(LinearCrossEntropy, [hidden, weight], ((out.dhidden, out.dweight), loss), loss)
            }
            None => track!(FrozenCrossEntropy, [hidden], (out.dhidden, loss), loss),
        };
        (loss, scores)
    }
}

#[derive(Debug)]
struct Linear;
impl<B: Ops> Backward<B, 2> for Linear {
    type State = (Tensor<B, 2>, Weight<B>);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let ((x, weight), [x_node, weight_node]) = (ops.state, ops.parents);
        let dx = x_node.is_some().then(|| B::project_dx(&weight, dy.clone()));
        register!(grads, x_node, dx);
        register!(grads, weight_node, Some(B::project_dweight(x, dy)));
    }
}

#[derive(Debug)]
struct FrozenLinear;
impl<B: Ops> Backward<B, 1> for FrozenLinear {
    type State = Weight<B>;
    fn backward(self, ops: Node<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let [x] = ops.parents;
        register!(grads, x, Some(B::project_dx(&ops.state, dy)));
    }
}

#[derive(Debug)]
struct LoraLinear;
impl<B: Ops> Backward<B, 3> for LoraLinear {
    type State = ([Tensor<B, 2>; 4], Weight<B>, LoraSpec);
    fn backward(self, ops: Node<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let ([x, a, b, low], weight, lora) = ops.state;
        let [x_node, a_node, b_node] = ops.parents;
        let (dx, da, db) = B::lora_linear_backward(x, &weight, a, b, low, lora, dy, x_node.is_some());
        register!(grads, x_node, dx);
        register!(grads, a_node, Some(da));
        register!(grads, b_node, Some(db));
    }
}

#[derive(Debug)]
struct LayerNorm;
impl<B: Ops> Backward<B, 1> for LayerNorm {
    type State = (Tensor<B, 2>, f32);
    fn backward(self, ops: Node<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let ((x, eps), [node]) = (ops.state, ops.parents);
        register!(grads, node, Some(B::unweighted_layer_norm_backward(x, eps, dy)));
    }
}

#[derive(Debug)]
struct RmsNorm;
impl<B: Ops> Backward<B, 2> for RmsNorm {
    type State = (Tensor<B, 2>, Tensor<B, 2>, f32);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (x, weight, eps) = ops.state;
        let [x_node, weight_node] = ops.parents;
        let (dx, dweight) = B::rms_norm_backward(x, weight, eps, dy, weight_node.is_some());
        register!(grads, x_node, Some(dx));
        register!(grads, weight_node, dweight);
    }
}

#[derive(Debug)]
struct Swiglu;
impl<B: Ops> Backward<B, 2> for Swiglu {
    type State = (Tensor<B, 2>, Tensor<B, 2>);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (dgate, dup) = B::swiglu_backward(ops.state.0, ops.state.1, dy);
        let [gate, up] = ops.parents;
        register!(grads, gate, Some(dgate));
        register!(grads, up, Some(dup));
    }
}

#[derive(Debug)]
struct Attention;
impl<B: Ops> Backward<B, 3> for Attention {
    type State = ([Tensor<B, 2>; 3], AttentionSpec);
    fn backward(self, ops: Node<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let ([q, k, v], spec) = ops.state;
        let gradients = B::causal_attention_backward(q, k, v, &spec, dy);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            register!(grads, node, Some(gradient));
        }
    }
}

#[derive(Debug)]
struct LinearCrossEntropy;
impl<B: Ops> Backward<B, 2> for LinearCrossEntropy {
    type State = (Tensor<B, 2>, Option<Tensor<B, 2>>);
    fn backward(self, ops: Node<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let (dhidden, dweight) = ops.state;
        let [hidden, weight] = ops.parents;
        register!(grads, hidden, Some(dhidden * dy.clone()));
        register!(grads, weight, dweight.map(|dweight| dweight * dy));
    }
}

#[derive(Debug)]
struct FrozenCrossEntropy;
impl<B: Ops> Backward<B, 1> for FrozenCrossEntropy {
    type State = Tensor<B, 2>;
    fn backward(self, ops: Node<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = wrap::<B>(grads.consume::<B>(&ops.node));
        let [hidden] = ops.parents;
        register!(grads, hidden, Some(ops.state * dy));
    }
}
