//! The index of runs: "which run is that id", across projects. SQLite, rebuildable from run folders. Where it cannot be
//! written, the runs are found in the folders of the known projects.

mod connection;
mod file;
mod known_projects;
mod seen;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    ids,
    layout::{ProjectLayout, RunLayout},
    manifest::RunManifest,
    quantities::counted,
};
use greentune_durable::Stamp;
use greentune_run_folder::{RunSummary, manifest};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(crate) use self::seen::SeenIndex;
use self::{
    connection::{connect, is_damage, is_unwritable, lock_for_repair, may_not, opened},
    file::{Found, look, move_aside},
    known_projects::KnownProjects,
};
use crate::{Result, Workbench, WorkbenchConfig, WorkbenchError};

/// `PRAGMA user_version` of an index that has every run of the known projects: one whose making was killed has not.
const COMPLETE: u32 = 1;

/// A run in short, as it was when its files had the stamp.
#[derive(Debug)]
pub(crate) struct KeptSummary {
    /// The stamp.
    pub stamp: String,
    /// The [`RunSummary`] as JSON.
    pub summary: String,
}

/// The index, open; without a database where it cannot be written.
#[derive(Debug)]
pub(crate) struct JobStore {
    path: PathBuf,
    database: Option<Connection>,
    known: KnownProjects,
    remark: Option<String>,
    /// Who keeps the connection for the next call, while the file is the one with this stamp.
    kept_by: Option<(SeenIndex, Stamp)>,
}

impl Drop for JobStore {
    fn drop(&mut self) {
        // One whose transaction failed half-way is of no use.
        if let (Some((seen, stamp)), Some(connection)) = (&self.kept_by, self.database.take())
            && connection.is_autocommit()
        {
            seen.keep(*stamp, connection);
        }
    }
}

impl Workbench {
    /// The index of runs. What the user should know of it is told once.
    pub(crate) fn job_store(&self) -> Result<JobStore> {
        let store = JobStore::open(self.config(), self.seen_index())?;
        if let Some(remark) = &store.remark {
            self.remark_once(remark);
        }
        Ok(store)
    }

    /// Notes a run in the index, where that can be written.
    pub(crate) fn note_run(&self, run: &RunLayout) {
        let Ok(path) = database_path(self.config()) else { return };
        let stamp = || Stamp::of(&path).ok();
        if !self.seen_index().had(stamp(), run.folder())
            && self.job_store().and_then(|store| store.note(run)).is_ok()
        {
            self.seen_index().has(stamp(), run.folder());
        }
    }
}

impl JobStore {
    /// Opens the index. One that is missing is made anew from the known projects, and one whose making was killed is made
    /// to its end; one that is damaged is moved aside before.
    ///
    /// Errors: what lies there is no index of runs, and is left as it is.
    fn open(config: &WorkbenchConfig, seen: &SeenIndex) -> Result<Self> {
        let path = database_path(config)?;
        if let Some(store) = Self::seen_before(&path, config, seen) {
            return Ok(store);
        }
        // To look at the file is to open it, and to close it takes the locks from the connections of this process.
        seen.is_whole(None);
        let store = Self::looked_through(path, config)?;
        // What another process writes meanwhile is looked at the next time.
        seen.is_whole(store.database.as_ref().and_then(|_| Stamp::of(&store.path).ok()));
        Ok(store)
    }

    /// The index at `path`, if it has not changed since it was found to be whole.
    fn seen_before(path: &Path, config: &WorkbenchConfig, seen: &SeenIndex) -> Option<Self> {
        let stamp = Stamp::of(path).ok().filter(|stamp| seen.was_whole(*stamp))?;
        let known = KnownProjects::new(config);
        let connection = || seen.kept().or_else(|| opened(path).ok());
        let database = known.is_listed().then(connection).flatten()?;
        let kept_by = config.keeps_index_open.then(|| (seen.clone(), stamp));
        Some(Self { path: path.to_owned(), database: Some(database), known, remark: None, kept_by })
    }

    fn looked_through(path: PathBuf, config: &WorkbenchConfig) -> Result<Self> {
        let known = KnownProjects::new(config);
        let store = Self { path, database: None, known, remark: None, kept_by: None };
        let folder_made = store.path.parent().map_or(Ok(()), fs::create_dir_all);
        let found = match folder_made.and_then(|()| look(&store.path, config.state_url.is_none())) {
            Ok(found) => found,
            Err(error) if may_not(&error) => return Ok(store.without_database(&error.to_string())),
            Err(error) => return Err(WorkbenchError::file("open", &store.path)(error)),
        };
        match found {
            Found::Foreign(what) => Err(WorkbenchError::NotAnIndex { path: store.path.clone(), what }),
            Found::Remains => store.repaired(),
            Found::Nothing => store.connected()?.rebuilt(),
            Found::Index => {
                let store = store.connected()?;
                if store.database.is_some() && !store.known.is_listed() {
                    store.list_projects()?;
                }
                if store.is_complete()? { Ok(store) } else { store.rebuilt() }
            }
        }
    }

