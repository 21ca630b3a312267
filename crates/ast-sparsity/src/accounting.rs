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
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
