//! Loss and gradients of one optimizer step: adapters on a frozen base, or all weights.

use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::{
    data::Example,
    model::{Adapters, Batch, Decoder, Parameters},
    ops::{Labels, Ops},
};

/// The rows and targets of these examples' labelled tokens; the loss is divided by `divisor`.
pub fn labels(examples: &[&Example], divisor: f32) -> Labels {
    let (mut rows, mut targets, mut start) = (Vec::new(), Vec::new(), 0);
    for example in examples {
        for position in example.labelled_positions() {
            rows.push((start + position - 1) as u32);
            targets.push(example.tokens[position]);
        }
        start += example.tokens.len() - 1;
    }
    Labels { rows: rows.into(), targets: targets.into(), divisor }
}

/// The inputs of these examples: every token but the last, which predicts nothing.
pub fn batch(examples: &[&Example]) -> Batch {
    Batch::of(examples.iter().map(|example| &example.tokens[..example.tokens.len() - 1]))
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
    /// Mean loss per labelled token, in nats.
    pub loss: f64,
    /// By parameter name.
    pub gradients: Parameters<B>,
    /// Tokens that went through the model.
    pub tokens: u64,
}

/// Loss and gradients over `micro_batches`, whose labelled tokens weigh the same whatever batch they are in.
pub fn gradients<A>(
    decoder: &Decoder<A::InnerBackend>,
    trained: &Trained<A::InnerBackend>,
    micro_batches: &[Vec<&Example>],
    dropout_seed: u64,
) -> StepGradients<A::InnerBackend>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let labelled: usize = micro_batches.iter().flatten().map(|example| example.labelled_tokens()).sum();
    let mut total = StepGradients { loss: 0.0, gradients: Parameters::default(), tokens: 0 };
    for (index, examples) in micro_batches.iter().enumerate() {
        let (adapters, weights) = match trained {
            Trained::Adapters(adapters) => {
                let seed = dropout_seed.wrapping_add((index as u64) << 32);
                (Some(adapters.tracked::<A>(seed)), decoder.weights.lift::<A>(false))
            }
            Trained::AllWeights => (None, decoder.weights.lift::<A>(true)),
        };
        let model = decoder.with_weights(weights);
        let batch = batch(examples);
        let hidden = model.forward(&batch, adapters.as_ref());
        let loss = A::linear_cross_entropy(hidden, model.head(), &labels(examples, labelled as f32));
        let mut grads = loss.backward();
        let leaves = adapters.as_ref().map_or(&model.weights, |adapters| &adapters.parameters);
        for (name, leaf) in leaves.iter() {
            if let Some(gradient) = leaf.grad_remove(&mut grads) {
                let sum = match total.gradients.get(name) {
                    Some(sum) => sum.clone() + gradient,
                    None => gradient,
                };
                total.gradients.insert(name.clone(), sum);
            }
        }
        total.loss += loss.inner().into_data().iter::<f32>().map(f64::from).sum::<f64>();
        total.tokens += batch.tokens.len() as u64;
    }
    total
}
