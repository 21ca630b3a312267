//! The guide in CONTRIBUTING.md, "A selection policy", followed from outside of the crate: a policy, driven by the
//! selector as any other.

use greentune_ast_sparsity::{
    Needs, Observation, Policy, Progress, Selected, SelectionError, Selector, Snapshot,
};

use super::train_epoch;

const SAMPLES: usize = 60;
const GROUPS: usize = 4;

/// Samples in `GROUPS` groups by their ids; an epoch trains on one of them, in turn.
#[derive(Default)]
struct Rotation {
    group: usize,
}

impl Policy for Rotation {
    fn name(&self) -> &'static str {
        "rotation"
    }

    fn start_epoch(&mut self, progress: Progress) -> Needs {
        self.group = progress.epoch % GROUPS;
        Needs::Nothing
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        let of_group = candidates.iter().filter(|id| **id % GROUPS == self.group);
        selected.extend(of_group.map(|&id| Selected { id, weight: 1.0, forced: false }));
    }

    fn observe(&mut self, _: &[usize], _: &[Observation]) {}

    fn save(&self, snapshot: &mut Snapshot) {
        snapshot.put("group", self.group as f64);
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.group = snapshot.number("group")? as usize;
        Ok(())
    }
}

fn rotation() -> Selector {
    Selector::of(Box::new(Rotation::default()), SAMPLES)
}

#[test]
fn each_sample_is_trained_on_once_in_as_many_epochs_as_there_are_groups() {
    let mut selector = rotation();
    let mut times = [0; SAMPLES];
    for epoch in 0..GROUPS {
        let selected = train_epoch(&mut selector, SAMPLES, Progress { epoch, epochs: GROUPS }, 7);
        assert_eq!(selected.len(), SAMPLES / GROUPS);
        for sample in &selected {
            times[sample.id] += 1;
        }
    }
    assert_eq!(times, [1; SAMPLES]);
    let accounting = selector.accounting();
    assert_eq!(
        (accounting.candidates, accounting.selected, accounting.scored),
        ((SAMPLES * GROUPS) as u64, SAMPLES as u64, 0)
    );
}

#[test]
fn it_goes_on_from_a_snapshot_in_the_middle_of_an_epoch() {
    let progress = Progress { epoch: 2, epochs: 8 };
    let candidates: Vec<usize> = (0..SAMPLES).collect();
    let mut first = rotation();
    first.start_epoch(progress).unwrap();
    let text = serde_json::to_string(&first.snapshot()).unwrap();
    let mut second = rotation();
    second.restore(&serde_json::from_str(&text).unwrap()).unwrap();
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    first.select(&candidates, &[], &mut of_first).unwrap();
    second.select(&candidates, &[], &mut of_second).unwrap();
    assert_eq!(of_first, of_second);
    assert!(!of_second.is_empty());
}

#[test]
fn snapshots_of_another_policy_or_without_its_state_are_refused() {
    let full = super::settings("full", SAMPLES, 0.5);
    let other = Selector::new(&full).unwrap().snapshot();
    assert_eq!(rotation().restore(&other).unwrap_err().code(), "selection.snapshot");
    let mut empty = rotation().snapshot();
    empty.numbers.remove("group");
    assert_eq!(rotation().restore(&empty).unwrap_err().code(), "selection.snapshot");
}
