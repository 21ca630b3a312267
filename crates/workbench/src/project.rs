//! Opening a project: its folder, the paths that requests name in it, its settings.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::atomic::AtomicBool,
};

use greentune_carbon::{
    CarbonError,
    calibration::Calibration,
    equivalence::EquivalenceTable,
    intensity::{Place, check_endpoint},
};
use greentune_core_config::{
    availability::unavailable,
    ids,
    layout::{ProjectLayout, RunLayout},
    resolve::{ConfigText, Layers, Resolved, resolve},
    settings::{CarbonSettings, Settings},
};
use greentune_durable::read_text_at_most;
use greentune_platforms_kaggle_hf::hub::Parts;
use greentune_tracking::{Tracker, check_address};
use serde_json::{Map, Value};

use crate::{
    Result, Workbench, WorkbenchError,
    base_model::BaseModel,
    leftovers::settle_splits,
    reach::{Access, AllowedRoots},
};

/// Bytes of a configuration file at most; a person writes it.
pub(crate) const CONFIG_BYTES: u64 = 4 << 20;

/// Settings of a request: dotted keys or nested objects.
pub(crate) type Overrides = Map<String, Value>;

impl Workbench {
    /// The project at `path`, which must hold a configuration file and lie in the allowed roots.
    pub(crate) fn open_project(&self, path: &Path) -> Result<ProjectLayout> {
        self.open_in(&self.allowed_roots(), path)
    }

    /// The same for who knows the allowed `roots` already.
    pub(crate) fn open_in(&self, roots: &AllowedRoots, path: &Path) -> Result<ProjectLayout> {
        let path = &self.given_path(path)?;
        let project = ProjectLayout::new(roots.reach(path, path, Access::Write)?);
        if !project.root().is_absolute() || !project.config().is_file() {
            return Err(WorkbenchError::NotAProject(path.to_owned()));
        }
        roots.check_project(&project)?;
        Ok(project)
    }

    /// Resolves the settings of `project`, or those without a project.
    pub(crate) fn resolve_settings(
        &self,
        project: Option<&ProjectLayout>,
        overrides: Option<Overrides>,
    ) -> Result<Resolved> {
        let config = self.config();
        let layers = Layers {
            user_file: config
                .user_config
                .as_deref()
                .filter(|path| path.is_file())
                .map(config_text)
                .transpose()?,
            project_file: project.map(|project| config_text(&project.config())).transpose()?,
            run_overrides: overrides.unwrap_or_default(),
            environment: config.environment.clone(),
            arguments: config.arguments.clone(),
            project_root: project.map(|project| project.root().to_owned()),
            home: config.user_home.clone(),
        };
        let resolved = resolve(&layers)?;
        self.check_setting_files(&resolved)?;
        self.check_given_addresses(&resolved)?;
        Ok(resolved)
    }

    /// The settings that the user made: those of the user's file, the environment and flags alone.
    pub(crate) fn user_settings(&self) -> Result<Resolved> {
        self.resolve_settings(None, None)
    }

    /// Resolves the settings of `project` and refuses what is not available yet.
    pub(crate) fn usable_settings(
        &self,
        project: &ProjectLayout,
        overrides: Option<Overrides>,
    ) -> Result<Resolved> {
        self.usable(Some(project), overrides)
    }

    fn usable(&self, project: Option<&ProjectLayout>, overrides: Option<Overrides>) -> Result<Resolved> {
        let resolved = self.resolve_settings(project, overrides)?;
        let problems = unavailable(&resolved.settings);
        if problems.is_empty() {
            check_carbon(&resolved.settings.carbon)?;
            check_addresses(&resolved.settings)?;
            return Ok(resolved);
        }
        Err(WorkbenchError::all("config.not_available_yet", "settings are not available yet", problems))
    }

    /// The same of a project that has yet to be made when `is_new`: nothing is read from it then.
    pub(crate) fn usable_settings_or_new(
        &self,
        project: &ProjectLayout,
        is_new: bool,
        overrides: Overrides,
    ) -> Result<Resolved> {
        self.usable((!is_new).then_some(project), Some(overrides))
    }

