//! The worker's side alone: its lock, its events, its end.

use std::fs;

use greentune_core_config::{
    Problem, ProblemKind,
    event::{EmissionsSoFar, EventKind},
    manifest::RunStatus,
    port::RunReporter,
};
use greentune_workbench::{
    operation::ResumeTraining,
    worker::{Outcome, WorkerSession},
};
use serde_json::json;

use crate::sandbox::{Sandbox, manifest, problem};

#[tokio::test]
async fn two_workers_cannot_train_one_run() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let first = WorkerSession::begin(run.folder()).unwrap();
    let error = problem(WorkerSession::begin(run.folder()).unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Conflict, "run.already_running"));
    assert!(error.message.contains(&std::process::id().to_string()), "{}", error.message);
    drop(first);
    WorkerSession::begin(run.folder()).unwrap();
}

#[tokio::test]
async fn the_heart_beats_and_an_old_wish_to_cancel_is_forgotten() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    fs::write(run.cancel_request(), "").unwrap();
    fs::write(run.folder().join(".writing-abc"), "half of a manifest").unwrap();
    let session = WorkerSession::begin(run.folder()).unwrap();
    assert!(!session.cancel_requested());
    assert!(!run.folder().join(".writing-abc").exists(), "what a killed worker left is swept");
    fs::write(run.cancel_request(), "").unwrap();
    assert!(session.cancel_requested());
    let beat: serde_json::Value = (0..100)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            serde_json::from_slice(&fs::read(run.heartbeat()).ok()?).ok()
        })
        .unwrap();
    assert_eq!(beat["pid"], std::process::id());
    assert_eq!(session.finish(Ok(Outcome::Cancelled { stage: 1, step: 0 })).unwrap(), RunStatus::Cancelled);
}

#[tokio::test]
async fn a_terminal_event_is_written_once() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let mut session = WorkerSession::begin(run.folder()).unwrap();
    session.report(EventKind::Finished { duration_seconds: 1.0 }).unwrap();
    assert_eq!(
        session.report(EventKind::Finished { duration_seconds: 1.0 }).unwrap_err().code,
        "worker.ended"
    );
    let late = Err(Problem::new(ProblemKind::Internal, "late", "late"));
    assert_eq!(session.finish(late).unwrap(), RunStatus::Completed);
    assert_eq!(fs::read_to_string(run.events()).unwrap().lines().count(), 1);
    assert_eq!(manifest(&run).status, RunStatus::Completed);
}

#[tokio::test]
async fn a_damaged_manifest_is_named() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    fs::write(run.manifest(), "{").unwrap();
    let error = problem(WorkerSession::begin(run.folder()).unwrap_err());
    assert_eq!(error.code, "file.damaged");
    assert_eq!(error.location.unwrap().file.unwrap(), run.manifest());
}

/// The stage so far, of ten minutes.
fn emitted(stage: u8, kg: f64, kwh: f64) -> EventKind {
    EventKind::Emissions(EmissionsSoFar {
        stage,
        duration_seconds: 600.0,
        energy_kwh: kwh,
        emissions_kg_co2: kg,
        power_w: 100.0,
        power: None,
        basis: String::from("modelled"),
    })
}

#[tokio::test]
async fn a_budget_stops_a_run_until_it_is_raised() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured_with(json!({ "carbon": { "budget_kwh": 0.5 } })).await;
    let mut session = WorkerSession::begin(run.folder()).unwrap();
    session.report(emitted(1, 0.1, 0.3)).unwrap();
    assert!(!session.cancel_requested());
    session.report(emitted(2, 0.1, 0.25)).unwrap();
    assert!(session.cancel_requested(), "0.3 + 0.25 kWh of both stages");
    session.report(emitted(2, 0.1, 0.26)).unwrap();
    session.finish(Ok(Outcome::Cancelled { stage: 2, step: 7 })).unwrap();
    let events = fs::read_to_string(run.events()).unwrap();
    assert_eq!(events.matches("carbon.budget_spent").count(), 1, "{events}");
    assert!(events.contains(r#""reason":"the run has used 0.56"#), "{events}");
    let resume = |budget_kwh| ResumeTraining {
        project_path: Some(run.project().root().to_owned()),
        run_id: run.run_id(),
        budget_kwh,
        ..ResumeTraining::default()
    };
    let workbench = &sandbox.workbench;
    let refused = problem(workbench.resume_training(resume(None)).await.unwrap_err());
    assert_eq!((refused.kind, refused.code.as_str()), (ProblemKind::Conflict, "carbon.budget_spent"));
    let refused = problem(workbench.resume_training(resume(Some(f64::NAN))).await.unwrap_err());
    assert_eq!(refused.code, "request.value");
    workbench.resume_training(resume(Some(2.0))).await.unwrap();
    assert!((manifest(&run).settings.carbon.budget_kwh.unwrap() - 2.0).abs() < 1e-12);
}

#[tokio::test]
async fn high_emissions_are_warned_of_once() {
    let sandbox = Sandbox::new("trains").await;
    let alerts = json!({ "high_emissions_kg": 1.0, "high_emissions_per_hour_kg": 3.0 });
    let run = sandbox.configured_with(json!({ "carbon": { "alerts": alerts } })).await;
    let warnings = || fs::read_to_string(run.events()).unwrap().matches(r#""kind":"warning""#).count();
    let mut session = WorkerSession::begin(run.folder()).unwrap();
    session.report(emitted(1, 0.4, 1.0)).unwrap();
    assert_eq!(warnings(), 0, "0.4 kg, 2.4 kg an hour");
    session.report(emitted(1, 0.6, 1.0)).unwrap();
    assert_eq!(warnings(), 1, "3.6 kg an hour");
    session.report(emitted(1, 1.2, 1.0)).unwrap();
    assert_eq!(warnings(), 2, "1.2 kg");
    drop(session);
    let mut again = WorkerSession::begin(run.folder()).unwrap();
    again.report(emitted(1, 1.3, 1.0)).unwrap();
    assert_eq!(warnings(), 2, "said before");
    assert!(!again.cancel_requested(), "an alert stops nothing");
}
