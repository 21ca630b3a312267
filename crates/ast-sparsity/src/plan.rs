use crate::{Selected, SelectionError, Snapshot};

/// The selection of an epoch, decided at its start, so that it does not depend on the chunks in which candidates are
/// offered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Weight by sample: 0 is not selected, and a negative sign marks those that were forced.
    weights: Vec<f32>,
}

impl Plan {
    pub(crate) fn new(samples: usize) -> Self {
        Self { weights: vec![0.0; samples] }
    }

    /// Selects every sample with weight 1.
    pub(crate) fn all(&mut self) {
        self.weights.fill(1.0);
    }

    /// Selects none.
    pub(crate) fn clear(&mut self) {
        self.weights.fill(0.0);
    }

    pub(crate) fn add(&mut self, id: usize, weight: f32, forced: bool) {
        self.weights[id] = if forced { -weight } else { weight };
    }

    /// Appends those of `candidates` that are in the plan.
    pub(crate) fn select(&self, candidates: &[usize], selected: &mut Vec<Selected>) {
        selected.extend(candidates.iter().filter_map(|&id| {
            let weight = self.weights[id];
            (weight != 0.0).then(|| Selected { id, weight: weight.abs(), forced: weight < 0.0 })
        }));
    }

    pub(crate) fn save(&self, snapshot: &mut Snapshot) {
        snapshot.put_array("plan", self.weights.iter().copied());
    }

    pub(crate) fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.weights = snapshot.array("plan", self.weights.len())?.to_vec();
        Ok(())
    }
}