    /// The settings of meters, in a project or outside of one.
    ///
    /// Errors: settings that are not possible; a place or a file of theirs that a meter cannot use.
    pub(crate) fn carbon_settings(
        &self,
        project_path: Option<&Path>,
        overrides: Option<Overrides>,
    ) -> Result<CarbonSettings> {
        let project = project_path.map(|path| self.open_project(path)).transpose()?;
        let carbon = self.resolve_settings(project.as_ref(), overrides)?.settings.carbon;
        check_carbon(&carbon)?;
        Ok(carbon)
    }

    /// The base model that `settings` name: in a folder, or brought from the Hub into the cache.
    pub(crate) fn base_model(&self, settings: &Settings, cancelled: &AtomicBool) -> Result<BaseModel> {
        let Some(folder) = &settings.base_model.local_path else {
            let snapshot = self.fetch_from_hub(settings, Parts::All, cancelled)?;
            return BaseModel::from_hub(snapshot, settings.base_model.r#type);
        };
        self.check_base_folder(folder)?;
        BaseModel::detect(folder, settings.base_model.r#type)
    }

    /// The folder with configuration and tokenizer of the base model, for work that needs no weights.
    pub(crate) fn tokenizer_folder(&self, settings: &Settings, cancelled: &AtomicBool) -> Result<PathBuf> {
        match &settings.base_model.local_path {
            Some(_) => Ok(self.base_model(settings, cancelled)?.folder),
            None => Ok(self.fetch_from_hub(settings, Parts::Tokenizer, cancelled)?.folder),
        }
    }

    /// The base model that `settings` name as far as it is here; none when it has yet to be downloaded.
    pub(crate) fn base_model_here(&self, settings: &Settings) -> Result<Option<BaseModel>> {
        let family = settings.base_model.r#type;
        let Some(folder) = &settings.base_model.local_path else {
            let cached = self.cached_from_hub(settings)?;
            return cached.map(|snapshot| BaseModel::from_hub(snapshot, family)).transpose();
        };
        self.check_base_folder(folder)?;
        BaseModel::detect(folder, family).map(Some)
    }

    /// The existing file that the request field `key` names, absolute and without links.
    pub(crate) fn input_file(&self, project: &ProjectLayout, key: &str, path: &Path) -> Result<PathBuf> {
        let resolved = self.input_path(project, key, path)?;
        if resolved.is_file() { Ok(resolved) } else { Err(missing(key, resolved, &self.given_path(path)?)) }
    }

    /// The same of a file or a folder.
    pub(crate) fn input_path(&self, project: &ProjectLayout, key: &str, path: &Path) -> Result<PathBuf> {
        let resolved = self.path_in(project, path, Access::Read)?;
        settle_splits(&resolved)?;
        if resolved.exists() { Ok(resolved) } else { Err(missing(key, resolved, &self.given_path(path)?)) }
    }

    /// The path that a request names, absolute and without links; it need not exist.
    ///
    /// A relative path, or one spelled as inside the project, must stay in the project; any other must lie in the
    /// allowed roots.
    pub(crate) fn path_in(&self, project: &ProjectLayout, path: &Path, access: Access) -> Result<PathBuf> {
        let joined = project.root().join(self.given_path(path)?);
        let resolved = without_links(&joined);
        let leaves =
            |resolved: &PathBuf| joined.starts_with(project.root()) && !resolved.starts_with(project.root());
        if resolved.as_ref().is_ok_and(leaves) {
            return Err(WorkbenchError::OutsideProject {
                path: path.to_owned(),
                project: project.root().to_owned(),
            });
        }
        self.reach(&joined, path, access)
    }
}

/// The run `run_id` of `project`, when its folder is really there.
pub(crate) fn run_in(project: &ProjectLayout, run_id: &str) -> Result<Option<RunLayout>> {
    ids::check_run_id(run_id)?;
    let run = project.run(run_id);
    if !run.manifest().is_file() {
        return Ok(None);
    }
    if without_links(run.folder())?.starts_with(project.root()) {
        return Ok(Some(run));
    }
    Err(WorkbenchError::OutsideProject { path: run.folder().to_owned(), project: project.root().to_owned() })
}

/// `path` with the links of its existing part followed and its `..` taken out.
///
/// Errors: a part of it cannot be looked at.
pub fn without_links(path: &Path) -> Result<PathBuf> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match canonical(existing) {
            Ok(mut resolved) => {
                for name in missing.into_iter().rev() {
                    match name {
                        Component::ParentDir => {
                            resolved.pop();
                        }
                        name => resolved.push(name),
                    }
                }
                return Ok(resolved);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !existing.is_symlink() => {
                let mut components = existing.components();
                let last = components.next_back();
                missing.extend(last);
                existing = components.as_path();
                if last.is_none() || existing.as_os_str().is_empty() {
                    existing = Path::new(".");
                }
            }
            Err(error) => return Err(WorkbenchError::file("open", path)(error)),
        }
    }
}

/// As [`fs::canonicalize`], which asks the system about every folder on the way: Linux says where an open file is.
#[cfg(target_os = "linux")]
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    use std::os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _};

    use rustix::fs::{Mode, OFlags};
    // Only the place is opened, which no pipe or device notices.
    let opened = match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Err(io::ErrorKind::NotFound.into()),
        opened => opened.ok(),
    };
    let place = opened.and_then(|file| fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok());
    // What is removed at this moment, or lies outside of what this process sees, has no place.
    let is_there =
        |place: &PathBuf| place.is_absolute() && !place.as_os_str().as_bytes().ends_with(b" (deleted)");
    place.filter(is_there).map_or_else(|| fs::canonicalize(path), Ok)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