    /// The store with its database; without it, and with a remark, where it cannot be written.
    fn connected(mut self) -> Result<Self> {
        match connect(&self.path) {
            Ok(connection) => {
                self.database = Some(connection);
                Ok(self)
            }
            Err(error) if is_damage(&error) => self.repaired(),
            Err(error) if is_unwritable(&error) => Ok(self.without_database(&error.to_string())),
            Err(source) => Err(WorkbenchError::Store { path: self.path.clone(), source }),
        }
    }

    fn without_database(mut self, why: &str) -> Self {
        self.remark = Some(format!(
            "the index of runs {} cannot be written ({why}): runs are looked for in the folders of the known projects",
            self.path.display()
        ));
        self
    }

    /// Moves what is damaged aside and makes the index anew, unless another process has done so meanwhile.
    fn repaired(mut self) -> Result<Self> {
        let _lock = match lock_for_repair(&self.path) {
            Ok(lock) => lock,
            Err(error) if may_not(&error) => return Ok(self.without_database(&error.to_string())),
            Err(error) => return Err(WorkbenchError::file("lock", &self.path)(error)),
        };
        let is_repaired = look(&self.path, true).is_ok_and(|found| found == Found::Index);
        if let Some(connection) = is_repaired.then(|| connect(&self.path).ok()).flatten() {
            self.database = Some(connection);
            return Ok(self);
        }
        let aside = match move_aside(&self.path) {
            Ok(aside) => aside,
            Err(error) if may_not(&error) => return Ok(self.without_database(&error.to_string())),
            Err(error) => return Err(WorkbenchError::file("move", &self.path)(error)),
        };
        let connected = connect(&self.path);
        self.database = Some(connected.map_err(self.failed())?);
        let mut store = self.rebuilt()?;
        store.remark = Some(format!(
            "the index of runs was damaged: it was moved to {} and made anew with {} of the known projects; a project that is \
             missing is known again once a command was run in it",
            aside.display(),
            counted(store.all()?.len() as u64, "run")
        ));
        Ok(store)
    }

