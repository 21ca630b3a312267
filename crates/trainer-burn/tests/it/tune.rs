//! Trials that choose learning rates, and the warnings of stages that were given a wrong one.

use std::{fs, path::Path};

use greentune_carbon::{MeterEnvironment, codecarbon};
use greentune_core_config::{
    event::EventKind,
    task::{WorkerAnswer, WorkerTask},
    tuning::{TuneFindings, TuneTask},
};
use greentune_trainer_burn::answer;

use crate::run::Fixture;

/// Rates of which one teaches nothing, one is right, and one breaks what was learnt.
const RATES: [f64; 3] = [1e-6, 5e-3, 1e6];

fn tuned(fixture: &Fixture, batch_sizes: &[u64]) -> TuneFindings {
    let read_run = |_: &Path| Ok((fixture.manifest.clone(), fixture.layout.clone()));
    let task = TuneTask {
        run_folder: fixture.layout.folder().to_owned(),
        steps: Some(8),
        learning_rates: RATES.to_vec(),
        batch_sizes: batch_sizes.to_vec(),
    };
    match answer(&WorkerTask::Tune(task), &read_run, &MeterEnvironment::default(), &mut |_| ()) {
        WorkerAnswer::Tuned(findings) => *findings,
        other => panic!("{other:?}"),
    }
}

/// A stage of so many steps at `rate`.
fn fixture(iterations: u64, rate: f64) -> Fixture {
    let mut fixture = Fixture::new();
    let training = &mut fixture.manifest.settings.training;
    training.num_stages = 1;
    (training.stage1.iterations, training.stage1.learning_rate) = (iterations, rate);
    fixture
}

#[test]
fn the_rate_that_learns_is_chosen_and_the_same_each_time() {
    let fixture = Fixture::new();
    let findings = tuned(&fixture, &[]);
    assert_eq!(findings.stages.iter().map(|stage| stage.stage).collect::<Vec<_>>(), [1, 2]);
    let first = &findings.stages[0];
    assert!((first.learning_rate - 5e-3).abs() < 1e-12, "{first:?}");
    let of =
        |rate: f64| first.trials.iter().find(|trial| (trial.learning_rate - rate).abs() < 1e-12).unwrap();
    assert!(of(5e-3).validation_loss.unwrap() < first.first_loss);
    assert_eq!(of(5e-3).steps, 8);
    assert!(of(1e6).validation_loss.unwrap() > first.first_loss, "it breaks the model: {first:?}");
    assert!(of(1e-6).steps < 8, "given up: {first:?}");
    // Stage 2 is tried from where stage 1 ended, at its rate and lower ones, on both stages' records.
    let second = &findings.stages[1];
    assert!(
        second.learning_rate <= first.learning_rate && second.first_loss < first.first_loss,
        "{second:?}"
    );
    assert_eq!(tuned(&Fixture::new(), &[]).stages, findings.stages, "deterministic");
}

#[test]
fn trials_are_metered_apart_from_the_stages_and_add_up() {
    let fixture = fixture(8, 5e-3);
    let energy = tuned(&fixture, &[]).emissions.expect("metered").energy_kwh;
    let layout = &fixture.layout;
    let row = |layout: &greentune_core_config::layout::RunLayout| {
        codecarbon::last(&layout.tuning_emissions_csv()).unwrap().unwrap()
    };
    assert_eq!((row(layout).run_id, row(layout).energy_consumed > 0.0), (layout.run_id(), true));
    assert!(row(layout).project_name.ends_with("-tune"));
    assert!(layout.tuning_provenance().is_file() && !layout.emissions_csv(1).exists());
    tuned(&fixture, &[]);
    assert!(row(layout).energy_consumed > energy, "the second tuning is added to the first");
    let left: Vec<_> =
        fs::read_dir(layout.folder()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "stage1"), "{left:?}");
    assert!(!layout.adapters(1).exists() && !layout.checkpoints(1).exists());
}

#[test]
fn another_batch_sees_as_many_records() {
    let findings = tuned(&fixture(8, 5e-3), &[4, 8]);
    let trials = &findings.stages[0].trials;
    let others: Vec<_> = trials.iter().filter(|trial| trial.batch_size != 4).collect();
    assert_eq!(others.len(), 1, "the run's own is no other: {trials:?}");
    assert_eq!((others[0].batch_size, others[0].steps), (8, 4));
}

/// The codes of the warnings about learning.
fn said(fixture: &Fixture) -> Vec<String> {
    let events = fixture.train(None).1;
    let codes = events.iter().filter_map(|event| match event {
        EventKind::Warning { code, message } if code.starts_with("training.") => {
            assert!(
                message.contains("training.stage1.learning_rate") || code == "training.at_chance",
                "{message}"
            );
            Some(code.clone())
        }
        _ => None,
    });
    codes.collect()
}

#[test]
fn a_stage_that_does_not_learn_says_so_and_one_that_does_says_nothing() {
    // The tiny model's weights are random, so that it begins by guessing.
    let mut low = said(&fixture(30, 1e-6));
    low.sort();
    assert_eq!(low, ["training.at_chance", "training.loss_stands"]);
    let learns = said(&fixture(30, 5e-3));
    assert!(learns.iter().all(|code| code == "training.at_chance"), "{learns:?}");
    assert_eq!(said(&fixture(19, 1e-6)), Vec::<String>::new(), "too short to be judged");
}
