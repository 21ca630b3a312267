//! Sample selection as runs of both kinds set it up and save it.

use std::path::Path;

use greentune_ast_sparsity::{Accounting, SelectionError, Selector, Settings as SelectionSettings, Snapshot};
use greentune_core_config::{
    selection::SelectionSoFar,
    settings::{AstPolicy, AstUnit, Settings},
};

use crate::{error::TrainError, model};

const ARRAYS: &str = "selection.safetensors";

/// What selects among `samples` samples; everything without adaptive sparse training.
pub(crate) fn selector(settings: &Settings, samples: usize) -> Result<Selector, SelectionError> {
    let (ast, seed) = (&settings.ast, settings.training.seed);
    let policy = if ast.enabled { ast.policy } else { AstPolicy::Full };
    Selector::new(&SelectionSettings {
        policy: policy.to_string(),
        target_activation_rate: ast.target_activation_rate,
        entropy_weight: ast.entropy_weight,
        seed,
        max_age: ast.max_score_age as usize,
        annealing_share: ast.annealing_share,
        prune_probability: None,
        ..SelectionSettings::new(samples)
    })
}

/// What was counted from `before` until `now`.
pub(crate) fn since(before: Accounting, now: Accounting) -> SelectionSoFar {
    SelectionSoFar {
        unit: AstUnit::Sample,
        candidates: now.candidates - before.candidates,
        selected: now.selected - before.selected,
        scored: now.scored - before.scored,
        forced: now.forced - before.forced,
        threshold: now.threshold,
    }
}

/// Writes the arrays of a selector's state beside a checkpoint's other tensors; the rest of it.
pub(crate) fn write(partial: &Path, selector: &Selector) -> Result<Snapshot, TrainError> {
    let mut snapshot = selector.snapshot();
    let arrays = std::mem::take(&mut snapshot.arrays);
    let shapes: Vec<[usize; 1]> = arrays.values().map(|values| [values.len()]).collect();
    let tensors = arrays.iter().zip(&shapes);
    model::weights::write_safetensors(
        &partial.join(ARRAYS),
        tensors.map(|((name, values), shape)| (name.clone(), shape.as_slice(), values.as_slice())),
    )?;
    Ok(snapshot)
}

/// Completes what [`write`] returned by what it wrote.
pub(crate) fn read(folder: &Path, snapshot: &mut Snapshot) -> Result<(), TrainError> {
    let arrays = model::weights::WeightFile::open(&folder.join(ARRAYS))?;
    for name in arrays.names() {
        let values = arrays.values(&name)?;
        snapshot.arrays.insert(name, values);
    }
    Ok(())
}
