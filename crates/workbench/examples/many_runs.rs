//! What it costs to list the runs of a project, and all that the index knows.
//!
//! usage: `many_runs [RUNS]` (10 000 when absent); makes a project with so many completed runs in a temporary folder and prints
//! seconds as JSON: the first list, which reads every run, and later ones, which ask the index. The median of 9 lists.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use std::{error::Error, fs, time::Instant};

use greentune_core_config::{
    layout::ProjectLayout,
    manifest::{FORMAT_VERSION, RunStatus},
    settings::Settings,
};
use greentune_workbench::{Workbench, WorkbenchConfig, operation::ListRuns};
use serde_json::json;

/// Lists of which the median is taken.
const LISTS: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let runs: usize = std::env::args().nth(1).map_or(Ok(10_000), |runs| runs.parse())?;
    let folder = tempfile::tempdir()?;
    let root = fs::canonicalize(folder.path())?;
    let project = ProjectLayout::new(root.join("project"));
    fs::create_dir_all(root.join("project/config"))?;
    fs::write(project.config(), "[project]\nname = \"many\"\n")?;
    let stage = json!({"stage": 1, "status": "completed", "total_steps": 100, "steps_done": 100, "duration_seconds": 9.0});
    for number in 0..runs {
        let run = project.run(&format!("run{number}-20260101-000000"));
        fs::create_dir_all(run.folder())?;
        let manifest = json!({
            "format_version": FORMAT_VERSION, "greentune_version": "0.1.0", "run_id": run.run_id(), "run_name": "run",
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "status": RunStatus::Completed,
            "platform": {"kind": "local"}, "settings": Settings::default(), "sources": {},
            "data": {"train": "", "validation": ""}, "base_model_path": "", "input_hashes": {}, "stages": [stage],
        });
        fs::write(run.manifest(), manifest.to_string())?;
        fs::write(run.events(), "")?;
    }
    let mut config = WorkbenchConfig::new(root.join("home"), Vec::new());
    config.allowed_roots = Some(vec![root.clone()]);
    let of_project = ListRuns::all(Some(project.root().to_owned()));
    let first = timed(&config, &of_project, runs).await?;
    let of_project = median(&config, &of_project, runs).await?;
    // The first list of all runs notes in the index what it finds below the allowed folders.
    timed(&config, &ListRuns::all(None), runs).await?;
    let of_index = median(&config, &ListRuns::all(None), runs).await?;
    println!(
        "{}",
        json!({"runs": runs, "first_seconds": first, "project_seconds": of_project, "index_seconds": of_index})
    );
    Ok(())
}

async fn median(config: &WorkbenchConfig, request: &ListRuns, runs: usize) -> Result<f64, Box<dyn Error>> {
    let mut seconds = Vec::new();
    for _ in 0..LISTS {
        seconds.push(timed(config, request, runs).await?);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[LISTS / 2])
}

/// Seconds of one list by a workbench that has seen nothing yet, as each command is one.
async fn timed(config: &WorkbenchConfig, request: &ListRuns, runs: usize) -> Result<f64, Box<dyn Error>> {
    let workbench = Workbench::new(config.clone());
    let begun = Instant::now();
    let listed = workbench.list_runs(request.clone()).await?;
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!((listed.runs.len(), listed.unreadable.len()), (runs, 0));
    Ok(seconds)
}
