//! The worker's side alone: its lock, its events, its end.

use std::fs;

use greentune_core_config::{Problem, ProblemKind, event::EventKind, manifest::RunStatus, port::RunReporter};
use greentune_workbench::worker::{Outcome, WorkerSession};

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
