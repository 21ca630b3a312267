//! The optimizers of image classifiers, with PyTorch's arithmetic: SGD whose weight decay is part of the gradient, and
//! AdamW.

use std::path::Path;

use burn::tensor::backend::Backend;
use greentune_core_config::settings::{OptimizerKind, VisionSettings};

use crate::{
    error::TrainError,
    model::Parameters,
    ops::image::{ImageOps, SgdStep},
    stage::checkpoint,
    training::optimizer::{Optimizer as AdamW, OptimizerSettings},
};

/// An optimizer with its state.
#[derive(Clone, Debug)]
pub enum Optimizer<B: Backend> {
    /// SGD with momentum.
    Sgd {
        /// Momentum.
        momentum: f64,
        /// Weight decay.
        decay: f64,
        /// Velocities; none before the first step.
        velocity: Option<Parameters<B>>,
    },
    /// AdamW.
    AdamW(AdamW<B>),
}

const VELOCITY: &str = "velocity";

impl<B: ImageOps> Optimizer<B> {
    /// Fresh state for `weights`.
    pub fn new(weights: &Parameters<B>, settings: &VisionSettings) -> Self {
        match settings.optimizer {
            OptimizerKind::Sgd => {
                Self::Sgd { momentum: settings.momentum, decay: settings.weight_decay, velocity: None }
            }
            OptimizerKind::AdamW => Self::AdamW(AdamW::new(weights, adamw(settings))),
        }
    }

    /// State from a checkpoint after `step` steps.
    pub fn read(
        path: &Path,
        step: u64,
        weights: &Parameters<B>,
        settings: &VisionSettings,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        let mut fresh = Self::new(weights, settings);
        if step == 0 {
            return Ok(fresh);
        }
        let moment = |name: &str| checkpoint::read_moment(path, name, weights, device);
        match &mut fresh {
            Self::Sgd { velocity, .. } => *velocity = Some(moment(VELOCITY)?),
            Self::AdamW(state) => {
                let settings = adamw(settings);
                let moments: Result<Vec<_>, _> =
                    settings.kind.moments().iter().map(|name| moment(name)).collect();
                *state = AdamW::resumed(settings, step, moments?);
            }
        }
        Ok(fresh)
    }

    /// Writes the state for a checkpoint.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        match self {
            Self::Sgd { velocity, .. } => {
                checkpoint::write_moments(path, velocity.iter().map(|velocity| (VELOCITY, velocity)))
            }
            Self::AdamW(state) => checkpoint::write_moments(path, state.named_moments()),
        }
    }

    /// One step: the new weights.
    pub fn update(
        &mut self,
        weights: &Parameters<B>,
        gradients: &Parameters<B>,
        learning_rate: f64,
    ) -> Parameters<B> {
        match self {
            Self::AdamW(state) => state.update(weights, gradients, learning_rate),
            Self::Sgd { momentum, decay, velocity } => {
                let step =
                    SgdStep { rate: learning_rate as f32, momentum: *momentum as f32, decay: *decay as f32 };
                let (mut updated, mut velocities) = (Parameters::default(), Parameters::default());
                for (name, value) in weights.iter() {
                    let gradient = gradients.get(name).cloned().unwrap_or_else(|| value.zeros_like());
                    let old = velocity.as_ref().and_then(|velocity| velocity.get(name)).cloned();
                    let (value, new) = B::sgd_step(value.clone(), gradient, old, step);
                    updated.insert(name.clone(), value);
                    velocities.insert(name.clone(), new);
                }
                *velocity = Some(velocities);
                updated
            }
        }
    }
}

fn adamw(settings: &VisionSettings) -> OptimizerSettings {
    OptimizerSettings { weight_decay: settings.weight_decay, ..OptimizerSettings::default() }
}
