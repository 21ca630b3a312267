//! The one writer of a run's folder.

use std::fs;

use greentune_core_config::{Diagnostic as _, event::EventKind, manifest::RunStatus};
use greentune_run_folder::{MemoryBeat, RunWriter, last_memory, lock, manifest, request_cancel};

use crate::folder::{Folder, started, whole_run};

#[test]
fn nobody_else_writes_while_somebody_does() {
    let folder = Folder::new();
    let writer = folder.writer();
    let problem = RunWriter::begin(folder.run.folder(), MemoryBeat::default).unwrap_err().problem();
    assert_eq!(problem.code, "run.already_running");
    assert!(problem.message.contains(&std::process::id().to_string()), "{problem}");
    assert!(lock::is_taken(&folder.run).unwrap());
    drop(writer);
    assert!(!lock::is_taken(&folder.run).unwrap());
}

#[test]
fn the_manifest_says_which_event_it_has_seen_last() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    for event in whole_run() {
        writer.append(event).unwrap();
    }
    assert!(writer.append(started()).is_err(), "nothing may follow the terminal event");
    writer.finish(None).unwrap();
    let written = manifest::read(&folder.run).unwrap();
    assert_eq!((written.status, written.pid), (RunStatus::Completed, None));
    assert_eq!(written.last_seq, Some(whole_run().len() as u64 - 1));
}

#[test]
fn what_a_killed_worker_left_is_swept_and_old_requests_are_forgotten() {
    let folder = Folder::new();
    request_cancel(&folder.run).unwrap();
    fs::write(folder.run.folder().join(".writing-abc"), "half of a manifest").unwrap();
    let writer =
        RunWriter::begin(folder.run.folder(), || MemoryBeat { kills: Some(3), ..MemoryBeat::default() });
    let (writer, events) = writer.unwrap();
    assert!(events.is_empty() && !folder.run.cancel_request().exists());
    assert!(!folder.run.folder().join(".writing-abc").exists());
    writer.finish(None).unwrap();
    assert_eq!(last_memory(&folder.run).unwrap().kills, Some(3));
}

#[test]
fn a_number_that_is_not_finite_ends_no_log() {
    let folder = Folder::new();
    let mut writer = folder.writer();
    let diverged = EventKind::Evaluated {
        stage: 1,
        step: 5,
        validation_loss: 800.0,
        perplexity: f64::INFINITY,
        token_accuracy: 0.5,
    };
    let problem = writer.append(diverged).unwrap_err().problem();
    assert_eq!(problem.code, "run.not_finite");
    let status = writer.finish(Some(problem)).unwrap();
    assert_eq!(status, RunStatus::Failed);
    assert_eq!(manifest::read(&folder.run).unwrap().problem.unwrap().code, "run.not_finite");
}
