//! What killed processes left: folders of tasks; unfinished exports, preparations, projects, runs and checkpoints.

use std::path::{Path, PathBuf};

use greentune_core_config::layout::{
    CHECKPOINTING, CONFIGURING, EXPORTING, GENERATING, PREPARING, ProjectLayout, SPLIT_FILES,
};
use greentune_durable::{FileSet, abandoned, bytes_under, sweep_abandoned};

use crate::{Result, Workbench, WorkbenchError, path_list::PathList};

/// How the name of a task's folder in greentune's home begins.
pub(crate) const TASK: &str = "task-";

/// A folder that a killed process left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) folder: PathBuf,
    pub(crate) bytes: u64,
}

impl Workbench {
    /// What killed processes left, as far as is known where they worked.
    pub(crate) fn leftovers(&self) -> Vec<Leftover> {
        let places = self.places();
        let folders = places.iter().flat_map(|(parent, prefix)| abandoned(parent, prefix));
        folders.map(|folder| Leftover { bytes: bytes_under(&folder), folder }).collect()
    }

    /// Removes what killed processes left; what cannot be removed stays.
    pub(crate) fn sweep_leftovers(&self) {
        for (parent, prefix) in self.places() {
            sweep_abandoned(&parent, prefix);
        }
    }

    /// Notes that an export is made in `parent`, so that it is found there if it is killed.
    pub(crate) fn note_export_in(&self, parent: &Path) {
        // Without a home that can be written, the next export into the same folder still finds it.
        let _ = self.export_folders().add(&parent.to_string_lossy());
    }

    /// Notes that data are prepared in `folder`, so that what a killed preparation left is found there.
    pub(crate) fn note_preparation_in(&self, folder: &Path) {
        // As with exports.
        let _ = self.preparation_folders().add(&folder.to_string_lossy());
    }

    /// Notes that a project is made in `parent`, so that it is found there if it is killed.
    pub(crate) fn note_project_in(&self, parent: &Path) {
        // As with exports.
        let _ = self.project_folders().add(&parent.to_string_lossy());
    }

    fn places(&self) -> Vec<(PathBuf, &'static str)> {
        let home = &self.config().home;
        let exports = self.export_folders().paths().into_iter().map(|folder| (folder, EXPORTING));
        let projects = self.project_folders().paths().into_iter().map(|folder| (folder, GENERATING));
        let prepared = self.preparation_folders().paths().into_iter().map(|folder| (folder, PREPARING));
        let within = self.known_projects().projects().into_iter().flat_map(|project| {
            let checkpoints = checkpoint_folders(&project).into_iter().map(|folder| (folder, CHECKPOINTING));
            [(project.processed_data(), PREPARING), (project.runs(), CONFIGURING)]
                .into_iter()
                .chain(checkpoints)
        });
        std::iter::once((home.clone(), TASK))
            .chain(exports)
            .chain(projects)
            .chain(prepared)
            .chain(within)
            .collect()
    }

    fn preparation_folders(&self) -> PathList {
        PathList::new(self.config().home.join("preparation-folders.txt"))
    }

    fn project_folders(&self) -> PathList {
        PathList::new(self.config().home.join("project-folders.txt"))
    }

    fn export_folders(&self) -> PathList {
        PathList::new(self.config().home.join("export-folders.txt"))
    }
}

/// Where the runs of `project` have checkpoints. Links are not followed: what they lead to is somebody else's.
fn checkpoint_folders(project: &ProjectLayout) -> Vec<PathBuf> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let runs = std::fs::read_dir(project.runs()).into_iter().flatten().flatten();
    let runs = runs.map(|entry| project.run(&entry.file_name().to_string_lossy()));
    let stages =
        runs.filter(|run| is_folder(run.folder())).flat_map(|run| [1, 2].map(|stage| (run.clone(), stage)));
    let stages = stages.filter(|(run, stage)| is_folder(&run.stage(*stage)));
    stages.map(|(run, stage)| run.checkpoints(stage)).filter(|folder| is_folder(folder)).collect()
}

/// Brings splits beside `path` to their names, which a killed preparation had finished and not published.
pub(crate) fn settle_splits(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    FileSet::new(folder, &SPLIT_FILES)
        .settle()
        .map_err(WorkbenchError::file("complete the splits in", folder))
}
