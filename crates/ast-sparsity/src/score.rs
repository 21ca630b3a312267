use serde::{Deserialize, Serialize};

use crate::{SelectionError, Settings};

/// What a forward pass shows about a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Its loss, without weight; in nats for cross-entropy.
    pub loss: f32,
    /// Entropy of its prediction in nats, at most the logarithm of the number of classes; see [`entropy`].
    pub entropy: f32,
}

/// A rule that says how much there is to learn from a sample. Any function of an [`Observation`] can be one.
pub trait Score: Send + Sync {
    /// The score: the higher, the more. One that is no finite number counts as unknown.
    fn score(&self, observation: Observation) -> f32;
}

impl<F: Fn(Observation) -> f32 + Send + Sync> Score for F {
    fn score(&self, observation: Observation) -> f32 {
        self(observation)
    }
}

/// `(1 − w)·loss + w·entropy`: the score of the package adaptive-sparse-training 1.0.1, there with `w` = 0.3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Significance {
    /// `1 − w`.
    loss: f32,
    /// `w`.
    entropy: f32,
}

impl Significance {
    /// With a weight of the entropy in `[0, 1]`.
    pub fn new(entropy_weight: f64) -> Result<Self, SelectionError> {
        Settings::check_share("entropy_weight", entropy_weight)?;
        Ok(Self { loss: (1.0 - entropy_weight) as f32, entropy: entropy_weight as f32 })
    }
}

impl Score for Significance {
    /// A part whose weight is 0 does not count, even if it is not a number.
    fn score(&self, observation: Observation) -> f32 {
        let part = |weight: f32, value: f32| if weight == 0.0 { 0.0 } else { weight * value };
        part(self.loss, observation.loss) + part(self.entropy, observation.entropy)
    }
}

/// Entropy in nats of the softmax of `logits`; 0 for none, NaN where the softmax has no value.
///
/// `H = ln Σeᶻ − Σz·eᶻ / Σeᶻ`, with `z` the distance to the highest logit: exact where a probability underflows, and
/// summed in `f64`. (The package adaptive-sparse-training adds 1e-8 to each probability instead.)
pub fn entropy(logits: &[f32]) -> f32 {
    if logits.is_empty() {
        return 0.0;
    }
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0, 0.0);
    for &logit in logits {
        let distance = f64::from(logit - highest);
        let power = distance.exp();
        total += power;
        // A class that is ruled out has no part.
        weighted += if distance == f64::NEG_INFINITY { 0.0 } else { distance * power };
    }
    let entropy = (total.ln() - weighted / total) as f32;
    if entropy < 0.0 { 0.0 } else { entropy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entropy_at_its_ends_and_beyond() {
        assert!((entropy(&[2.0; 10]) - 10f32.ln()).abs() < 1e-6);
        assert!(entropy(&[1000.0, 0.0, 0.0]) < 1e-12);
        assert!((entropy(&[1e30, 1e30]) - 2f32.ln()).abs() < 1e-6, "large logits do not overflow");
        assert!(
            (entropy(&[0.0, f32::NEG_INFINITY, 0.0]) - 2f32.ln()).abs() < 1e-6,
            "a masked class has no part"
        );
        assert!(entropy(&[0.0, f32::NAN]).is_nan());
        assert!(entropy(&[0.0, f32::INFINITY]).is_nan());
        assert!(entropy(&[]) < 1e-12);
    }

    proptest! {
        #[test]
        fn entropy_is_that_of_the_probabilities(logits in prop::collection::vec(-20.0..20.0f32, 1..40)) {
            let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
            let total: f64 = powers.iter().sum();
            let direct: f64 = -powers.iter().map(|power| power / total).map(|p| p * p.ln()).sum::<f64>();
            prop_assert!((f64::from(entropy(&logits)) - direct).abs() < 1e-5);
        }

        #[test]
        fn entropy_does_not_see_a_shift(logits in prop::collection::vec(-5.0..5.0f32, 2..20), shift in -50.0..50.0f32) {
            let shifted: Vec<f32> = logits.iter().map(|logit| logit + shift).collect();
            prop_assert!((entropy(&logits) - entropy(&shifted)).abs() < 1e-4);
        }
    }

    #[test]
    fn a_part_without_weight_cannot_spoil_a_score() {
        let broken = Observation { loss: 2.0, entropy: f32::NAN };
        assert!((Significance::new(0.0).unwrap().score(broken) - 2.0).abs() < 1e-6);
        assert!(Significance::new(0.3).unwrap().score(broken).is_nan());
        assert!(Significance::new(1.1).is_err() && Significance::new(f64::NAN).is_err());
    }
}
