//! Runs are found by id from anywhere, and the index is never more than an index.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use greentune_core_config::{
    ProblemKind,
    layout::RunLayout,
    port::{TransferProgress, TransferReporter},
};
use greentune_workbench::{
    Observer, Workbench,
    operation::{Diagnose, ListRuns, ShowRun},
};

use crate::sandbox::{Sandbox, manifest, new_project, problem};

#[tokio::test]
async fn an_unknown_run_suggests_the_nearest() {
    let sandbox = Sandbox::new("trains").await;
    let run_id = sandbox.configured().await.run_id();
    for project_path in [None, Some(sandbox.project.root().to_owned())] {
        let request = ShowRun { run_id: "frist".to_owned() + &run_id["first".len()..], project_path };
        let error = problem(sandbox.workbench.show_run(request).await.unwrap_err());
        assert_eq!((error.kind, error.code.as_str()), (ProblemKind::NotFound, "run.unknown"));
        assert!(error.message.contains(&run_id), "{}", error.message);
    }
}

#[tokio::test]
async fn an_id_that_is_a_path_is_refused() {
    let sandbox = Sandbox::new("trains").await;
    for project_path in [None, Some(sandbox.project.root().to_owned())] {
        let request = ShowRun { run_id: "../runs".into(), project_path };
        let error = problem(sandbox.workbench.show_run(request).await.unwrap_err());
        assert_eq!(error.code, "name.invalid");
    }
}

#[tokio::test]
async fn a_run_folder_that_is_a_link_out_of_the_project_is_refused() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let other = new_project(&sandbox.workbench, &sandbox.root(), "other").await;
    std::os::unix::fs::symlink(run.folder(), other.join("runs/linked")).unwrap();
    let request = ShowRun { run_id: "linked".into(), project_path: Some(other) };
    assert_eq!(problem(sandbox.workbench.show_run(request).await.unwrap_err()).code, "path.outside_project");
}

#[tokio::test]
async fn rows_whose_folder_is_gone_are_dropped() {
    let sandbox = Sandbox::new("trains").await;
    let (gone, kept) = (sandbox.configured().await, sandbox.configured().await);
    fs::remove_dir_all(gone.folder()).unwrap();
    let listed = sandbox.workbench.list_runs(ListRuns::all(None)).await.unwrap().runs;
    assert_eq!(listed.iter().map(|run| &run.run_id).collect::<Vec<_>>(), [&kept.run_id()]);
    let request = ShowRun { run_id: gone.run_id(), project_path: None };
    assert_eq!(problem(sandbox.workbench.show_run(request).await.unwrap_err()).code, "run.unknown");
}

#[tokio::test]
async fn a_lost_or_broken_index_is_made_anew_from_the_run_folders() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let home = sandbox.root().join("home");
    let mut config = sandbox.config("trains");
    config.allowed_roots = Some(vec![sandbox.root()]);
    let workbench = Workbench::new(config);
    for damage in [None, Some("not a database, but long enough to be looked at as one ".repeat(40))] {
        for file in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(home.join(file));
        }
        if let Some(damage) = damage {
            fs::write(home.join("state.db"), damage).unwrap();
        }
        let request = ShowRun { run_id: run.run_id(), project_path: None };
        assert_eq!(workbench.show_run(request).await.unwrap().run_directory, run.folder());
    }
}

#[tokio::test]
async fn an_index_whose_making_was_killed_is_made_to_its_end() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let index = sandbox.root().join("home/state.db");
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(index.with_file_name(file));
    }
    // What is there when the process was killed before it noted a run.
    let database = rusqlite::Connection::open(&index).unwrap();
    database
        .execute_batch(
            "CREATE TABLE runs (run_folder TEXT PRIMARY KEY, run_id TEXT NOT NULL, project TEXT NOT NULL, \
             created_at TEXT NOT NULL, platform TEXT NOT NULL);",
        )
        .unwrap();
    drop(database);
    assert_eq!(listed(&sandbox.workbench).await, [run.run_id()]);
}

