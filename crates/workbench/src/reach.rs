//! What the workbench may read and write: any path for a person's own shell, and the allowed roots for everybody else.
//!
//! Every path that a request, a project's settings or a run's manifest names comes through [`Workbench::reach`]. It
//! looks at the path with its links followed, also where the file is not there yet.

mod addresses;
mod credential_files;
mod looked_into;
mod named_files;
mod written;

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, DirEntry},
    path::{Component, Path, PathBuf},
};

use greentune_core_config::layout::ProjectLayout;

use crate::{
    Result, Workbench, WorkbenchError,
    project::{canonical, without_links},
};
use credential_files::is_refused;
use looked_into::looked_into;

/// How a path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A file is read, or a folder is looked into.
    Read,
    /// A file is written, or files are made in a folder.
    Write,
}

/// Folders of greentune's home that no call may use: other accounts, the log of calls, and what the background works on.
const KEPT_APART: [&str; 3] = ["accounts", "audit", "tasks"];

/// Folders in which paths may lie, and those in them in which none may lie; all without links.
pub(crate) struct AllowedRoots {
    /// Any path may be used when there are none.
    roots: Option<Vec<PathBuf>>,
    apart: Vec<PathBuf>,
}

impl AllowedRoots {
    /// Whether `resolved` lies in one of them.
    pub(crate) fn contain(&self, resolved: &Path) -> bool {
        self.roots.as_ref().is_none_or(|roots| roots.iter().any(|root| resolved.starts_with(root)))
    }

    /// Whether the folder of a run lies in one of them once its links are followed.
    pub(crate) fn contain_folder(&self, folder: &Path) -> bool {
        self.roots.is_none() || without_links(folder).is_ok_and(|resolved| self.contain(&resolved))
    }

    /// The same, for many folders that lie beside each other.
    pub(crate) fn of_siblings(self) -> SiblingRoots {
        SiblingRoots { roots: self, parents: HashMap::new() }
    }

    /// As [`Workbench::reach`].
    pub(crate) fn reach(&self, path: &Path, given: &Path, access: Access) -> Result<PathBuf> {
        let resolved = match without_links(path) {
            Err(_) if !self.contain(path) => return Err(self.outside(given)),
            resolved => resolved?,
        };
        if !self.contain(&resolved) {
            return Err(self.outside(given));
        }
        if self.roots.is_some()
            && fs::symlink_metadata(&resolved).is_ok_and(|found| is_special(found.file_type()))
        {
            return Err(WorkbenchError::SpecialFile { path: given.to_owned() });
        }
        self.check_name(&resolved, given, access)?;
        // A link may have a harmless target name: it is the name that other programs look for.
        self.check_name(path, given, access)?;
        Ok(resolved)
    }

    /// Refuses files of credentials and the like by their names, and what is kept apart. Only what stands below an allowed
    /// root is judged by its name: the root itself was chosen.
    fn check_name(&self, path: &Path, given: &Path, access: Access) -> Result<()> {
        let roots = self.roots.iter().flatten().filter(|root| path.starts_with(root));
        let mut around = roots.peekable();
        let is_named = around.peek().is_some() && around.all(|root| is_refused(path, root, access));
        let is_apart = self.apart.iter().any(|folder| path.starts_with(folder));
        if is_named || is_apart {
            return Err(WorkbenchError::RefusedByName { path: given.to_owned() });
        }
        Ok(())
    }

    /// Refuses links below `folder` that lead to what may not be used, and what is neither file, folder nor link, `depth`
    /// folders deep. Names of the links' targets are not said.
    pub(crate) fn check_links(&self, folder: &Path, depth: usize) -> Result<()> {
        if self.roots.is_none() {
            return Ok(());
        }
        let Some(looked) = looked_into(folder) else { return Ok(()) };
        looked.others.iter().try_for_each(|path| self.reach(path, path, Access::Write).map(drop))?;
        if depth == 1 {
            return Ok(());
        }
        looked.folders.iter().try_for_each(|folder| self.check_links(folder, depth - 1))
    }

    /// Refuses a project in which the places that operations read and write without being told are links to elsewhere.
    pub(crate) fn check_project(&self, project: &ProjectLayout) -> Result<()> {
        if self.roots.is_none() {
            return Ok(());
        }
        let (root, emissions, logs) = (project.root(), project.emissions(), project.logs());
        self.reach(root, root, Access::Write)?;
        let comparisons = root.join("comparisons");
        let places = [project.config(), project.model_config(), project.runs(), root.join("emissions.csv")];
        // Nothing is a link where there are no links.
        let is_plain = |folder: &Path| looked_into(folder).is_some_and(|looked| looked.others.is_empty());
        if !is_plain(root) || !project.config().parent().is_some_and(is_plain) {
            for place in places.iter().chain([&emissions, &logs, &comparisons]) {
                self.reach(place, place, Access::Write)?;
            }
        }
        [emissions, logs, comparisons].iter().try_for_each(|folder| self.check_links(folder, 2))
    }

