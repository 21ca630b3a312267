//! The optimizers: AdamW (Loshchilov & Hutter 2019) with PyTorch's arithmetic and defaults, and SGD with momentum,
//! which keeps half of its state.

use burn::{
    optim::momentum::{Momentum, MomentumConfig, MomentumState},
    tensor::{Tensor, backend::Backend},
};
use greentune_core_config::settings::{OptimizerKind, Settings};

use crate::model::Parameters;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// SGD's: PyTorch's usual momentum, without dampening.
const MOMENTUM: MomentumConfig = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };

/// What an optimizer does besides following the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSettings {
    /// Which one.
    pub kind: OptimizerKind,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The learning rate of LoRA's B is this many times that of A (LoRA+, Hayou et al. 2024); 1 for plain LoRA.
    pub loraplus_lr_ratio: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self { kind: OptimizerKind::AdamW, weight_decay: 0.0, loraplus_lr_ratio: 1.0 }
    }
}

impl From<&Settings> for OptimizerSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            kind: settings.training.optimizer,
            weight_decay: settings.training.weight_decay,
            loraplus_lr_ratio: settings.lora.loraplus_lr_ratio,
        }
    }
}

impl OptimizerSettings {
    fn rate_of(&self, name: &str, learning_rate: f64) -> f64 {
        if name.ends_with("lora_B.weight") { learning_rate * self.loraplus_lr_ratio } else { learning_rate }
    }
}

/// An optimizer with its state.
#[derive(Clone, Debug)]
pub struct Optimizer<B: Backend> {
    settings: OptimizerSettings,
    /// Steps taken.
    pub step: u64,
    /// What is kept for every parameter, in the order of [`OptimizerKind::moments`].
    moments: Vec<Parameters<B>>,
}

impl<B: Backend> Optimizer<B> {
    /// Fresh state for `parameters`.
    pub fn new(parameters: &Parameters<B>, settings: OptimizerSettings) -> Self {
        let zeros = parameters.map(|_, tensor| tensor.zeros_like());
        let moments = vec![zeros; settings.kind.moments().len()];
        Self { settings, step: 0, moments }
    }

    /// State taken up from a checkpoint.
    pub fn resumed(settings: OptimizerSettings, step: u64, moments: Vec<Parameters<B>>) -> Self {
        Self { settings, step, moments }
    }

    /// What is kept for every parameter, by name.
    pub fn named_moments(&self) -> impl Iterator<Item = (&'static str, &Parameters<B>)> {
        self.settings.kind.moments().iter().copied().zip(&self.moments)
    }

    /// One step: the new parameters. Those without a gradient stay as they are.
    pub fn update(
        &mut self,
        parameters: &Parameters<B>,
        gradients: &Parameters<B>,
        learning_rate: f64,
    ) -> Parameters<B> {
        self.step += 1;
        let mut updated = Parameters::default();
        for (name, value) in parameters.iter() {
            let moments: Option<Vec<_>> =
                self.moments.iter().map(|moment| moment.get(name).cloned()).collect();
            let (Some(gradient), Some(moments)) = (gradients.get(name).cloned(), moments) else {
                updated.insert(name.clone(), value.clone());
                continue;
            };
            let rate = self.settings.rate_of(name, learning_rate);
            let decayed = value.clone() * (1.0 - rate * self.settings.weight_decay);
            let (moments, direction) = match self.settings.kind {
                OptimizerKind::AdamW => self.adamw(moments, gradient),
                OptimizerKind::Sgd => self.sgd(moments, gradient),
            };
            updated.insert(name.clone(), decayed - direction * rate);
            for (all, moment) in self.moments.iter_mut().zip(moments) {
                all.insert(name.clone(), moment);
            }
        }
        updated
    }

    fn adamw(&self, moments: Vec<Tensor<B, 2>>, gradient: Tensor<B, 2>) -> (Vec<Tensor<B, 2>>, Tensor<B, 2>) {
        let exponent = self.step as i32;
        let (correction1, correction2) = (1.0 - BETA1.powi(exponent), 1.0 - BETA2.powi(exponent));
        let first = moments[0].clone() * BETA1 + gradient.clone() * (1.0 - BETA1);
        let second = moments[1].clone() * BETA2 + gradient.clone() * gradient * (1.0 - BETA2);
        let denominator = second.clone().sqrt() / correction2.sqrt() + EPSILON;
        let direction = first.clone() / denominator / correction1;
        (vec![first, second], direction)
    }

    fn sgd(&self, moments: Vec<Tensor<B, 2>>, gradient: Tensor<B, 2>) -> (Vec<Tensor<B, 2>>, Tensor<B, 2>) {
        let state = moments.into_iter().next().filter(|_| self.step > 1).map(MomentumState::new);
        // Without Nesterov's look ahead, what comes out is the velocity.
        let (velocity, _) = Momentum::new(&MOMENTUM).transform(gradient, state);
        (vec![velocity.clone()], velocity)
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

#[cfg(test)]
mod tests {
    use burn::backend::{Flex, flex::FlexDevice};

    use super::*;

    fn single(value: f32) -> Parameters<Flex> {
        [(String::from("q.lora_B.weight"), Tensor::from_data([[value]], &FlexDevice))].into_iter().collect()
    }

    fn value(parameters: &Parameters<Flex>) -> f32 {
        parameters.to_host().into_values().next().unwrap().values[0]
    }

    /// `torch.optim.SGD(lr=0.1, momentum=0.9)` on gradients 1, 1, −2 from 1: velocities 1, 1.9, −0.29.
    #[test]
    fn sgd_is_that_of_pytorch() {
        let settings = OptimizerSettings { kind: OptimizerKind::Sgd, ..OptimizerSettings::default() };
        let mut parameters = single(1.0);
        let mut optimizer = Optimizer::new(&parameters, settings);
        for (gradient, expected) in [(1.0, 0.9), (1.0, 0.71), (-2.0, 0.739)] {
            parameters = optimizer.update(&parameters, &single(gradient), 0.1);
            assert!((value(&parameters) - expected).abs() < 1e-6, "{}", value(&parameters));
        }
    }

    #[test]
    fn lora_plus_moves_b_faster() {
        let moved = |loraplus_lr_ratio| {
            let settings = OptimizerSettings { loraplus_lr_ratio, ..OptimizerSettings::default() };
            1.0 - value(&Optimizer::new(&single(1.0), settings).update(&single(1.0), &single(0.5), 1e-2))
        };
        assert!((moved(16.0) / moved(1.0) - 16.0).abs() < 1e-3);
    }
}