#[tokio::test]
async fn what_a_killed_configuration_left_is_no_run_and_is_removed() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let left = sandbox.project.runs().join(".configuring-killed/run");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("run-manifest.json"), fs::read(run.manifest()).unwrap()).unwrap();
    assert_eq!(listed(&sandbox.workbench).await, [run.run_id()]);
    let detail = leftovers(&sandbox.workbench).await;
    assert!(detail.contains(".configuring-killed"), "{detail}");
    fs::create_dir_all(&left).unwrap();
    sandbox.configured().await;
    assert!(!left.exists());
    assert!(!sandbox.project.runs().join(".configuring-killed").exists());
}

#[tokio::test]
async fn a_checkpoint_that_a_killed_worker_left_unfinished_is_named_and_removed() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let left = run.checkpoints(2).join(".checkpointing-killed");
    fs::create_dir_all(left.join("new")).unwrap();
    let detail = leftovers(&sandbox.workbench).await;
    assert!(detail.contains("stage2/checkpoints/.checkpointing-killed"), "{detail}");
    assert!(!left.exists() && run.checkpoints(2).is_dir());
}

/// What `doctor` says of leftovers.
async fn leftovers(workbench: &Workbench) -> String {
    let diagnosis = workbench.diagnose(Diagnose::default()).await.unwrap();
    diagnosis.checks.into_iter().find(|check| check.name == "leftovers").unwrap().detail
}

/// Hears what the user is told.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<String>>);

impl TransferReporter for Ear {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Ear {
    fn remark(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

async fn listed(workbench: &Workbench) -> Vec<String> {
    let listed = workbench.list_runs(ListRuns::all(None)).await.unwrap();
    listed.runs.into_iter().map(|run| run.run_id).collect()
}

#[tokio::test]
async fn a_damaged_index_is_moved_aside_and_made_anew_from_the_known_projects_which_is_said_once() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let home = sandbox.root().join("home");
    let whole = fs::read(home.join("state.db")).unwrap();
    let text = b"not a database, but long enough to be looked at as one ".repeat(40);
    let mut torn = whole[..whole.len() / 2].to_vec();
    torn[100..200].fill(0xAA);
    for damage in [text, torn] {
        for file in ["state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(home.join(file));
        }
        fs::write(home.join("state.db"), &damage).unwrap();
        let ear = Arc::<Ear>::default();
        let workbench = Workbench::new(sandbox.config("trains")).reporting(Arc::clone(&ear) as _);
        for _ in 0..2 {
            assert_eq!(listed(&workbench).await, [run.run_id()]);
        }
        let said = std::mem::take(&mut *ear.0.lock().unwrap());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("damaged") && said[0].contains("1 run of the known projects"), "{said:?}");
        let aside = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
            path.to_string_lossy().contains("state.db.damaged-") && fs::read(path).unwrap() == damage
        });
        assert!(aside.is_some(), "what was damaged is kept");
    }
}