    fn outside(&self, given: &Path) -> WorkbenchError {
        let roots = self.roots.clone().unwrap_or_default();
        WorkbenchError::OutsideAllowedRoots { path: given.to_owned(), roots }
    }
}

/// Allowed roots that remember what is in the folders around those that were asked for.
pub(crate) struct SiblingRoots {
    roots: AllowedRoots,
    parents: HashMap<PathBuf, Siblings>,
}

/// A folder around others.
struct Siblings {
    /// Where it really lies, if it is there.
    resolved: Option<PathBuf>,
    /// The links in it; unknown where it cannot be listed.
    links: Option<HashSet<OsString>>,
}

impl SiblingRoots {
    /// As [`AllowedRoots::contain_folder`].
    pub(crate) fn contain_folder(&mut self, folder: &Path) -> bool {
        if self.roots.roots.is_none() {
            return true;
        }
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
            return self.roots.contain_folder(folder);
        };
        if !self.parents.contains_key(parent) {
            self.parents.insert(parent.to_owned(), Siblings::of(parent));
        }
        match self.parents.get(parent) {
            Some(Siblings { resolved, links: Some(links) }) if !links.contains(name) => {
                resolved.as_ref().is_some_and(|parent| self.roots.contain(&parent.join(name)))
            }
            _ => self.roots.contain_folder(folder),
        }
    }
}

impl Siblings {
    fn of(parent: &Path) -> Self {
        let is_link = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let links = fs::read_dir(parent).map(|entries| {
            entries.flatten().filter(is_link).map(|entry| entry.file_name()).collect::<HashSet<_>>()
        });
        Self { resolved: without_links(parent).ok(), links: links.ok() }
    }
}

/// Whether `folder` is too much to be allowed without being asked for by name: the whole disk, or the home folder of the user
/// or one that holds it.
pub fn is_too_broad(folder: &Path, user_home: Option<&Path>) -> bool {
    let place = |path: &Path| canonical(path).unwrap_or_else(|_| path.to_owned());
    let (folder, home) = (place(folder), user_home.map(place));
    folder.parent().is_none() || home.is_some_and(|home| home.starts_with(&folder))
}

impl Workbench {
    /// The same workbench, whose paths may lie below `folders` too. One that may use any path stays so.
    #[must_use]
    pub fn with_allowed(&self, folders: &[PathBuf]) -> Self {
        let mut config = self.config().clone();
        if let Some(roots) = &mut config.allowed_roots {
            roots.extend_from_slice(folders);
        }
        self.with_config(config)
    }

    /// Whether paths are restricted: a person's own shell may use any.
    pub(crate) fn is_restricted(&self) -> bool {
        self.config().allowed_roots.is_some()
    }

    /// The allowed roots and greentune's own folder, without links.
    pub(crate) fn allowed_roots(&self) -> AllowedRoots {
        let config = self.config();
        let Some(roots) = &config.allowed_roots else {
            return AllowedRoots { roots: None, apart: Vec::new() };
        };
        let own = if is_too_broad(&config.home, config.user_home.as_deref()) {
            config.home.join("projects")
        } else {
            config.home.clone()
        };
        // One that is not there yet may be made by an operation.
        let roots = roots.iter().chain([&own]).filter_map(|root| without_links(root).ok()).collect();
        let home = without_links(&config.home).ok();
        let apart = KEPT_APART.iter().filter_map(|name| {
            let path = config.home.join(name);
            // Most homes have none of them.
            if path.symlink_metadata().is_ok() {
                without_links(&path).ok()
            } else {
                Some(home.as_ref()?.join(name))
            }
        });
        let apart = apart.collect();
        AllowedRoots { roots: Some(roots), apart }
    }

    /// `path` with its links followed, when it may be used; `given` is what messages name. It need not exist.
    ///
    /// Errors: it lies outside the allowed roots, whether or not something is there; files of its name hold credentials; it
    /// is a named pipe, a device or a socket.
    pub(crate) fn reach(&self, path: &Path, given: &Path, access: Access) -> Result<PathBuf> {
        self.allowed_roots().reach(path, given, access)
    }
}

/// Whether it is a named pipe, a device or a socket.
fn is_special(kind: fs::FileType) -> bool {
    !(kind.is_file() || kind.is_dir() || kind.is_symlink())
}

/// The lower-case names in `path`, for file systems that do not tell cases apart.
fn names(path: &Path) -> Vec<String> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(lower(name)),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn lower(name: &OsStr) -> String {
    name.to_string_lossy().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_and_the_home_folder_are_no_silent_roots() {
        let home = Path::new("/home/ada");
        for broad in ["/", "/home", "/home/ada"] {
            assert!(is_too_broad(Path::new(broad), Some(home)), "{broad}");
        }
        for narrow in ["/home/ada/project", "/home/ada2", "/data"] {
            assert!(!is_too_broad(Path::new(narrow), Some(home)), "{narrow}");
        }
        assert!(is_too_broad(Path::new("/"), None));
    }
}
