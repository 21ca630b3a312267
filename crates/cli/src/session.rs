//! What every command works with: output, project, workbench.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use greentune_core_config::{
    ProblemKind, Suggestion,
    layout::{CONFIG_FILE, ProjectLayout},
    manifest::RunStatus,
    port::{TransferProgress, TransferReporter},
    resolve::{Argument, is_path},
};
use greentune_workbench::{
    Observer, Workbench, WorkbenchConfig, command_line::word, given_path, is_too_broad, operation::ListRuns,
    without_links,
};
use tracing_subscriber::filter::LevelFilter;

use crate::{command::new_run, environment::Environment, failure::Failure, output::Output};

/// Settings that are addresses of servers.
const SERVERS: [&str; 2] = ["mlflow.tracking_uri", "carbon.emissions_endpoint"];

/// Says what the user should know while a command goes on.
#[derive(Debug)]
struct Remarks(Output);

impl TransferReporter for Remarks {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Remarks {
    fn remark(&self, text: &str) {
        self.0.note(text);
    }
}

/// What every command works with.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where answers go.
    pub output: Output,
    project: Option<PathBuf>,
    environment: Environment,
    may_ask: bool,
}

impl Session {
    /// A session with the project that `--project` names.
    pub fn new(output: Output, project: Option<PathBuf>, environment: Environment) -> Self {
        Self { output, project, environment, may_ask: false }
    }

    /// The same, in which a question may be asked.
    #[must_use]
    pub fn asking(self, may_ask: bool) -> Self {
        Self { may_ask, ..self }
    }

    /// Whether somebody may be asked: never a program that reads JSON.
    pub fn may_ask(&self) -> bool {
        self.may_ask && !self.output.is_json()
    }

    /// The workbench with the settings of the files and the environment.
    pub fn workbench(&self) -> Result<Workbench, Failure> {
        Ok(self.remarking(self.environment.workbench_config()?))
    }

    /// A workbench with `config` whose remarks are notes of this command.
    fn remarking(&self, config: WorkbenchConfig) -> Workbench {
        Workbench::new(config).reporting(Arc::new(Remarks(self.output)))
    }

    /// The workbench with the settings of `--set key=value` flags on top.
    ///
    /// Errors: a flag without a `=`; the settings themselves are checked when they are used.
    pub fn workbench_with(&self, assignments: &[String]) -> Result<Workbench, Failure> {
        let mut config = self.allowing_typed_hosts(assignments)?.environment.workbench_config()?;
        config.arguments = self.settings(assignments)?;
        Ok(self.remarking(config))
    }

    /// This session, in which the servers that `--set key=value` flags name get tokens: what the user types is the user's.
    ///
    /// Errors: as [`Session::workbench_with`].
    pub fn allowing_typed_hosts(&self, assignments: &[String]) -> Result<Self, Failure> {
        let settings = self.settings(assignments)?;
        let typed = settings.iter().filter(|setting| SERVERS.contains(&setting.key.as_str()));
        let environment = self.environment.allowing_hosts_of(typed.map(|setting| setting.text.as_str()));
        Ok(Self { environment, ..self.clone() })
    }

    fn settings(&self, assignments: &[String]) -> Result<Vec<Argument>, Failure> {
        assignments.iter().map(|assignment| self.setting(assignment)).collect()
    }

    /// The setting in `assignment`; a path in it is relative to the current folder, as every path that is typed.
    fn setting(&self, assignment: &str) -> Result<Argument, Failure> {
        let mut argument = Argument::set(assignment)?;
        if is_path(&argument.key) && !argument.text.trim().is_empty() {
            argument.text = self.here(Path::new(argument.text.trim())).to_string_lossy().into_owned();
        }
        Ok(argument)
    }

    /// The workbench that may touch nothing outside `roots` and greentune's home, for somebody else than the user.
    pub fn workbench_within(&self, roots: &[PathBuf]) -> Result<Workbench, Failure> {
        let mut config = self.environment.workbench_config()?;
        config.allowed_roots = Some(roots.iter().map(|root| self.here(root)).collect());
        config.keeps_index_open = true;
        Ok(Workbench::new(config))
    }

