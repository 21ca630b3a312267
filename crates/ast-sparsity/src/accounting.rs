use serde::{Deserialize, Serialize};

/// What selection did so far, and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    /// Samples that were candidates.
    pub candidates: u64,
    /// Of these, samples that were selected for training.
    pub selected: u64,
    /// Candidates whose fresh scores were asked for: forward passes paid for selection alone.
    pub scored: u64,
    /// Selected samples that a floor or the bound on age chose, not their score.
    pub forced: u64,
    /// Observations and fresh scores that were no finite number.
    pub non_finite: u64,
    /// The last threshold, where the policy has one.
    pub threshold: Option<f64>,
}

impl Accounting {
    /// Selected samples per candidate; 0 before the first.
    pub fn activation_rate(&self) -> f64 {
        share(self.selected, self.candidates)
    }

    /// Share of the selected samples that a floor or the bound on age chose.
    pub fn forced_share(&self) -> f64 {
        share(self.forced, self.selected)
    }

    /// Arithmetic saved against training on every candidate: `1 − (3·selected + scored) / (3·candidates)`.
    ///
    /// A forward pass is one unit, a backward pass two (its two products per layer: the gradients of the input and of
    /// the weights), so that training on a sample is three and scoring it is one. It is a count of operations, not of
    /// joules: those are for a meter to say. Negative where scoring costs more than selection saves.
    pub fn compute_saving(&self) -> f64 {
        if self.candidates == 0 {
            return 0.0;
        }
        1.0 - (3 * self.selected + self.scored) as f64 / (3 * self.candidates) as f64
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scoring_is_charged_as_a_third_of_training() {
        let free = Accounting { candidates: 100, selected: 40, ..Accounting::default() };
        assert!((free.compute_saving() - 0.6).abs() < 1e-12);
        let scored = Accounting { scored: 100, ..free };
        assert!((scored.compute_saving() - (1.0 - (1.0 + 3.0 * 0.4) / 3.0)).abs() < 1e-12);
        let worse = Accounting { selected: 90, ..scored };
        assert!(worse.compute_saving() < 0.0, "a scoring pass that saves too little costs");
        assert!(Accounting::default().compute_saving().abs() < 1e-12);
    }
}