#[tokio::test]
async fn what_is_no_index_of_runs_is_refused_and_left_as_it_is() {
    let sandbox = Sandbox::new("trains").await;
    let notes = sandbox.root().join("notes.txt");
    fs::write(&notes, "my only copy\n".repeat(100)).unwrap();
    let database = sandbox.root().join("bank.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("CREATE TABLE runs (day TEXT); INSERT INTO runs VALUES ('monday')").unwrap();
    drop(connection);
    let damaged = sandbox.root().join("damaged.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[100..200].fill(0xAA);
    fs::write(&damaged, bytes).unwrap();
    let folder = sandbox.root().join("folder");
    fs::create_dir(&folder).unwrap();
    for path in [notes, database, damaged, folder] {
        let before = fs::read(&path).ok();
        let mut config = sandbox.config("trains");
        config.state_url = Some(format!("sqlite:{}", path.display()));
        let workbench = Workbench::new(config);
        let error = problem(workbench.list_runs(ListRuns::all(None)).await.unwrap_err());
        assert_eq!(error.code, "store.not_an_index");
        assert!(error.message.contains(&*path.to_string_lossy()), "{}", error.message);
        // Without the index the runs of a project are there all the same.
        let request = ListRuns::all(Some(sandbox.project.root().to_owned()));
        workbench.list_runs(request).await.unwrap();
        assert_eq!(fs::read(&path).ok(), before);
        assert!(!path.with_extension("db-wal").exists() && !path.with_extension("txt-wal").exists());
    }
}

#[tokio::test]
async fn an_index_of_an_earlier_version_is_taken_over() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let home = sandbox.root().join("home");
    let connection = rusqlite::Connection::open(home.join("state.db")).unwrap();
    connection.execute_batch("PRAGMA application_id = 0; DROP TABLE summaries").unwrap();
    drop(connection);
    fs::remove_file(home.join("known-projects.txt")).unwrap();
    assert_eq!(listed(&Workbench::new(sandbox.config("trains"))).await, [run.run_id()]);
    let list = fs::read_to_string(home.join("known-projects.txt")).unwrap();
    assert_eq!(list, format!("{}\n", sandbox.project.root().display()));
}

#[tokio::test]
async fn where_the_index_cannot_be_written_runs_are_listed_from_their_folders() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let ear = Arc::<Ear>::default();
    let mut config = sandbox.config("trains");
    // No file can be made there, whoever asks: permissions do not bind everybody.
    config.state_url = Some(String::from("sqlite:/proc/greentune-state.db"));
    let workbench = Workbench::new(config).reporting(Arc::clone(&ear) as _);
    for _ in 0..2 {
        assert_eq!(listed(&workbench).await, [run.run_id()]);
    }
    let said = ear.0.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("cannot be written"), "{said:?}");
}

#[tokio::test]
async fn an_index_that_may_only_be_read_is_not_needed() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let index = sandbox.root().join("home/state.db");
    fs::set_permissions(&index, fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(listed(&Workbench::new(sandbox.config("trains"))).await, [run.run_id()]);
}

#[tokio::test]
async fn listing_a_project_makes_its_runs_known_again() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    for file in ["state.db", "state.db-wal", "state.db-shm", "known-projects.txt"] {
        let _ = fs::remove_file(sandbox.root().join("home").join(file));
    }
    let everywhere = async || {
        let listed = sandbox.workbench.list_runs(ListRuns::all(None)).await.unwrap().runs;
        listed.into_iter().map(|run| run.run_id).collect::<Vec<_>>()
    };
    assert_eq!(everywhere().await, [""; 0]);
    let request = ListRuns::all(Some(sandbox.project.root().to_owned()));
    sandbox.workbench.list_runs(request).await.unwrap();
    assert_eq!(everywhere().await, [run.run_id()]);
}

#[tokio::test]
async fn the_same_id_in_two_projects_asks_which() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let other = new_project(&sandbox.workbench, &sandbox.root(), "copy").await;
    let copy = RunLayout::at(other.join("runs").join(run.run_id())).unwrap();
    fs::create_dir(copy.folder()).unwrap();
    fs::copy(run.manifest(), copy.manifest()).unwrap();
    // Whoever names the project finds the run, and from then on the index knows it.
    let named = ShowRun { run_id: run.run_id(), project_path: Some(other) };
    sandbox.workbench.show_run(named).await.unwrap();
    let request = ShowRun { run_id: run.run_id(), project_path: None };
    let error = problem(sandbox.workbench.show_run(request).await.unwrap_err());
    assert_eq!((error.kind, error.code.as_str()), (ProblemKind::Conflict, "run.ambiguous"));
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_broken_ones_are_named() {
    let sandbox = Sandbox::new("trains").await;
    let (first, second) = (sandbox.configured().await, sandbox.configured().await);
    assert!(manifest(&first).created_at <= manifest(&second).created_at);
    let list = async || {
        let request = ListRuns::all(Some(sandbox.project.root().to_owned()));
        sandbox.workbench.list_runs(request).await.unwrap()
    };
    let ids: Vec<_> = list().await.runs.into_iter().map(|run| run.run_id).collect();
    assert_eq!(ids, [second.run_id(), first.run_id()]);
    fs::write(first.manifest(), "broken").unwrap();
    let listed = list().await;
    assert_eq!((listed.runs.len(), listed.unreadable.len()), (1, 1));
    assert!(listed.unreadable[0].contains("run-manifest.json"), "{:?}", listed.unreadable);
}
