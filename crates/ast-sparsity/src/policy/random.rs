use super::{Needs, Policy, Progress, Selected};
use crate::budget::Budget;
use crate::draws::Draws;
use crate::plan::Plan;
use crate::{Observation, SelectionError, Settings, Snapshot};

/// A fresh uniform subset each epoch, with weight 1: the control that any selection must beat.
///
/// Without replacement across epochs, as RS2 (Okanovic et al., *Repeated Random Sampling for Minimizing the
/// Time-to-Accuracy of Learning*, ICLR 2024, arXiv:2305.18424): those that were taken least often come first, in
/// random order, so that no sample comes twice more than another and none twice in an epoch. The rate is the same in
/// each epoch, and that of all epochs is the target to within one sample.
#[derive(Clone, Debug)]
pub struct Random {
    budget: Budget,
    seed: u64,
    /// How often each sample was taken.
    taken: Vec<u32>,
    plan: Plan,
}

impl Random {
    /// Takes `target_activation_rate`, `seed` and `samples` of the settings.
    pub fn new(settings: &Settings) -> Result<Self, SelectionError> {
        settings.check()?;
        Ok(Self {
            budget: Budget::new(settings.target_activation_rate, 0.0)?,
            seed: settings.seed,
            taken: vec![0; settings.samples],
            plan: Plan::new(settings.samples),
        })
    }
}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn start_epoch(&mut self, progress: Progress) -> Needs {
        let mut draws = Draws::new(self.seed, progress.epoch, 0);
        let mut order: Vec<(u32, u32, u32)> =
            (0..).zip(&self.taken).map(|(id, &taken)| (taken, draws.bits(), id)).collect();
        let count = self.budget.samples(progress, order.len());
        if count < order.len() {
            order.select_nth_unstable(count);
        }
        self.plan.clear();
        for &(_, _, id) in &order[..count] {
            self.taken[id as usize] += 1;
            self.plan.add(id as usize, 1.0, false);
        }
        Needs::Nothing
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        self.plan.select(candidates, selected);
    }

    fn observe(&mut self, _: &[usize], _: &[Observation]) {}

    fn save(&self, snapshot: &mut Snapshot) {
        self.plan.save(snapshot);
        snapshot.put_array("taken", self.taken.iter().map(|&taken| taken as f32));
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.plan.restore(snapshot)?;
        let taken = snapshot.array("taken", self.taken.len())?;
        self.taken.iter_mut().zip(taken).for_each(|(own, &value)| *own = value as u32);
        Ok(())
    }
}
