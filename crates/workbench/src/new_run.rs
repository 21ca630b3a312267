//! A run that is made: its folder, its manifest, its place in the index.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use greentune_core_config::{
    ids,
    layout::{ProjectLayout, RunLayout},
    manifest::{FORMAT_VERSION, RunData, RunManifest, RunStatus, StageRecord},
    platform::Job,
    resolve::Resolved,
};
use greentune_run_folder::manifest;
use jiff::{SignedDuration, Timestamp};

use crate::{Result, Workbench, WorkbenchError, git};

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
    /// Makes the run's folder with its manifest, and notes it in the index.
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
            base_model_path,
            settings: resolved.settings,
            data,
        };
        let store = self.job_store()?;
        let run = make_run_folder(project, &manifest)?;
        manifest.run_id = run.run_id();
        if let Err(error) = manifest::write(&run, &mut manifest) {
            let _ = fs::remove_dir_all(run.folder());
            return Err(error.into());
        }
        store.insert(&run, &manifest)?;
        Ok((run, manifest))
    }
}

/// Makes the run's folder; a run of the same name in the same second gets the next free one.
fn make_run_folder(project: &ProjectLayout, manifest: &RunManifest) -> Result<RunLayout> {
    let runs = project.runs();
    fs::create_dir_all(&runs).map_err(WorkbenchError::file("create", &runs))?;
    let mut at = manifest.created_at;
    loop {
        let run = project.run(&ids::run_id(&manifest.run_name, at));
        match fs::create_dir(run.folder()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => at += SignedDuration::from_secs(1),
            made => return made.map(|()| run.clone()).map_err(WorkbenchError::file("create", run.folder())),
        }
    }
}
