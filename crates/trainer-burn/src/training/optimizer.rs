//! AdamW (Loshchilov & Hutter 2019) with PyTorch's arithmetic and defaults.

use burn::tensor::backend::Backend;

use crate::model::Parameters;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// What AdamW does besides following the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The learning rate of LoRA's B is this many times that of A (LoRA+, Hayou et al. 2024); 1 for plain LoRA.
    pub loraplus_lr_ratio: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { weight_decay: 0.0, loraplus_lr_ratio: 1.0 }
    }
}

impl AdamWSettings {
    fn rate_of(&self, name: &str, learning_rate: f64) -> f64 {
        if name.ends_with("lora_B.weight") { learning_rate * self.loraplus_lr_ratio } else { learning_rate }
    }
}

/// AdamW's state: the moments of every parameter and the number of steps.
#[derive(Clone, Debug)]
pub struct AdamW<B: Backend> {
    settings: AdamWSettings,
    /// Steps taken.
    pub step: u64,
    /// Mean of the gradients.
    pub first: Parameters<B>,
    /// Mean of the squared gradients.
    pub second: Parameters<B>,
}

impl<B: Backend> AdamW<B> {
    /// Fresh state for `parameters`.
    pub fn new(parameters: &Parameters<B>, settings: AdamWSettings) -> Self {
        let zeros = parameters.map(|_, tensor| tensor.zeros_like());
        Self { settings, step: 0, first: zeros.clone(), second: zeros }
    }

    /// State taken up from a checkpoint.
    pub fn resumed(settings: AdamWSettings, step: u64, first: Parameters<B>, second: Parameters<B>) -> Self {
        Self { settings, step, first, second }
    }

    /// One step: the new parameters. Those without a gradient stay as they are.
    pub fn update(
        &mut self,
        parameters: &Parameters<B>,
        gradients: &Parameters<B>,
        learning_rate: f64,
    ) -> Parameters<B> {
        self.step += 1;
        let exponent = self.step as i32;
        let (correction1, correction2) = (1.0 - BETA1.powi(exponent), 1.0 - BETA2.powi(exponent));
        let mut updated = Parameters::default();
        for (name, value) in parameters.iter() {
            let (Some(gradient), Some(first), Some(second)) =
                (gradients.get(name), self.first.get(name), self.second.get(name))
            else {
                updated.insert(name.clone(), value.clone());
                continue;
            };
            let first = first.clone() * BETA1 + gradient.clone() * (1.0 - BETA1);
            let second = second.clone() * BETA2 + gradient.clone() * gradient.clone() * (1.0 - BETA2);
            let denominator = second.clone().sqrt() / correction2.sqrt() + EPSILON;
            let rate = self.settings.rate_of(name, learning_rate);
            let step = first.clone() / denominator * (rate / correction1);
            let decayed = value.clone() * (1.0 - rate * self.settings.weight_decay);
            updated.insert(name.clone(), decayed - step);
            self.first.insert(name.clone(), first);
            self.second.insert(name.clone(), second);
        }
        updated
    }
}

/// Scales `gradients` down to a joint norm of `limit` (0: never) as PyTorch's `clip_grad_norm_`; returns them with
/// their norm before.
pub fn clip<B: Backend>(gradients: Parameters<B>, limit: f64) -> (Parameters<B>, f64) {
    let norm = gradients
        .iter()
        .map(|(_, gradient)| {
            let values = gradient.to_data();
            values.iter::<f32>().map(|value| f64::from(value) * f64::from(value)).sum::<f64>()
        })
        .sum::<f64>()
        .sqrt();
    let factor = limit / (norm + 1e-6);
    if limit <= 0.0 || factor >= 1.0 {
        return (gradients, norm);
    }
    (gradients.map(|_, gradient| gradient.clone() * factor), norm)
}