    fn is_complete(&self) -> Result<bool> {
        let Some(database) = &self.database else { return Ok(true) };
        let version = database.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0));
        Ok(version.map_err(self.failed())? >= COMPLETE)
    }

    /// The store after every run of the known projects was noted.
    fn rebuilt(self) -> Result<Self> {
        if let Some(database) = &self.database {
            for run in self.known.runs() {
                match self.note(&run) {
                    Err(WorkbenchError::RunFolder(_)) => {}
                    noted => noted?,
                }
            }
            database.pragma_update(None, "user_version", COMPLETE).map_err(self.failed())?;
        }
        Ok(self)
    }

    /// Writes the list of projects, which earlier versions did not have.
    fn list_projects(&self) -> Result<()> {
        let projects = self.column("SELECT DISTINCT project FROM runs ORDER BY project")?;
        projects.iter().try_for_each(|project| self.add_project(project))
    }

    fn add_project(&self, root: &str) -> Result<()> {
        match self.known.add(root) {
            // An index elsewhere is of use without the list.
            Err(error) if !may_not(&error) => {
                Err(WorkbenchError::file("list a project beside", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The texts that `query` finds.
    fn column(&self, query: &str) -> Result<Vec<String>> {
        let Some(database) = &self.database else { return Ok(Vec::new()) };
        let read = || {
            let mut statement = database.prepare(query)?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.failed())
    }

    /// Where the index lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the user should know of the index.
    pub(crate) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Notes a run.
    pub(crate) fn insert(&self, run: &RunLayout, manifest: &RunManifest) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        self.add_project(&run.project().root().to_string_lossy())?;
        let values = params![
            run.folder().to_string_lossy(),
            run.run_id(),
            run.project().root().to_string_lossy(),
            manifest.created_at.to_string(),
            manifest.platform.kind.as_str(),
        ];
        database
            .execute("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5)", values)
            .map_err(self.failed())?;
        Ok(())
    }

    /// Notes a run from its manifest, unless it is known.
    pub(crate) fn note(&self, run: &RunLayout) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        let known = database
            .query_row("SELECT 1 FROM runs WHERE run_folder = ?1", [run.folder().to_string_lossy()], |_| {
                Ok(())
            })
            .optional()
            .map_err(self.failed())?;
        if known.is_some() {
            return Ok(());
        }
        self.insert(run, &manifest::read(run)?)
    }

    /// The runs with the id `run_id` whose folders are still there. Other rows of the id are dropped.
    pub(crate) fn with_id(&self, run_id: &str) -> Result<Vec<RunLayout>> {
        let Some(database) = &self.database else {
            return Ok(self.known.runs().into_iter().filter(|run| run.run_id() == run_id).collect());
        };
        let read = || {
            let mut statement = database.prepare("SELECT run_folder FROM runs WHERE run_id = ?1")?;
            statement.query_map([run_id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        };
        self.still_there(read().map_err(self.failed())?)
    }

    /// Every run whose folder is still there, newest first. Other rows are dropped.
    pub(crate) fn all(&self) -> Result<Vec<RunLayout>> {
        if self.database.is_none() {
            let mut runs = self.known.runs();
            let created = |run: &RunLayout| {
                manifest::read(run).map_or(Timestamp::UNIX_EPOCH, |manifest| manifest.created_at)
            };
            runs.sort_by_cached_key(|run| (std::cmp::Reverse(created(run)), run.folder().to_owned()));
            return Ok(runs);
        }
        self.still_there(self.column("SELECT run_folder FROM runs ORDER BY created_at DESC, run_folder")?)
    }

    fn still_there(&self, folders: Vec<String>) -> Result<Vec<RunLayout>> {
        let mut runs = Vec::new();
        for folder in folders {
            match RunLayout::at(&folder).filter(|run| run.manifest().is_file()) {
                Some(run) => runs.push(run),
                None => self.forget(&folder)?,
            }
        }
        Ok(runs)
    }

    /// When each run that it knows was configured, by the runs' folders.
    pub(crate) fn ages(&self) -> Result<HashMap<String, Timestamp>> {
        let Some(database) = &self.database else { return Ok(HashMap::new()) };
        let read = || {
            let mut statement = database.prepare_cached("SELECT run_folder, created_at FROM runs")?;
            let rows = statement.query_map([], |row| {
                let created_at: String = row.get(1)?;
                Ok((row.get(0)?, created_at.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.failed())
    }

    /// The run at `layout` in short, if that was kept.
    pub(crate) fn summary(&self, layout: &RunLayout) -> Result<Option<KeptSummary>> {
        let Some(database) = &self.database else { return Ok(None) };
        let query = "SELECT stamp, summary FROM summaries WHERE run_folder = ?1";
        let read = || {
            let mut statement = database.prepare_cached(query)?;
            let kept = |row: &Row<'_>| Ok(KeptSummary { stamp: row.get(0)?, summary: row.get(1)? });
            statement.query_row([layout.folder().to_string_lossy()], kept).optional()
        };
        read().map_err(self.failed())
    }

    /// Keeps runs in short, and notes those that the index did not know: run, stamp of its files, summary.
    pub(crate) fn keep_summaries(&self, kept: &[(RunLayout, String, RunSummary)]) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        for (run, ..) in kept {
            self.add_project(&run.project().root().to_string_lossy())?;
        }
        let write = || {
            database.execute_batch("BEGIN IMMEDIATE")?;
            let mut note = database.prepare("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let mut keep = database.prepare("INSERT OR REPLACE INTO summaries VALUES (?1, ?2, ?3)")?;
            for (run, stamp, summary) in kept {
                let folder = run.folder().to_string_lossy();
                note.execute(params![
                    folder,
                    run.run_id(),
                    run.project().root().to_string_lossy(),
                    summary.created_at.to_string(),
                    summary.platform.as_str(),
                ])?;
                keep.execute(params![folder, stamp, serde_json::to_string(summary).unwrap_or_default()])?;
            }
            database.execute_batch("COMMIT")
        };
        write().map_err(self.failed())
    }

    /// Drops a run from the index.
    pub(crate) fn forget(&self, folder: &str) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        for table in ["runs", "summaries"] {
            let forget = format!("DELETE FROM {table} WHERE run_folder = ?1");
            database.execute(&forget, [folder]).map_err(self.failed())?;
        }
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(rusqlite::Error) -> WorkbenchError + use<> {
        let path = self.path.clone();
        move |source| WorkbenchError::Store { path, source }
    }
}

/// The run folders of `project`, in no order.
pub(crate) fn runs_of(project: &ProjectLayout) -> Vec<RunLayout> {
    let entries = fs::read_dir(project.runs()).into_iter().flatten().flatten();
    entries.filter_map(|entry| RunLayout::at(entry.path())).filter(|run| run.manifest().is_file()).collect()
}

/// The error for `run_id`, which is none of `known`.
pub(crate) fn unknown_run(run_id: &str, known: &[RunLayout]) -> WorkbenchError {
    let ids: Vec<_> = known.iter().map(RunLayout::run_id).collect();
    let nearest = ids::nearest(ids.iter().map(String::as_str), run_id);
    WorkbenchError::UnknownRun {
        run_id: run_id.to_owned(),
        nearest: nearest.into_iter().map(str::to_owned).collect(),
    }
}

fn database_path(config: &WorkbenchConfig) -> Result<PathBuf> {
    match config.state_url.as_deref() {
        None => Ok(config.home.join("state.db")),
        Some(url) => match url.strip_prefix("sqlite:") {
            Some(path) => Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
            // The rest of the address may hold a password and is not repeated.
            None => Err(WorkbenchError::NotAvailableYet {
                what: format!("the state store {:?}", url.split(':').next().unwrap_or_default()),
                instead: String::from("set GREENTUNE_STATE_URL to sqlite:PATH, or leave it unset"),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_stores_are_refused_without_repeating_their_address() {
        let mut config = WorkbenchConfig::new("/nowhere", Vec::new());
        config.state_url = Some("redis://user:secret@host".into());
        let message = JobStore::open(&config, &SeenIndex::default()).unwrap_err().to_string();
        assert!(message.contains("redis") && !message.contains("secret"), "{message}");
    }
}