fn missing(key: &str, path: PathBuf, given: &Path) -> WorkbenchError {
    WorkbenchError::MissingFile { key: key.to_owned(), path, of_project: given.is_relative() }
}

fn config_text(path: &Path) -> Result<ConfigText> {
    let text = read_text_at_most(path, CONFIG_BYTES).map_err(WorkbenchError::file("read", path))?;
    Ok(ConfigText { path: path.to_owned(), text })
}

/// Refuses addresses that are none, or that hold credentials: what is set is written into manifests.
pub(crate) fn check_addresses(settings: &Settings) -> Result<()> {
    let endpoint = settings.carbon.emissions_endpoint.as_deref();
    endpoint.map(check_endpoint).transpose().map_err(WorkbenchError::reported)?;
    check_address(Tracker::Mlflow, &settings.mlflow.tracking_uri).map_err(WorkbenchError::reported)
}

/// Refuses a place without a figure of carbon intensity, and files that a meter could not read.
fn check_carbon(carbon: &CarbonSettings) -> Result<()> {
    if carbon.cloud_provider.is_some() != carbon.cloud_region.is_some() {
        let (key, other) = match carbon.cloud_region {
            None => ("carbon.cloud_region", "carbon.cloud_provider"),
            Some(_) => ("carbon.cloud_provider", "carbon.cloud_region"),
        };
        return Err(WorkbenchError::InvalidValue {
            key,
            found: String::from("nothing"),
            allowed: format!("a value beside {other}, or neither of the two"),
        });
    }
    let check = || -> std::result::Result<(), CarbonError> {
        Place::from(carbon).check()?;
        carbon.emissions_endpoint.as_deref().map(check_endpoint).transpose()?;
        carbon.calibration_file.as_deref().map(Calibration::read).transpose()?;
        carbon.equivalences_file.as_deref().map(EquivalenceTable::read).transpose()?;
        Ok(())
    };
    check().map_err(WorkbenchError::reported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn places_are_those_that_the_standard_library_finds() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a b");
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("file (deleted)"), "").unwrap();
        symlink(root.join("deep"), root.join("link")).unwrap();
        symlink("link/er", root.join("again")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for name in [
            ".",
            "deep/er",
            "link/er/..",
            "again",
            "file (deleted)",
            "dangling",
            "loop",
            "no",
            "file (deleted)/x",
        ] {
            let path = root.join(name);
            let (ours, standard) = (canonical(&path), fs::canonicalize(&path));
            let kinds = |found: &io::Result<PathBuf>| found.as_ref().map_err(io::Error::kind).cloned();
            assert_eq!(kinds(&ours), kinds(&standard), "{name}");
        }
    }

    #[test]
    fn a_missing_tail_is_kept_and_its_dots_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        assert_eq!(without_links(&root.join("new/../other/x")).unwrap(), root.join("other/x"));
        assert_eq!(without_links(&root.join("a/../../b")).unwrap(), root.parent().unwrap().join("b"));
    }
}
