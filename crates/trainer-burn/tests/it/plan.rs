//! What is planned of a run, beside what the run then does.

use std::{collections::BTreeMap, fs, path::Path};

use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    Diagnostic,
    event::EventKind,
    memory::estimate,
    settings::AstPolicy,
    task::{PlanFindings, PlanTask, WorkerAnswer, WorkerTask},
};
use greentune_trainer_burn::{TrainError, answer};

use crate::run::Fixture;

fn findings(fixture: &Fixture, measure: bool) -> PlanFindings {
    let run_folder = fixture.layout.folder().to_owned();
    let read_run = |_: &Path| Ok((fixture.manifest.clone(), fixture.layout.clone()));
    match answer(
        &WorkerTask::Plan(PlanTask { run_folder, measure }),
        &read_run,
        &MeterEnvironment::default(),
        &mut |_| (),
    ) {
        WorkerAnswer::Planned(findings) => *findings,
        other => panic!("{other:?}"),
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_tokens_of_a_run_are_those_that_were_planned() {
    let fixture = Fixture::new();
    let planned = findings(&fixture, false);
    assert!(planned.measured.is_none() && planned.on_cpu);
    let (outcome, events) = fixture.train(None);
    outcome.unwrap();
    let mut tokens = BTreeMap::new();
    for event in &events {
        if let EventKind::Step(step) = event {
            *tokens.entry(step.stage).or_insert(0) += step.tokens;
        }
    }
    let as_planned = planned.stages.iter().map(|stage| (stage.stage, stage.tokens)).collect();
    assert_eq!(tokens, as_planned);
    let reports = events.iter().filter_map(|event| match event {
        EventKind::ModelsEvaluated { reports, .. } => Some(reports),
        _ => None,
    });
    let generated: Vec<u64> =
        reports.map(|reports| reports.iter().map(|report| report.generated_records).sum()).collect();
    let as_planned: Vec<_> = planned.stages.iter().map(|stage| stage.generated_records).collect();
    assert_eq!(generated, as_planned);
}

#[test]
fn a_plan_measures_paces_and_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let planned = findings(&fixture, true);
    let measured = planned.measured.unwrap();
    let stages: Vec<_> = measured.step_tokens_per_second.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [1, 2]);
    assert!(measured.step_tokens_per_second.iter().flat_map(|(_, paces)| paces).all(|pace| *pace > 0.0));
    assert!(measured.evaluation_tokens_per_second > 0.0);
    assert!(measured.power_w.unwrap() > 0.0 && !measured.power_basis.is_empty());
    assert!(files(fixture.layout.folder()).is_empty());
    assert!(files(&fixture.layout.project().emissions()).is_empty());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_reported() {
    let mut fixture = Fixture::new();
    fixture.manifest.settings.training.stage1.batch_size = 2_000_000;
    fixture.manifest.settings.training.stage1.iterations = 1;
    let planned = findings(&fixture, true);
    assert!(planned.measured.is_none(), "it cannot be tried");
    assert!(estimate(&planned.shape, &planned.memory).peak_bytes() > 1 << 38);
    let (outcome, events) = fixture.train(None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::Memory(_)), "{error}");
    assert_eq!(error.problem().code, "memory.insufficient");
    assert!(events.is_empty());
}

#[test]
fn a_plan_of_selected_records_is_close_and_counts_the_longest_batch() {
    for (policy, warmup_epochs) in [(AstPolicy::Ast, None), (AstPolicy::Quantile, Some(2))] {
        let mut fixture = Fixture::new();
        let settings = &mut fixture.manifest.settings;
        settings.training.stage1.iterations = 40;
        let dense = findings(&fixture, false).stages[0];
        let settings = &mut fixture.manifest.settings;
        (settings.ast.enabled, settings.ast.policy, settings.ast.warmup_epochs) =
            (true, policy, warmup_epochs);
        let planned = findings(&fixture, false).stages[0];
        let (outcome, events) = fixture.train(None);
        outcome.unwrap();
        let of_stage = |event: &EventKind| match event {
            EventKind::Step(step) if step.stage == 1 => step.tokens,
            _ => 0,
        };
        let trained: u64 = events.iter().map(of_stage).sum();
        let ratio = planned.tokens as f64 / trained as f64;
        assert!((ratio - 1.0).abs() < 0.1, "{policy}: planned {}, trained {trained}", planned.tokens);
        assert!(planned.tokens < dense.tokens && planned.largest_batch_tokens >= dense.largest_batch_tokens);
        let scored = planned.evaluation_tokens as f64 / dense.evaluation_tokens as f64;
        assert!(if policy.scores() { scored > 1.5 } else { scored < 1.0 }, "{policy}: {scored}");
    }
}
