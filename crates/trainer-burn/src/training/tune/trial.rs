//! One trial: a stage in few steps.

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{settings::Stage2Settings, tuning::Trial as TrialRecord};
use greentune_text_data::Example;

use super::Common;
use crate::{
    error::TrainError,
    model::Adapters,
    ops::Ops,
    training::{
        feed::{Chosen, Feed},
        optimizer::{Optimizer, OptimizerSettings, clip},
        schedule::learning_rate,
        stage::mix,
        step::{self, Activations, Trained, Weighted},
    },
};

/// A trial and where it stands.
pub(super) struct Trial<A: AutodiffBackend<InnerBackend: Ops>> {
    /// The stage's settings with the values that are tried, and its own number of steps.
    settings: Stage2Settings,
    /// The same in as many steps as the trial has.
    in_small: Stage2Settings,
    adapters: Adapters<A::InnerBackend>,
    optimizer: Optimizer<A::InnerBackend>,
    feed: Feed,
    steps: u64,
    loss: Option<f64>,
    has_diverged: bool,
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Trial<A> {
    /// A trial of so many steps of the stage under `settings`, without selection.
    pub fn begin(common: &Common<A>, settings: Stage2Settings, steps: u64) -> Result<Self, TrainError> {
        let all = &common.manifest.settings;
        let share = steps as f64 / settings.iterations.max(1) as f64;
        let in_small = Stage2Settings {
            iterations: steps,
            warmup_steps: (settings.warmup_steps as f64 * share).round() as u64,
            ..settings.clone()
        };
        Ok(Self {
            settings,
            in_small,
            adapters: common.start.clone(),
            optimizer: Optimizer::new(&common.start.parameters, OptimizerSettings::from(all)),
            feed: Feed::dense(common.data.sampler(all, common.stage)?),
            steps: 0,
            loss: None,
            has_diverged: false,
        })
    }

    /// Trains up to `steps` in all, and scores. A trial that diverged stays as it is.
    pub fn go_on(&mut self, common: &Common<A>, steps: u64) -> Result<(), TrainError> {
        while self.steps < steps && !self.has_diverged {
            self.step(common)?;
        }
        let loss = common.loss(&self.adapters);
        self.has_diverged |= !loss.is_finite();
        self.loss = (!self.has_diverged).then_some(loss);
        Ok(())
    }

    /// The stage's settings with the values that are tried.
    pub fn settings(&self) -> &Stage2Settings {
        &self.settings
    }

    /// What it has trained.
    pub fn adapters(&self) -> &Adapters<A::InnerBackend> {
        &self.adapters
    }

    /// What is said of it.
    pub fn record(&self) -> TrialRecord {
        TrialRecord {
            learning_rate: self.settings.learning_rate,
            batch_size: self.settings.batch_size,
            steps: self.steps,
            of_steps: self.in_small.iterations,
            validation_loss: self.loss,
        }
    }

    /// One optimizer step, as the stage takes it.
    fn step(&mut self, common: &Common<A>) -> Result<(), TrainError> {
        let training = &common.manifest.settings.training;
        let read = |draw| common.data.read(draw);
        let score = |_: &[Example]| Vec::new();
        let batches = 0..self.in_small.gradient_accumulation;
        let drawn: Vec<Vec<Chosen>> = batches
            .map(|_| self.feed.micro_batch(training, self.in_small.batch_size, &read, &score))
            .collect::<Result<_, _>>()?;
        let micro_batches: Vec<Vec<Weighted>> =
            drawn.iter().map(|batch| batch.iter().map(Chosen::weighted).collect()).collect();
        let seed = mix(training.seed, u64::from(common.stage), self.steps);
        let trained = Trained::Adapters(self.adapters.clone());
        let activations = Activations::of(training);
        let out = step::gradients::<A>(common.decoder, &trained, &micro_batches, activations, seed);
        let (gradients, norm) = clip(out.gradients, training.max_grad_norm);
        self.has_diverged = !out.loss.is_finite() || !norm.is_finite();
        let rate = learning_rate(&self.in_small, self.steps);
        self.adapters.parameters = self.optimizer.update(&self.adapters.parameters, &gradients, rate);
        self.steps += 1;
        Ok(())
    }
}
