use serde::{Deserialize, Serialize};

use crate::SelectionError;

/// What a policy is built from. One set of settings serves all policies; each ignores the settings that do not concern
/// it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Name of the policy: one of [`POLICIES`](crate::POLICIES).
    pub policy: String,
    /// Number of samples; their ids are below it.
    pub samples: usize,
    /// Share of the candidates to train on, over all epochs, in `(0, 1]`.
    pub target_activation_rate: f64,
    /// Weight of the entropy against the loss in a score, in `[0, 1]`.
    pub entropy_weight: f64,
    /// Seed of every draw.
    pub seed: u64,
    /// Epochs after which `ast` selects a sample that was not trained on, whatever its score; at least 1.
    pub max_age: usize,
    /// Share of the epochs, at the end, that train on everything, in `[0, 1]`. `None`: the policy's own, 0.125 for
    /// `infobatch` and 0 for `ast`. `random` has none.
    pub annealing_share: Option<f64>,
    /// How far the weights of `ast` make up for unequal frequencies, in `[0, 1]`: 1 wholly, 0 not at all.
    pub correction: f64,
    /// Probability, in `[0, 1)`, with which `infobatch` prunes a sample below the mean. `None`: from the target.
    pub prune_probability: Option<f64>,
}

impl Settings {
    /// The defaults for a number of samples.
    pub fn new(samples: usize) -> Self {
        Self {
            policy: String::from("ast"),
            samples,
            target_activation_rate: 0.4,
            entropy_weight: 0.3,
            seed: 42,
            max_age: 10,
            annealing_share: None,
            correction: 1.0,
            prune_probability: Some(0.5),
        }
    }

    /// Refuses values out of range.
    pub fn check(&self) -> Result<(), SelectionError> {
        Self::check_rate(self.target_activation_rate)?;
        Self::check_share("entropy_weight", self.entropy_weight)?;
        Self::check_share("annealing_share", self.annealing_share.unwrap_or(0.0))?;
        Self::check_share("correction", self.correction)?;
        if let Some(probability) = self.prune_probability.filter(|value| !(0.0..1.0).contains(value)) {
            return Err(setting("prune_probability", &probability, "a number of at least 0 and below 1"));
        }
        if self.max_age == 0 {
            return Err(setting("max_age", &0, "an integer of at least 1"));
        }
        if self.samples == 0 || self.samples > u32::MAX as usize {
            return Err(setting("samples", &self.samples, "an integer of at least 1 and below 2³²"));
        }
        Ok(())
    }

    pub(crate) fn check_rate(rate: f64) -> Result<(), SelectionError> {
        if rate > 0.0 && rate <= 1.0 {
            return Ok(());
        }
        Err(setting("target_activation_rate", &rate, "a number above 0 and at most 1"))
    }

    pub(crate) fn check_share(key: &'static str, share: f64) -> Result<(), SelectionError> {
        if (0.0..=1.0).contains(&share) {
            return Ok(());
        }
        Err(setting(key, &share, "a number from 0 to 1"))
    }
}

fn setting(key: &'static str, found: &impl ToString, allowed: &'static str) -> SelectionError {
    SelectionError::Setting { key, found: found.to_string(), allowed }
}
