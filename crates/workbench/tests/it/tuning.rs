//! Tuning: what it writes into the manifest, and what it refuses.

use greentune_workbench::operation::{ShowRun, TuneTraining};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, problem};

fn request(run_id: String) -> TuneTraining {
    TuneTraining { run_id, ..TuneTraining::default() }
}

#[tokio::test]
async fn what_was_chosen_is_the_runs_and_says_where_it_came_from() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured_with(json!({ "training.stage2.iterations": 6 })).await;
    let response = sandbox.workbench.tune_training(request(run.run_id())).await.unwrap();
    let keys: Vec<_> = response.changes.iter().map(|change| change.key.as_str()).collect();
    let stage2 = ["learning_rate", "batch_size", "iterations"].map(|name| format!("training.stage2.{name}"));
    let expected: Vec<_> =
        [String::from("training.stage1.learning_rate")].into_iter().chain(stage2).collect();
    assert_eq!(keys, expected);
    assert_eq!(response.emissions_file, Some(run.tuning_emissions_csv()));

    let kept = manifest(&run);
    let training = &kept.settings.training;
    assert_eq!((training.stage1.learning_rate, training.stage1.batch_size), (3e-4, 4));
    // Twice the records per step, half of the steps.
    let second = &training.stage2;
    assert_eq!((second.learning_rate, second.batch_size, second.iterations), (1e-4, 8, 3));
    assert_eq!(kept.stages[1].total_steps, 3);
    for key in &expected {
        assert_eq!(kept.sources[key], "tune", "{key}");
    }
    let tuning = kept.tuning.clone().unwrap();
    assert_eq!((tuning.stages.len(), &tuning.changes), (2, &response.changes));
    assert_eq!(tuning.changes[3].source_before, "run override");

    // It trains with what was chosen, and keeps what it was told.
    sandbox.start(&run, true).await.unwrap();
    let shown =
        sandbox.workbench.show_run(ShowRun { run_id: run.run_id(), project_path: None }).await.unwrap();
    assert_eq!(shown.manifest.stages[1].steps_done, 3);
    assert_eq!(shown.manifest.tuning, kept.tuning);
}

#[tokio::test]
async fn a_run_that_was_started_is_not_tuned() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, true).await.unwrap();
    let refused = problem(sandbox.workbench.tune_training(request(run.run_id())).await.unwrap_err());
    assert_eq!((refused.code.as_str(), refused.message.contains("completed")), ("run.started", true));
    assert!(refused.hint.unwrap().contains("configure a new run"));
    assert_eq!(manifest(&run).tuning, None);
}

#[tokio::test]
async fn a_run_whose_trials_fail_stays_as_it_was() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let before = manifest(&run);
    let failing = sandbox.with_mode("fails");
    let refused = problem(failing.tune_training(request(run.run_id())).await.unwrap_err());
    assert_eq!(refused.code, "data.empty");
    assert_eq!(manifest(&run), before);
    sandbox.start(&run, true).await.unwrap();
}
