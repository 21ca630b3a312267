use super::{Needs, Policy, Progress, Selected};
use crate::budget::Budget;
use crate::draws::Draws;
use crate::plan::Plan;
use crate::{Observation, SelectionError, Settings, Snapshot};

/// The loss of a sample that was not trained on yet, as in the authors' code.
const UNSEEN_LOSS: f32 = 3.0;
/// Share of full epochs at the end: 1 − δ of the paper.
const ANNEALING_SHARE: f64 = 0.125;
/// The most that is pruned below the mean, as in the authors' code: no weight is above 10.
const MOST_PRUNED: f64 = 0.9;

/// InfoBatch: prunes samples whose loss is below the mean with probability `r`, and multiplies the loss of the
/// remaining ones below the mean by `1/(1−r)`, so that the expected gradient is that of all samples.
///
/// Qin et al., *InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning*, ICLR 2024, arXiv:2303.04947;
/// details are those of the authors' code (`infobatch.py`). Losses are those that training saw last. The last
/// `annealing_share` of the epochs train on everything (1 − δ, 0.125 in the paper).
///
/// With `prune_probability` (0.5 in the paper) the activation rate follows from it: `1 − r·b` in the pruned epochs,
/// where `b` is the share of samples below the mean, so about 0.65 for b = 0.7. The target is ignored. With `None`, `r`
/// follows from the target, in each epoch anew, and is at most 0.9: rates below `1 − 0.9·b` are out of reach.
#[derive(Clone, Debug)]
pub struct InfoBatch {
    prune_probability: Option<f64>,
    budget: Budget,
    annealing_share: f64,
    seed: u64,
    losses: Vec<f32>,
    plan: Plan,
}

impl InfoBatch {
    /// Takes `prune_probability`, `annealing_share`, `target_activation_rate`, `seed` and `samples` of the settings.
    pub fn new(settings: &Settings) -> Result<Self, SelectionError> {
        settings.check()?;
        let annealing_share = settings.annealing_share.unwrap_or(ANNEALING_SHARE);
        Ok(Self {
            prune_probability: settings.prune_probability.map(|r| r.min(MOST_PRUNED)),
            budget: Budget::new(settings.target_activation_rate, annealing_share)?,
            annealing_share,
            seed: settings.seed,
            losses: vec![UNSEEN_LOSS; settings.samples],
            plan: Plan::new(settings.samples),
        })
    }

    /// The probability of pruning in an epoch with `below` samples under the mean; `None` in a full epoch.
    fn pruned(&self, progress: Progress, below: usize) -> Option<f64> {
        if let Some(probability) = self.prune_probability {
            let sparse = (1.0 - self.annealing_share) * progress.epochs as f64;
            return ((progress.epoch + 1) as f64 <= sparse).then_some(probability);
        }
        let surplus = self.losses.len() - self.budget.samples(progress, self.losses.len());
        (surplus > 0).then(|| (surplus as f64 / below.max(1) as f64).min(MOST_PRUNED))
    }
}

impl Policy for InfoBatch {
    fn name(&self) -> &'static str {
        "infobatch"
    }

    fn start_epoch(&mut self, progress: Progress) -> Needs {
        let total: f64 = self.losses.iter().map(|&loss| f64::from(loss)).sum();
        let mean = (total / self.losses.len() as f64) as f32;
        let mut draws = Draws::new(self.seed, progress.epoch, 0);
        let mut below: Vec<(u32, u32)> = (0..)
            .zip(&self.losses)
            .filter(|(_, loss)| **loss < mean)
            .map(|(id, _)| (draws.bits(), id))
            .collect();
        self.plan.all();
        if let Some(probability) = self.pruned(progress, below.len()) {
            let keep = 1.0 - probability;
            let kept = (keep * below.len() as f64) as usize;
            if kept < below.len() {
                below.select_nth_unstable(kept);
            }
            let weight = (1.0 / keep) as f32;
            for (index, &(_, id)) in below.iter().enumerate() {
                self.plan.add(id as usize, if index < kept { weight } else { 0.0 }, false);
            }
        }
        Needs::Remembered
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        self.plan.select(candidates, selected);
    }

    /// A loss that is no finite number is not remembered.
    fn observe(&mut self, ids: &[usize], observations: &[Observation]) {
        for (&id, observation) in ids.iter().zip(observations) {
            if observation.loss.is_finite() {
                self.losses[id] = observation.loss;
            }
        }
    }

    fn save(&self, snapshot: &mut Snapshot) {
        self.plan.save(snapshot);
        snapshot.put_array("losses", self.losses.iter().copied());
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.plan.restore(snapshot)?;
        self.losses = snapshot.array("losses", self.losses.len())?.to_vec();
        Ok(())
    }
}
