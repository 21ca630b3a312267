//! Starting, following, cancelling, resuming, and what is left when a worker dies.

use std::fs;

use greentune_core_config::{
    ProblemKind, Suggestion, event::EventKind, manifest::RunStatus, platform::PlatformKind,
};
use greentune_workbench::operation::{
    AstConfig, CancelTraining, MonitorTrainingProgress, ResumeTraining, ShowRun, StartTraining,
};

use crate::sandbox::{STEPS, Sandbox, kinds, manifest, problem, start};

#[tokio::test]
async fn a_run_is_trained_to_its_end() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let started = sandbox.start(&run, false).await.unwrap();
    assert!(started.training_started && !started.resumed);
    assert_eq!(started.log_file, run.log());

    let (events, status) = sandbox.follow(&run).await;
    assert_eq!(status, RunStatus::Completed);
    let stage = ["stage_started", "step", "stage_finished"];
    assert_eq!(kinds(&events), [&["started"][..], &stage, &stage, &["finished"]].concat());
    let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());

    let manifest = manifest(&run);
    assert_eq!((manifest.status, manifest.pid), (RunStatus::Completed, None));
    assert!(
        manifest.stages.iter().all(|stage| stage.steps_done == STEPS && stage.final_train_loss == Some(0.5))
    );
    assert!(manifest.artifacts.contains_key("stage2_adapters"), "{:?}", manifest.artifacts);

    let again = problem(sandbox.start(&run, false).await.unwrap_err());
    assert_eq!((again.kind, again.code.as_str()), (ProblemKind::Conflict, "run.completed"));
}

#[tokio::test]
async fn progress_is_read_from_the_files() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    let monitor = async || {
        let request = MonitorTrainingProgress { run_id: run.run_id(), ..MonitorTrainingProgress::default() };
        sandbox.workbench.monitor_training_progress(request).await.unwrap()
    };
    let before = monitor().await;
    assert_eq!(
        (before.status, before.current_stage, before.total_iterations),
        (RunStatus::NotStarted, 1, STEPS)
    );
    let start = Suggestion::new("start it", "start_training").with("run_id", run.run_id());
    assert_eq!(before.suggestions, [start]);

    sandbox.start(&run, false).await.unwrap();
    let during = loop {
        let progress = monitor().await;
        if progress.current_iteration >= 3 {
            break progress;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(during.status, RunStatus::Running);
    assert!(during.progress_percentage > 0.0 && during.progress_percentage < 100.0);
    assert!(during.metrics.train_loss.unwrap() < 1.0);
    assert!(during.remaining_seconds.unwrap() > 0.1 && during.estimated_completion_time.is_some());
    assert_eq!(during.device.as_deref(), Some("fake"));

    sandbox.follow(&run).await;
    let after = monitor().await;
    assert_eq!((after.status, after.current_stage), (RunStatus::Completed, 2));
    assert!((after.progress_percentage - 100.0).abs() < 1e-9);
    assert!(after.remaining_seconds.is_none());
}

#[tokio::test]
async fn a_run_that_is_trained_cannot_be_started_again() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    let (first, second) = tokio::join!(sandbox.start(&run, false), sandbox.start(&run, false));
    let errors: Vec<_> = [first, second].into_iter().filter_map(Result::err).map(problem).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    // On a busy machine the second may come after the first run's end.
    let allowed = ["run.already_running", "run.completed"];
    assert!(allowed.contains(&errors[0].code.as_str()), "{errors:?}");
    assert_eq!(errors[0].kind, ProblemKind::Conflict);
    let (events, status) = sandbox.follow(&run).await;
    assert_eq!(status, RunStatus::Completed);
    assert_eq!(events.iter().filter(|event| event.kind.is_terminal()).count(), 1);
}

