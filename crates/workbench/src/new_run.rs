//! A run that is made: its folder, its manifest, its place in the index.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    ids,
    layout::{CONFIGURING, ProjectLayout, RunLayout},
    manifest::{FORMAT_VERSION, RunData, RunManifest, RunStatus, StageRecord},
    platform::Job,
    resolve::Resolved,
};
use greentune_durable::{Staging, sweep_abandoned};
use greentune_run_folder::manifest;
use jiff::{SignedDuration, Timestamp};

use crate::{Result, Workbench, WorkbenchError, git, job_store::JobStore};

/// What a run is made from.
pub(crate) struct NewRun {
    pub run_name: String,
    pub resolved: Resolved,
    pub data: RunData,
    pub base_model_path: PathBuf,
    pub input_hashes: BTreeMap<String, String>,
    pub stages: Vec<StageRecord>,
}

impl Workbench {
    /// Makes the run's folder with its manifest, and notes it in the index. A run that can be seen is whole, and listed.
    pub(crate) fn make_run(&self, project: &ProjectLayout, new: NewRun) -> Result<(RunLayout, RunManifest)> {
        let created_at = Timestamp::now();
        let NewRun { run_name, resolved, data, base_model_path, input_hashes, stages } = new;
        let mut manifest = RunManifest {
            format_version: FORMAT_VERSION,
            greentune_version: env!("CARGO_PKG_VERSION").to_owned(),
            run_id: String::new(),
            run_name,
            created_at,
            updated_at: created_at,
            status: RunStatus::NotStarted,
            platform: Job::default(),
            problem: None,
            pid: None,
            last_seq: None,
            requested_stages: Vec::new(),
            sources: resolved.sources.iter().map(|(key, source)| (key.clone(), source.to_string())).collect(),
            input_hashes,
            changed_inputs: Vec::new(),
            git_revision: git::revision(project.root()),
            tuning: None,
            stages,
            artifacts: BTreeMap::new(),
            exports: Vec::new(),
            base_model_path,
            settings: resolved.settings,
            data,
        };
        let store = self.job_store()?;
        let runs = project.runs();
        fs::create_dir_all(&runs).map_err(WorkbenchError::file("create", &runs))?;
        sweep_abandoned(&runs, CONFIGURING);
        let staging = Staging::new(&runs, CONFIGURING).map_err(WorkbenchError::file("write to", &runs))?;
        // The staging folder is private to its owner; the run inside has ordinary permissions.
        let made = staging.path().join("run");
        fs::create_dir(&made).map_err(WorkbenchError::file("create", &made))?;
        let run = publish(&store, project, &made, &mut manifest)?;
        Ok((run, manifest))
    }
}

/// Gives the folder `made` the run's name; a run of the same name in the same second gets the next free one.
fn publish(
    store: &JobStore,
    project: &ProjectLayout,
    made: &Path,
    manifest: &mut RunManifest,
) -> Result<RunLayout> {
    let mut at = manifest.created_at;
    loop {
        let run = project.run(&ids::run_id(&manifest.run_name, at));
        at += SignedDuration::from_secs(1);
        if run.folder().symlink_metadata().is_ok() {
            continue;
        }
        manifest.run_id = run.run_id();
        manifest::write_in(made, &run, manifest)?;
        // Noted first: the index drops a run without a folder, and does not find a folder that it does not know.
        store.insert(&run, manifest)?;
        match greentune_durable::publish(made, run.folder()) {
            Ok(()) => {
                // Somebody who listed the runs between the two has dropped it.
                store.note(&run)?;
                return Ok(run);
            }
            // Another process took the name.
            Err(error) if is_taken(&error) => {
                store.forget(&run.folder().to_string_lossy())?;
                store.note(&run)?;
            }
            Err(error) => {
                store.forget(&run.folder().to_string_lossy())?;
                return Err(WorkbenchError::file("create", run.folder())(error));
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}
