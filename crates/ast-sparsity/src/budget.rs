use crate::{Progress, SelectionError, Settings};

/// How a budget of samples is spread over the epochs: sparse ones first, then full ones, so that the mean is the target.
///
/// With target `p`, `E` epochs and an annealing share `a`, the last `A` epochs (`a·E`, rounded, and fewer where the
/// budget would not leave [`MIN_SPARSE_SHARE`](Self::MIN_SPARSE_SHARE) of `p` for the others) train on everything; the others at
/// `(p·E − A) / (E − A)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    target: f64,
    annealing: f64,
}

impl Budget {
    /// Least rate of the sparse epochs, as a share of the target.
    pub const MIN_SPARSE_SHARE: f64 = 0.5;

    /// A budget of `target` of all samples over the epochs, with the last `annealing` of the epochs full.
    pub fn new(target: f64, annealing: f64) -> Result<Self, SelectionError> {
        Settings::check_rate(target)?;
        Settings::check_share("annealing_share", annealing)?;
        Ok(Self { target, annealing })
    }

    /// How many of the last of `epochs` are full.
    pub fn full_epochs(&self, epochs: usize) -> usize {
        if self.target >= 1.0 {
            return epochs;
        }
        // (p·E − A) / (E − A) ≥ MIN_SPARSE_SHARE·p, solved for A.
        let most = self.target * (1.0 - Self::MIN_SPARSE_SHARE)
            / (1.0 - Self::MIN_SPARSE_SHARE * self.target)
            * epochs as f64;
        (self.annealing * epochs as f64).round().min(most.floor()) as usize
    }

    /// Activation rate of the epoch.
    pub fn rate(&self, Progress { epoch, epochs }: Progress) -> f64 {
        let full = self.full_epochs(epochs);
        if epoch >= epochs - full {
            return 1.0;
        }
        (self.target * epochs as f64 - full as f64) / (epochs - full) as f64
    }

    /// Samples that training has selected before the epoch begins, of `samples`.
    pub fn spent(&self, Progress { epoch, epochs }: Progress, samples: usize) -> usize {
        let sparse = epochs - self.full_epochs(epochs);
        let rate = self.rate(Progress { epoch: 0, epochs });
        let full = epoch.saturating_sub(sparse);
        (rate * epoch.min(sparse) as f64 * samples as f64).round() as usize + full * samples
    }

    /// Samples to select in the epoch, of `samples`: at least 1.
    pub fn samples(&self, progress: Progress, samples: usize) -> usize {
        let next = Progress { epoch: progress.epoch + 1, ..progress };
        (self.spent(next, samples) - self.spent(progress, samples)).clamp(1, samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_is_full_and_paid_by_the_earlier_epochs() {
        let budget = Budget::new(0.4, 0.125).unwrap();
        let rates: Vec<f64> = (0..16).map(|epoch| budget.rate(Progress { epoch, epochs: 16 })).collect();
        assert!(rates[14..].iter().all(|rate| (rate - 1.0).abs() < 1e-12));
        assert!((rates.iter().sum::<f64>() / 16.0 - 0.4).abs() < 1e-12);
        assert!(rates[..14].iter().all(|rate| (rate - 4.4 / 14.0).abs() < 1e-12));
    }

    proptest! {
        #[test]
        fn no_budget_is_overrun(
            target in 0.02..=1.0f64, annealing in 0.0..=1.0f64, epochs in 1..60usize, samples in 200..3000usize
        ) {
            let budget = Budget::new(target, annealing).unwrap();
            let selected: usize =
                (0..epochs).map(|epoch| budget.samples(Progress { epoch, epochs }, samples)).sum();
            let due = target * (samples * epochs) as f64;
            prop_assert!((selected as f64 - due).abs() <= 1.0, "{selected} of {due}");
            let first = budget.rate(Progress { epoch: 0, epochs });
            prop_assert!(first >= target * Budget::MIN_SPARSE_SHARE - 1e-9);
        }
    }
}