#[tokio::test]
async fn a_cancelled_run_goes_on_where_it_stopped() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, false).await.unwrap();
    let cancel = CancelTraining { run_id: run.run_id(), ..CancelTraining::default() };
    let response = sandbox.workbench.cancel_training(cancel).await.unwrap();
    assert_eq!((response.success, response.status), (true, RunStatus::Cancelled));
    assert!(!run.cancel_request().exists());

    let resume =
        ResumeTraining { run_id: run.run_id(), async_mode: Some(false), ..ResumeTraining::default() };
    let resumed = sandbox.with_mode("trains").resume_training(resume).await.unwrap();
    assert_eq!((resumed.resumed, resumed.status), (true, RunStatus::Completed));
    let (events, _) = sandbox.follow(&run).await;
    let steps = events.iter().filter(|event| matches!(event.kind, EventKind::Step(_))).count();
    assert_eq!(steps as u64, 2 * STEPS, "no step was done twice");
    let terminal: Vec<_> =
        kinds(&events).into_iter().filter(|kind| ["cancelled", "finished"].contains(kind)).collect();
    assert_eq!(terminal, ["cancelled", "finished"], "one terminal event per attempt");
}

#[tokio::test]
async fn waiting_for_a_cancelled_run_is_an_error_of_that_kind() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured().await;
    let cancel = async {
        let request = CancelTraining { run_id: run.run_id(), ..CancelTraining::default() };
        while sandbox.workbench.cancel_training(request.clone()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let (started, ()) = tokio::join!(sandbox.start(&run, true), cancel);
    let error = problem(started.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Cancelled, "run.cancelled"));
}

#[tokio::test]
async fn a_worker_that_dies_at_once_is_reported_with_its_last_words() {
    let sandbox = Sandbox::new("dies-at-once").await;
    let run = sandbox.configured().await;
    let error = problem(sandbox.start(&run, false).await.unwrap_err());
    assert_eq!(error.code, "worker.died");
    assert!(error.message.contains("the libraries could not be loaded"), "{}", error.message);
    assert!(error.message.contains('3'), "{}", error.message);
    assert_eq!(error.suggestions[0].operation, "resume_training");
    assert_eq!(error.suggestions[0].arguments["run_id"], run.run_id());
    assert_eq!(status(&sandbox, &run.run_id()).await, RunStatus::Interrupted);
}

#[tokio::test]
async fn a_worker_that_dies_leaves_an_interrupted_run_that_goes_on() {
    let sandbox = Sandbox::new("dies-in-the-middle").await;
    let run = sandbox.configured().await;
    let error = problem(sandbox.start(&run, true).await.unwrap_err());
    assert_eq!(error.code, "worker.died");
    assert_eq!(manifest(&run).status, RunStatus::Running, "nobody was left to write it");
    assert_eq!(status(&sandbox, &run.run_id()).await, RunStatus::Interrupted);

    // The crash tore the last line, too.
    let whole = fs::read(run.events()).unwrap();
    fs::write(run.events(), &whole[..whole.len() - 7]).unwrap();
    let resumed = start(&sandbox.with_mode("trains"), &run, true).await.unwrap();
    assert_eq!((resumed.resumed, resumed.status), (true, RunStatus::Completed));
    let (events, _) = sandbox.follow(&run).await;
    assert_eq!(events.last().unwrap().seq + 1, events.len() as u64);
}

#[tokio::test]
async fn a_failed_run_fails_with_its_problem_and_can_go_on() {
    let sandbox = Sandbox::new("fails").await;
    let run = sandbox.configured().await;
    let error = problem(sandbox.start(&run, true).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::InvalidInput, "data.empty"));
    assert_eq!(manifest(&run).problem.unwrap().code, "data.empty");
    assert_eq!(status(&sandbox, &run.run_id()).await, RunStatus::Failed);
    let resumed = start(&sandbox.with_mode("trains"), &run, true).await.unwrap();
    assert_eq!(resumed.status, RunStatus::Completed);
    assert_eq!(manifest(&run).problem, None);
}

