//! Fine-tuning on selected records.

use std::fs;

use greentune_core_config::{
    event::{EventKind, StepMetrics},
    selection::SelectionSoFar,
    settings::{AstPolicy, AstUnit},
};
use greentune_trainer_burn::Outcome;

use crate::run::Fixture;

fn sparse(policy: AstPolicy) -> Fixture {
    let mut fixture = Fixture::new();
    let settings = &mut fixture.manifest.settings;
    (settings.ast.enabled, settings.ast.policy) = (true, policy);
    for (iterations, batch_size) in [
        (&mut settings.training.stage1.iterations, &mut settings.training.stage1.batch_size),
        (&mut settings.training.stage2.iterations, &mut settings.training.stage2.batch_size),
    ] {
        (*iterations, *batch_size) = (40, 4);
    }
    fixture
}

fn steps(events: &[EventKind], of: u8) -> Vec<&StepMetrics> {
    let all =
        events.iter().filter_map(|event| if let EventKind::Step(step) = event { Some(step) } else { None });
    all.filter(|step| step.stage == of).collect()
}

fn selection(step: &StepMetrics) -> &SelectionSoFar {
    step.samples.as_ref().unwrap().selection.as_ref().unwrap()
}

fn warnings(events: &[EventKind]) -> Vec<&str> {
    events
        .iter()
        .filter_map(
            |event| if let EventKind::Warning { code, .. } = event { Some(code.as_str()) } else { None },
        )
        .collect()
}

#[test]
fn selected_records_take_their_share_of_the_steps_along_the_same_schedule() {
    let dense = {
        let mut fixture = sparse(AstPolicy::Ast);
        fixture.manifest.settings.ast.enabled = false;
        fixture.train(None).1
    };
    let fixture = sparse(AstPolicy::Ast);
    let (outcome, events) = fixture.train(None);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert!(!warnings(&events).contains(&"selection.one_pass"));
    for stage in [1, 2] {
        let (dense, sparse) = (steps(&dense, stage), steps(&events, stage));
        assert_eq!(dense.len(), 40);
        assert!((15..=18).contains(&sparse.len()), "stage {stage}: {} steps", sparse.len());
        let (first, last) = (sparse[0], sparse[sparse.len() - 1]);
        assert!(first.total_steps.abs_diff(last.step) <= 1 && last.total_steps == last.step);
        assert!((selection(last).activation_rate() - 0.4).abs() < 0.03, "{:?}", selection(last));
        assert_eq!(selection(last).scored, 0);
        // The rate of each step is that of the dense step which would have met the same records.
        for step in sparse {
            assert!(dense.iter().any(|dense| (dense.learning_rate - step.learning_rate).abs() < 1e-12));
        }
        assert!(last.learning_rate < dense[33].learning_rate, "the schedule ends");
    }
    let tokens = |events: &[EventKind]| steps(events, 1).iter().map(|step| step.tokens).sum::<u64>();
    assert!(tokens(&events) * 2 < tokens(&dense));
}

#[test]
fn fresh_scores_cost_a_forward_pass_that_is_counted() {
    let (outcome, events) = sparse(AstPolicy::Quantile).train(None);
    outcome.unwrap();
    let stage = steps(&events, 1);
    let selection = selection(stage[stage.len() - 1]);
    assert_eq!((selection.candidates, selection.scored), (320, 320));
    assert!((selection.activation_rate() - 0.4).abs() < 0.03, "{selection:?}");
    assert!(selection.threshold.is_some());
}

#[test]
fn a_sparse_run_that_is_stopped_and_resumed_ends_bit_identical() {
    for (policy, unit) in [
        (AstPolicy::Ast, AstUnit::Sample),
        (AstPolicy::Quantile, AstUnit::Sample),
        (AstPolicy::Ast, AstUnit::Token),
    ] {
        let sparse = |policy| {
            let mut fixture = sparse(policy);
            fixture.manifest.settings.ast.unit = unit;
            fixture
        };
        let adapters = |fixture: &Fixture| {
            [1, 2].map(|stage| {
                fs::read(fixture.layout.adapters(stage).join("adapter_model.safetensors")).unwrap()
            })
        };
        let undisturbed = sparse(policy);
        undisturbed.train(None).0.unwrap();
        let stopped = sparse(policy);
        let mut cancels = 0;
        while stopped.train(Some(4)).0.unwrap() != Outcome::Finished {
            cancels += 1;
        }
        assert!(cancels >= 6, "only {cancels} cancels");
        assert_eq!(adapters(&undisturbed), adapters(&stopped), "{policy} of {unit}");
    }
}

#[test]
fn a_policy_that_remembers_is_told_of_in_a_single_pass() {
    let mut fixture = sparse(AstPolicy::Ast);
    fixture.manifest.settings.training.stage1.iterations = 4;
    let (_, events) = fixture.train(Some(1));
    assert!(warnings(&events).contains(&"selection.one_pass"));
}

#[test]
fn a_checkpoint_of_another_policy_is_refused() {
    let mut fixture = sparse(AstPolicy::Ast);
    fixture.train(Some(4)).0.unwrap();
    fixture.manifest.settings.ast.policy = AstPolicy::Random;
    let error = fixture.train(None).0.unwrap_err();
    assert!(error.to_string().contains("ast over"), "{error}");
}

#[test]
fn of_selected_tokens_every_record_is_read_and_a_part_is_learnt() {
    let mut fixture = sparse(AstPolicy::Quantile);
    fixture.manifest.settings.ast.unit = AstUnit::Token;
    let (outcome, events) = fixture.train(None);
    outcome.unwrap();
    let stage = steps(&events, 1);
    // A record without a selected token is passed over.
    assert!((33..=40).contains(&stage.len()), "{}", stage.len());
    let selection = selection(stage[stage.len() - 1]);
    assert_eq!(selection.unit, AstUnit::Token);
    assert_eq!(selection.candidates, selection.scored);
    assert!(selection.candidates > 3 * 320, "tokens are counted, not records: {selection:?}");
    assert!((selection.activation_rate() - 0.4).abs() < 0.03, "{selection:?}");
}
