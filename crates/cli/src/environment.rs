//! What surrounds the process: the one place that reads environment, home and current folder.

mod carbon;
mod clients;
mod hub;
mod proxy;
mod token_hosts;
mod tracking;
mod worker;

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use greentune_core_config::ProblemKind;
use greentune_workbench::WorkbenchConfig;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

pub use clients::Base;

/// Where greentune keeps the index of runs.
const HOME: &str = "GREENTUNE_HOME";
/// Which index of runs is used, such as `sqlite:/path/to/state.db`.
const STATE_URL: &str = "GREENTUNE_STATE_URL";

/// Folders that an assistant may use, and into which a tracking server may have files written; parted as in `PATH`.
const ALLOWED_DIRS: &str = "GREENTUNE_ALLOWED_DIRS";

/// The surroundings as they were when the process began.
#[derive(Clone)]
pub struct Environment {
    variables: Vec<(String, String)>,
    current_folder: PathBuf,
    user_home: Option<PathBuf>,
    program: PathBuf,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Variables hold tokens.
        f.debug_struct("Environment").field("current_folder", &self.current_folder).finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads variables, current folder, the user's home and the path of this program.
    ///
    /// Errors: the current folder is gone, or the system does not say which program this is.
    pub fn read() -> Result<Self, Failure> {
        let unknown = |what: &'static str| {
            move |error: std::io::Error| {
                Failure::new(
                    ProblemKind::Internal,
                    "environment.unknown",
                    format!("cannot tell {what}: {error}"),
                )
            }
        };
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Ok(Self {
            variables: env::vars_os().filter_map(text).collect(),
            current_folder: env::current_dir().map_err(unknown("the current folder"))?,
            user_home: env::home_dir().filter(|home| home.is_absolute()),
            program: env::current_exe().map_err(unknown("where this program is"))?,
        })
    }

    /// The folder in which the command was typed.
    pub fn current_folder(&self) -> &Path {
        &self.current_folder
    }

    /// The user's home folder.
    pub fn user_home(&self) -> Option<&Path> {
        self.user_home.as_deref()
    }

    /// How much a server says on standard error: `RUST_LOG` when it is a level, else warnings and errors.
    pub fn log_level(&self) -> LevelFilter {
        self.variable("RUST_LOG").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::WARN)
    }

    /// The workbench's configuration without arguments.
    ///
    /// Errors: neither `GREENTUNE_HOME` nor the user's home says where the index of runs lies.
    pub fn workbench_config(&self) -> Result<WorkbenchConfig, Failure> {
        let home = self.home().ok_or_else(|| {
            let message = format!("no folder for the index of runs: neither {HOME} nor a home folder is set");
            Failure::new(ProblemKind::InvalidInput, "environment.no_home", message)
                .with_hint(format!("set {HOME} to a folder that can be written"))
        })?;
        let worker = vec![self.program.clone().into_os_string(), OsString::from("worker")];
        let hub = self.hub(&home);
        let mut config = WorkbenchConfig::new(home, worker);
        config.worker_environment = self.of_worker();
        config.worker_secrets = self.secrets_of_worker();
        config.hub = hub;
        config.tracking = self.tracking();
        config.meter = self.meter();
        config.state_url = self.variable(STATE_URL).map(str::to_owned);
        config.user_config = self.user_config();
        config.user_home.clone_from(&self.user_home);
        config.environment = self.settings();
        Ok(config)
    }

    /// The variables that are settings; others, such as tokens, are not.
    fn settings(&self) -> Vec<(String, String)> {
        let is_setting = |(name, _): &&(String, String)| name.starts_with("GREENTUNE_");
        self.variables.iter().filter(is_setting).cloned().collect()
    }

    /// The user's own configuration file.
    fn user_config(&self) -> Option<PathBuf> {
        Some(self.base_folder("XDG_CONFIG_HOME", "APPDATA", ".config")?.join("config.toml"))
    }

    /// The folders that the user allows to an assistant, and to a tracking server on this machine.
    pub fn allowed_folders(&self) -> Vec<PathBuf> {
        let folders = self.variable(ALLOWED_DIRS).map(env::split_paths).into_iter().flatten();
        folders.filter(|folder| folder.is_absolute()).collect()
    }

    fn home(&self) -> Option<PathBuf> {
        match self.variable(HOME) {
            Some(home) => Some(self.current_folder.join(home)),
            None => self.base_folder("XDG_DATA_HOME", "LOCALAPPDATA", ".local/share"),
        }
    }

    /// greentune's folder in a base folder (XDG Base Directory Specification 0.8; on Windows `APPDATA`).
    fn base_folder(&self, xdg: &str, windows: &str, in_home: &str) -> Option<PathBuf> {
        // The specification says that relative paths are to be ignored.
        let named = |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let named = named(xdg).or_else(|| named(windows).filter(|_| cfg!(windows)));
        let folder = named.or_else(|| Some(self.user_home.as_ref()?.join(in_home)))?;
        Some(folder.join("greentune"))
    }

    /// Whether the terminal can move its cursor, as far as `TERM` says.
    pub fn has_cursor(&self) -> bool {
        self.variable("TERM").is_some_and(|term| term != "dumb")
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let variable = self.variables.iter().find(|(known, value)| known == name && !value.is_empty());
        variable.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            current_folder: PathBuf::from("/here"),
            user_home: Some(PathBuf::from("/home/ada")),
            program: PathBuf::from("/bin/greentune"),
        }
    }

    fn home(variables: &[(&str, &str)]) -> PathBuf {
        environment(variables).workbench_config().map(|config| config.home).unwrap_or_default()
    }

    #[test]
    fn the_home_is_the_variable_then_xdg_then_the_users() {
        assert_eq!(home(&[]), Path::new("/home/ada/.local/share/greentune"));
        assert_eq!(home(&[("XDG_DATA_HOME", "/data")]), Path::new("/data/greentune"));
        assert_eq!(home(&[("XDG_DATA_HOME", "data")]), Path::new("/home/ada/.local/share/greentune"));
        assert_eq!(home(&[("XDG_DATA_HOME", "/data"), (HOME, "state")]), Path::new("/here/state"));
        assert_eq!(home(&[(HOME, "")]), Path::new("/home/ada/.local/share/greentune"));
    }

    #[test]
    fn without_any_home_it_says_what_to_set() {
        let mut homeless = environment(&[]);
        homeless.user_home = None;
        let problem = homeless.workbench_config().map_err(|Failure(problem)| problem).unwrap_err();
        assert_eq!(problem.code, "environment.no_home");
        assert_eq!(problem.hint.as_deref(), Some("set GREENTUNE_HOME to a folder that can be written"));
    }
}