#[tokio::test]
async fn stages_are_trained_in_order() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let stage = async |stage| {
        let request =
            StartTraining { stage: Some(stage), async_mode: Some(false), ..StartTraining::of(run.run_id()) };
        sandbox.workbench.start_training(request).await.map_err(problem)
    };
    assert_eq!(stage(2).await.unwrap_err().code, "run.stage_not_trained");
    assert_eq!(stage(3).await.unwrap_err().code, "request.value");
    stage(1).await.unwrap();
    let record = &manifest(&run).stages;
    assert_eq!((record[0].status, record[1].status), (RunStatus::Completed, RunStatus::NotStarted));
    let second = stage(2).await.unwrap();
    assert!(second.resumed);
    assert_eq!(stage(1).await.unwrap_err().code, "run.completed");
}

#[tokio::test]
async fn what_never_began_cannot_be_resumed_or_cancelled() {
    let sandbox = Sandbox::new("trains").await;
    let run_id = sandbox.configured().await.run_id();
    let resume = ResumeTraining { run_id: run_id.clone(), ..ResumeTraining::default() };
    assert_eq!(problem(sandbox.workbench.resume_training(resume).await.unwrap_err()).code, "run.not_started");
    let cancel = CancelTraining { run_id, ..CancelTraining::default() };
    assert_eq!(problem(sandbox.workbench.cancel_training(cancel).await.unwrap_err()).code, "run.not_started");
}

#[tokio::test]
async fn a_worker_that_does_not_exist_leaves_the_run_as_it_was() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let mut config = sandbox.config("trains");
    config.worker_command = vec!["/nowhere/greentune".into()];
    let error = problem(start(&greentune_workbench::Workbench::new(config), &run, false).await.unwrap_err());
    assert_eq!(error.code, "worker.start");
    assert_eq!(status(&sandbox, &run.run_id()).await, RunStatus::NotStarted);
}

#[tokio::test]
async fn the_pace_of_earlier_runs_estimates_the_next() {
    let sandbox = Sandbox::new("trains").await;
    let first = sandbox.configured().await;
    assert_eq!(sandbox.start(&first, true).await.unwrap().estimated_duration_minutes, None);
    let second = sandbox.configured().await;
    // The fake worker says 1.5 s per stage.
    let minutes = sandbox.start(&second, true).await.unwrap().estimated_duration_minutes.unwrap();
    assert!((minutes - 3.0 / 60.0).abs() < 1e-9, "{minutes}");
}

#[tokio::test]
async fn other_platforms_are_not_available_yet() {
    let sandbox = Sandbox::new("trains").await;
    let run_id = sandbox.configured().await.run_id();
    let request = StartTraining { platform: Some(PlatformKind::Kaggle), ..StartTraining::of(run_id) };
    let error = problem(sandbox.workbench.start_training(request).await.unwrap_err());
    assert_eq!(error.kind, ProblemKind::Unsupported);
}

#[tokio::test]
async fn settings_of_a_new_run_are_refused_beside_a_configured_one_by_name() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let request = StartTraining {
        learning_rate: Some(0.1),
        ast_config: Some(AstConfig::default()),
        baseline: Some(false),
        ..StartTraining::of(run.run_id())
    };
    let error = problem(sandbox.workbench.start_training(request).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::InvalidInput, "request.value"));
    let keys = error.problems.iter().map(|problem| problem.location.clone().unwrap().key.unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), ["ast_config", "baseline", "learning_rate"]);
    assert_eq!(manifest(&run).status, RunStatus::NotStarted);

    let both = StartTraining { dataset: Some("images".into()), ..StartTraining::of(run.run_id()) };
    let error = problem(sandbox.workbench.start_training(both).await.unwrap_err());
    assert!(error.message.contains("either run_id, or dataset and model"), "{}", error.message);
}

async fn status(sandbox: &Sandbox, run_id: &str) -> RunStatus {
    let request = ShowRun { run_id: run_id.to_owned(), project_path: None };
    sandbox.workbench.show_run(request).await.unwrap().manifest.status
}
