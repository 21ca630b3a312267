//! The projects that have runs: what the index is made anew from.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use greentune_core_config::layout::{CONFIG_FILE, ProjectLayout, RunLayout};

use super::runs_of;
use crate::{Workbench, WorkbenchConfig, path_list::PathList};

/// The projects in a list in greentune's home, and those in the allowed roots.
#[derive(Clone, Debug)]
pub(crate) struct KnownProjects {
    list: PathList,
    /// Projects, or folders of projects.
    roots: Vec<PathBuf>,
}

impl Workbench {
    /// The projects that have runs.
    pub(crate) fn known_projects(&self) -> KnownProjects {
        KnownProjects::new(self.config())
    }
}

impl KnownProjects {
    pub(super) fn new(config: &WorkbenchConfig) -> Self {
        Self {
            list: PathList::new(config.home.join("known-projects.txt")),
            roots: config.allowed_roots.clone().unwrap_or_default(),
        }
    }

    /// Whether there is a list.
    pub(super) fn is_listed(&self) -> bool {
        self.list.exists()
    }

    /// Adds the project at `root` to the list, unless it is there.
    pub(super) fn add(&self, root: &str) -> io::Result<()> {
        self.list.add(root)
    }

    /// Every run of these projects, in no order.
    pub(super) fn runs(&self) -> Vec<RunLayout> {
        self.projects().iter().flat_map(runs_of).collect()
    }

    /// Those that are still there.
    pub(crate) fn projects(&self) -> Vec<ProjectLayout> {
        let listed = self.list.paths().into_iter().filter(|root| is_project(root));
        let below = self.roots.iter().flat_map(|root| projects_at(root));
        let all: BTreeSet<PathBuf> = listed.chain(below).collect();
        all.into_iter().map(ProjectLayout::new).collect()
    }
}

fn is_project(folder: &Path) -> bool {
    folder.join(CONFIG_FILE).is_file()
}

fn projects_at(root: &Path) -> Vec<PathBuf> {
    let Ok(root) = fs::canonicalize(root) else { return Vec::new() };
    if is_project(&root) {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|folder| is_project(folder)).collect()
}