    /// The folders that somebody else than the user may use: those that the user `named` here or in the environment, and the
    /// project around the current folder, or that folder when it holds projects or nothing yet.
    pub fn usual_roots(&self, named: &[PathBuf]) -> Vec<PathBuf> {
        let here = self.environment.current_folder();
        let silent = self.project().or_else(|| is_for_projects(here).then(|| here.to_owned()));
        let silent = silent.filter(|folder| !is_too_broad(folder, self.environment.user_home()));
        named.iter().cloned().chain(self.environment.allowed_folders()).chain(silent).collect()
    }

    /// What surrounds the process.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// How much a server says on standard error.
    pub fn log_level(&self) -> LevelFilter {
        self.environment.log_level()
    }

    /// The project that `--project` names, else the one around the current folder.
    pub fn project(&self) -> Option<PathBuf> {
        let around =
            || Some(ProjectLayout::find_around(self.environment.current_folder())?.root().to_owned());
        self.project.as_ref().map(|project| self.here(project)).or_else(around)
    }

    /// The project, for commands that need one. The workbench refuses a folder that is not a project.
    pub fn project_or_here(&self) -> PathBuf {
        self.project().unwrap_or_else(|| self.environment.current_folder().to_owned())
    }

    /// `path` as it was typed: relative to the current folder, `~` for the home folder. Absolute, without links and
    /// `..`, so that no operation takes it for a path of the project.
    pub fn here(&self, path: &Path) -> PathBuf {
        // What cannot be followed is refused where it is used.
        let given = given_path(path, self.environment.user_home()).unwrap_or_else(|_| path.to_owned());
        let joined = self.environment.current_folder().join(given);
        without_links(&joined).unwrap_or(joined)
    }

    /// The same of a file or folder to read. One that is missing here and lies in the project is refused with the path
    /// that was probably meant.
    pub fn input(&self, path: &Path) -> Result<PathBuf, Failure> {
        let here = self.here(path);
        if here.exists() || path.is_absolute() {
            return Ok(here);
        }
        let in_project = self.project().map(|project| project.join(path)).filter(|meant| meant.exists());
        let Some(meant) = in_project else { return Ok(here) };
        let message = format!("no file at {}", here.display());
        Err(Failure::new(ProblemKind::NotFound, "data.missing", message).with_hint(format!(
            "paths are taken from the current folder; the project has {}",
            word(&meant.to_string_lossy())
        )))
    }

    /// `run_id`, or the newest run of the project with a status that is `wanted`.
    pub async fn run_or_newest(
        &self,
        run_id: Option<String>,
        wanted: fn(RunStatus) -> bool,
        wanted_words: &str,
    ) -> Result<String, Failure> {
        if let Some(run_id) = run_id {
            return Ok(run_id);
        }
        let project = self.project_or_here();
        let request = ListRuns::all(Some(project.clone()));
        let runs = self.workbench()?.list_runs(request).await?.runs;
        let newest = runs.into_iter().find(|run| wanted(run.status)).map(|run| run.run_id);
        newest.ok_or_else(|| {
            let message = format!("the project {} has no run that is {wanted_words}", project.display());
            Failure::new(ProblemKind::NotFound, "run.none", message)
                .suggesting(new_run())
                .suggesting(Suggestion::new("or find one", "list_runs"))
        })
    }
}

/// Whether `folder` holds projects, or nothing at all and is no place where everybody puts something.
fn is_for_projects(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let holds_projects = paths.iter().any(|path| path.join(CONFIG_FILE).is_file());
    holds_projects || (paths.is_empty() && !is_shared(folder))
}

#[cfg(unix)]
fn is_shared(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    const ALL_MAY_WRITE: u32 = 0o002;
    !std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & ALL_MAY_WRITE == 0)
}

#[cfg(not(unix))]
fn is_shared(_: &Path) -> bool {
    true
}
