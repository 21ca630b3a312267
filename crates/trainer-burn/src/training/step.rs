//! Loss and gradients of one optimizer step: adapters on a frozen base, or all weights.

use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};

use greentune_ast_sparsity::Observation;
use greentune_core_config::settings::TrainingSettings;
use greentune_text_data::Example;

use crate::{
    model::{Adapters, Batch, Decoder, Parameters},
    ops::{Labels, Ops, autodiff::only_graph},
};

/// An example and the factors of its losses.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a> {
    /// The example.
    pub example: &'a Example,
    /// One for all of its labelled tokens, or one for each.
    pub weights: &'a [f32],
}

impl<'a> Weighted<'a> {
    /// Each of `examples` with weight 1.
    pub fn whole(examples: impl IntoIterator<Item = &'a Example>) -> Vec<Self> {
        examples.into_iter().map(|example| Self { example, weights: &[1.0] }).collect()
    }

    fn weight(&self, token: usize) -> f32 {
        let own = if let [one] = self.weights { Some(one) } else { self.weights.get(token) };
        own.copied().unwrap_or_default()
    }
}

/// The rows and targets of these examples' labelled tokens; weights are divided by `divisor`.
pub fn labels(examples: &[Weighted], divisor: f32) -> Labels {
    let (mut rows, mut targets, mut weights, mut start) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for weighted in examples {
        let example = weighted.example;
        for (token, position) in example.labelled_positions().enumerate() {
            rows.push((start + position - 1) as u32);
            targets.push(example.tokens[position]);
            weights.push(weighted.weight(token) / divisor);
        }
        start += example.tokens.len() - 1;
    }
    Labels { rows: rows.into(), targets: targets.into(), weights: weights.into() }
}

/// The inputs of these examples: every token but the last, which predicts nothing.
pub fn batch(examples: &[Weighted]) -> Batch {
    Batch::of(examples.iter().map(|Weighted { example, .. }| &example.tokens[..example.tokens.len() - 1]))
}

/// What is trained.
#[derive(Clone, Debug)]
pub enum Trained<B: Backend> {
    /// Low-rank adapters; the base is frozen and shared.
    Adapters(Adapters<B>),
    /// Every weight of the decoder.
    AllWeights,
}

/// Loss and gradients of one optimizer step.
#[derive(Debug)]
pub struct StepGradients<B: Backend> {
    /// Mean weighted loss per labelled token, in nats.
    pub loss: f64,
    /// Of each labelled token in turn, without its weight.
    pub scores: Vec<Observation>,
    /// By parameter name.
    pub gradients: Parameters<B>,
    /// Tokens that went through the model.
    pub tokens: u64,
}

/// How the activations of a forward pass are kept for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// All of them.
    #[default]
    Kept,
    /// The input of each layer alone; the layer is computed again (Chen et al. 2016). With adapters only.
    Recomputed,
}

impl Activations {
    /// What the settings ask for.
    pub fn of(training: &TrainingSettings) -> Self {
        if training.gradient_checkpointing { Self::Recomputed } else { Self::Kept }
    }
}

/// Loss and gradients over `micro_batches`, whose labelled tokens count the same whatever batch they are in.
pub fn gradients<A>(
    decoder: &Decoder<A::InnerBackend>,
    trained: &Trained<A::InnerBackend>,
    micro_batches: &[Vec<Weighted>],
    activations: Activations,
    dropout_seed: u64,
) -> StepGradients<A::InnerBackend>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let _only = only_graph();
    let labelled: usize = micro_batches.iter().flatten().map(|one| one.example.labelled_tokens()).sum();
    let mut total =
        StepGradients { loss: 0.0, scores: Vec::new(), gradients: Parameters::default(), tokens: 0 };
    for (index, examples) in micro_batches.iter().enumerate() {
        let (adapters, weights) = match trained {
            Trained::Adapters(adapters) => {
                let seed = dropout_seed.wrapping_add((index as u64) << 32);
                (Some(adapters.tracked::<A>(seed)), decoder.weights.lift::<A>(false))
            }
            Trained::AllWeights => (None, decoder.weights.lift::<A>(true)),
        };
        let pass = Pass {
            model: decoder.with_weights(weights),
            adapters: adapters.as_ref(),
            batch: batch(examples),
            labels: labels(examples, labelled as f32),
        };
        total.tokens += pass.batch.tokens.len() as u64;
        let (loss, scores) = match (activations, &adapters) {
            (Activations::Recomputed, Some(adapters)) => {
                pass.recomputing(decoder, &adapters.inner(), &mut total.gradients)
            }
            _ => pass.keeping(&mut total.gradients),
        };
        total.loss += loss;
        total.scores.extend(scores);
    }
    total
}

