//! The rule of adaptive-sparse-training 1.0.1, against what the package itself selected (`make_sundew.py`).

use greentune_ast_sparsity::{Observation, Progress, Selector};
use serde::Deserialize;

#[derive(Deserialize)]
struct Run {
    target_activation_rate: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    loss: Vec<f32>,
    entropy: Vec<f32>,
    selected: Vec<usize>,
    threshold: f64,
}

#[test]
fn selects_what_the_package_selects_to_the_last_bit_of_the_threshold() {
    let runs: Vec<Run> = serde_json::from_str(include_str!("sundew.json")).unwrap();
    assert_eq!(runs.len(), 6);
    for run in runs {
        let size = run.steps[0].loss.len();
        let mut selector =
            Selector::new(&super::settings("sundew", size, run.target_activation_rate)).unwrap();
        selector.start_epoch(Progress { epoch: 0, epochs: 1 }).unwrap();
        let candidates: Vec<usize> = (0..size).collect();
        for (index, step) in run.steps.iter().enumerate() {
            let fresh: Vec<Observation> = step
                .loss
                .iter()
                .zip(&step.entropy)
                .map(|(&loss, &entropy)| Observation { loss, entropy })
                .collect();
            let mut selected = Vec::new();
            selector.select(&candidates, &fresh, &mut selected).unwrap();
            let ids: Vec<usize> = selected.iter().map(|sample| sample.id).collect();
            assert_eq!(ids, step.selected, "step {index} of size {size}");
            assert_eq!(selector.accounting().threshold, Some(step.threshold), "step {index} of size {size}");
        }
    }
}
