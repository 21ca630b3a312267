//! What sample selection did: counts, and the arithmetic that it saved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::AstUnit;

/// Counts of selection over some part of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelectionSoFar {
    /// What is counted.
    #[serde(default)]
    pub unit: AstUnit,
    /// Samples that full training would have trained on.
    pub candidates: u64,
    /// Samples that were trained on.
    pub selected: u64,
    /// Samples that went through a forward pass for their score alone.
    pub scored: u64,
    /// Selected samples that a lower bound decided on: a floor, or the greatest age of a score.
    pub forced: u64,
    /// The last threshold, for policies that have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub threshold: Option<f64>,
}

impl SelectionSoFar {
    /// Share of candidates that was trained on, in `[0, 1]`; 1 before there was any.
    pub fn activation_rate(&self) -> f64 {
        if self.candidates == 0 { 1.0 } else { self.selected as f64 / self.candidates as f64 }
    }

    /// Share of full training's arithmetic that was not done: `1 − (3 · selected + scored) / (3 · candidates)`. Negative
    /// where scoring costs more than it spares.
    ///
    /// A forward pass is one unit of arithmetic and a backward pass two (per layer the gradients of the input and of the
    /// weights), so that training on a sample costs three and scoring it one. It is a count of operations, not of
    /// joules: those are for a meter to say. `None` for tokens: one that is not selected still passes through every
    /// layer, and spares no more than the model's head.
    pub fn compute_savings(&self) -> Option<f64> {
        if self.unit == AstUnit::Token {
            return None;
        }
        if self.candidates == 0 {
            return Some(0.0);
        }
        let spent = 3.0 * self.selected as f64 + self.scored as f64;
        Some(1.0 - spent / (3.0 * self.candidates as f64))
    }

    /// The sum of both counts; the threshold is that of `later`.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        Self {
            unit: later.unit,
            candidates: self.candidates.saturating_add(later.candidates),
            selected: self.selected.saturating_add(later.selected),
            scored: self.scored.saturating_add(later.scored),
            forced: self.forced.saturating_add(later.forced),
            threshold: later.threshold.or(self.threshold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scored_sample_costs_a_third_of_a_trained_one() {
        let scored_all = SelectionSoFar { candidates: 100, selected: 40, scored: 100, ..Default::default() };
        assert!((scored_all.activation_rate() - 0.4).abs() < 1e-12);
        assert!((scored_all.compute_savings().unwrap() - (1.0 - 220.0 / 300.0)).abs() < 1e-12);
        let unscored = SelectionSoFar { scored: 0, ..scored_all.clone() };
        assert!((unscored.compute_savings().unwrap() - 0.6).abs() < 1e-12);
        let upstream = SelectionSoFar { selected: 100, ..scored_all.clone() };
        assert!(
            upstream.compute_savings().unwrap() < 0.0,
            "two forward passes and a full backward pass save nothing"
        );
        assert_eq!(SelectionSoFar::default().compute_savings(), Some(0.0));
        assert_eq!(SelectionSoFar { unit: AstUnit::Token, ..scored_all }.compute_savings(), None);
    }
}
