use super::{Needs, Policy, Progress, Selected};
use crate::{Observation, SelectionError, Snapshot};

/// Everything, with weight 1: dense training.
#[derive(Clone, Copy, Debug)]
pub struct Full;

impl Policy for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn start_epoch(&mut self, _: Progress) -> Needs {
        Needs::Nothing
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        selected.extend(candidates.iter().map(|&id| Selected { id, weight: 1.0, forced: false }));
    }

    fn observe(&mut self, _: &[usize], _: &[Observation]) {}

    fn save(&self, _: &mut Snapshot) {}

    fn restore(&mut self, _: &Snapshot) -> Result<(), SelectionError> {
        Ok(())
    }
}
