//! Runs are found by id from anywhere, and the index is never more than an index.

use std::fs;

use greentune_core_config::{ProblemKind, layout::RunLayout};
use greentune_workbench::{
    Workbench,
    operation::{ListRuns, ShowRun},
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
    let listed = sandbox.workbench.list_runs(ListRuns::default()).await.unwrap().runs;
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
async fn listing_a_project_makes_its_runs_known_again() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(sandbox.root().join("home").join(file));
    }
    let everywhere = async || {
        let listed = sandbox.workbench.list_runs(ListRuns::default()).await.unwrap().runs;
        listed.into_iter().map(|run| run.run_id).collect::<Vec<_>>()
    };
    assert_eq!(everywhere().await, [""; 0]);
    let request = ListRuns { project_path: Some(sandbox.project.root().to_owned()) };
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
        let request = ListRuns { project_path: Some(sandbox.project.root().to_owned()) };
        sandbox.workbench.list_runs(request).await.unwrap()
    };
    let ids: Vec<_> = list().await.runs.into_iter().map(|run| run.run_id).collect();
    assert_eq!(ids, [second.run_id(), first.run_id()]);
    fs::write(first.manifest(), "broken").unwrap();
    let listed = list().await;
    assert_eq!((listed.runs.len(), listed.unreadable.len()), (1, 1));
    assert!(listed.unreadable[0].contains("run-manifest.json"), "{:?}", listed.unreadable);
}