/// One micro-batch on its way forwards and backwards.
struct Pass<'a, A: AutodiffBackend> {
    model: Decoder<A>,
    adapters: Option<&'a Adapters<A>>,
    batch: Batch,
    labels: Labels,
}

impl<A> Pass<'_, A>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    /// Adds the gradients to `sums`; the loss, and what was seen of each labelled token.
    fn keeping(&self, sums: &mut Parameters<A::InnerBackend>) -> (f64, Vec<Observation>) {
        let hidden = self.model.forward(&self.batch, self.adapters);
        let (loss, scores) = A::linear_cross_entropy(hidden, &self.model.head(), &self.labels);
        let mut grads = loss.backward();
        self.collect(&mut grads, sums);
        (scalar(loss.inner()), observations(scores.inner()))
    }

    /// The same, layer by layer backwards from their stored inputs; dropout draws the same masks again.
    fn recomputing(
        &self,
        decoder: &Decoder<A::InnerBackend>,
        adapters: &Adapters<A::InnerBackend>,
        sums: &mut Parameters<A::InnerBackend>,
    ) -> (f64, Vec<Observation>) {
        let segments = &self.batch.segments;
        let mut inputs = vec![decoder.embed(&self.batch.tokens)];
        for layer in 0..decoder.config().num_hidden_layers {
            inputs.push(decoder.layer(layer, inputs[layer].clone(), segments, Some(adapters)));
        }
        let mut upstream = None;
        let (mut loss, mut scores) = (0.0, Vec::new());
        while let Some(input) = inputs.pop() {
            // The first pass through here is the head, on what the last layer returned.
            let layer = inputs.len();
            let needs_dx = layer > 0;
            let x = Tensor::<A, 2>::from_inner(input);
            let x = if needs_dx { x.require_grad() } else { x };
            let target = match upstream.take() {
                None => {
                    let hidden = self.model.finish(x.clone());
                    let (of_batch, of_tokens) =
                        A::linear_cross_entropy(hidden, &self.model.head(), &self.labels);
                    (loss, scores) = (scalar(of_batch.clone().inner()), observations(of_tokens.inner()));
                    of_batch.sum()
                }
                Some(dy) => {
                    let y = self.model.layer(layer, x.clone(), segments, self.adapters);
                    (y * Tensor::from_inner(dy)).sum()
                }
            };
            let mut grads = target.backward();
            upstream = x.grad_remove(&mut grads);
            self.collect(&mut grads, sums);
        }
        (loss, scores)
    }

    fn collect(&self, grads: &mut A::Gradients, sums: &mut Parameters<A::InnerBackend>) {
        let leaves = self.adapters.map_or(&self.model.weights.full, |adapters| &adapters.parameters);
        for (name, leaf) in leaves.iter() {
            if let Some(gradient) = leaf.grad_remove(grads) {
                let sum = match sums.get(name) {
                    Some(sum) => sum.clone() + gradient,
                    None => gradient,
                };
                sums.insert(name.clone(), sum);
            }
        }
    }
}

fn observations<B: Backend>(scores: Tensor<B, 2>) -> Vec<Observation> {
    let values: Vec<f32> = scores.into_data().iter::<f32>().collect();
    let (pairs, _) = values.as_chunks::<2>();
    pairs.iter().map(|[loss, entropy]| Observation { loss: *loss, entropy: *entropy }).collect()
}

fn scalar<B: Backend>(tensor: Tensor<B, 2>) -> f64 {
    tensor.into_data().iter::<f32>().map(f64::from).sum()
}
