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

#[cfg(test)]
mod tests {
    use greentune_ast_sparsity::{Needs, POLICIES, Progress};
    use greentune_core_config::resolve::{Argument, Layers, resolve};

    use super::*;

    /// Settings with these, as `--set` takes them; none when they are refused.
    fn settings(assignments: &[&str]) -> Option<Settings> {
        let arguments = assignments.iter().map(|assignment| Argument::set(assignment).unwrap()).collect();
        resolve(&Layers { arguments, ..Layers::default() }).ok().map(|resolved| resolved.settings)
    }

    #[test]
    fn settings_and_engine_have_the_same_policies() {
        let (mut named, mut known) = (AstPolicy::WORDS.to_vec(), POLICIES.to_vec());
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn what_settings_say_of_a_policy_is_what_the_engine_does() {
        for policy in AstPolicy::ALL {
            let settings = settings(&["ast.enabled=true", &format!("ast.policy={policy}")]).unwrap();
            let needs = selector(&settings, 100).unwrap().start_epoch(Progress { epoch: 0, epochs: 8 });
            let expected = match (policy.scores(), policy.remembers()) {
                (true, false) => Needs::Fresh,
                (false, true) => Needs::Remembered,
                _ => Needs::Nothing,
            };
            assert_eq!(needs.unwrap(), expected, "{policy}");
        }
    }

    #[test]
    fn the_engine_takes_all_that_settings_allow() {
        let extremes = [
            ["ast.target_activation_rate=0.000001", "ast.target_activation_rate=1"],
            ["ast.entropy_weight=0", "ast.entropy_weight=1"],
            ["ast.max_score_age=1", "ast.max_score_age=4000000000"],
            ["ast.annealing_share=0", "ast.annealing_share=0.999999"],
        ];
        for policy in AstPolicy::ALL {
            for extreme in extremes.as_flattened() {
                let policy = format!("ast.policy={policy}");
                let settings = settings(&["ast.enabled=true", &policy, extreme]).unwrap();
                assert!(selector(&settings, 100).is_ok(), "{policy} {extreme}");
            }
        }
        for beyond in [
            "target_activation_rate=0",
            "target_activation_rate=1.1",
            "entropy_weight=1.1",
            "max_score_age=0",
        ] {
            assert!(settings(&[&format!("ast.{beyond}")]).is_none(), "{beyond}");
        }
    }
}
