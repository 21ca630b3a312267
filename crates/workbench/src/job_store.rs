//! The index of runs: "which run is that id", across projects. SQLite, rebuildable from run folders.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_core_config::{
    ids,
    layout::{CONFIG_FILE, ProjectLayout, RunLayout},
    manifest::RunManifest,
};
use greentune_run_folder::{RunSummary, manifest};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Result, WorkbenchConfig, WorkbenchError};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS runs (
        run_folder TEXT PRIMARY KEY,
        run_id     TEXT NOT NULL,
        project    TEXT NOT NULL,
        created_at TEXT NOT NULL,
        platform   TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS runs_by_id ON runs (run_id);
    -- Runs in short, as they were when their files had the stamp beside.
    CREATE TABLE IF NOT EXISTS summaries (
        run_folder TEXT PRIMARY KEY,
        stamp      TEXT NOT NULL,
        summary    TEXT NOT NULL
    );
";

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The index, open.
#[derive(Debug)]
pub(crate) struct JobStore {
    path: PathBuf,
    connection: Connection,
}

impl JobStore {
    /// Opens the index; one that is damaged or missing is made anew from the allowed roots' projects.
    pub(crate) fn open(config: &WorkbenchConfig) -> Result<Self> {
        let path = database_path(config)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(WorkbenchError::file("create", folder))?;
        }
        let is_new = !path.exists();
        let store = match Self::connect(&path) {
            Err(source) if is_damage(&source) => {
                remove_database(&path)?;
                return Self::rebuilt(&path, config);
            }
            connected => connected.map_err(|source| WorkbenchError::Store { path: path.clone(), source })?,
        };
        if is_new {
            store.rebuild(config.allowed_roots.as_deref().unwrap_or_default())?;
        }
        Ok(store)
    }

    /// Where the index lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a run.
    pub(crate) fn insert(&self, run: &RunLayout, manifest: &RunManifest) -> Result<()> {
        let values = params![
            run.folder().to_string_lossy(),
            run.run_id(),
            run.project().root().to_string_lossy(),
            manifest.created_at.to_string(),
            manifest.platform.kind.as_str(),
        ];
        self.connection
            .execute("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5)", values)
            .map_err(self.failed())?;
        Ok(())
    }

    /// Notes a run from its manifest, unless it is known.
    pub(crate) fn note(&self, run: &RunLayout) -> Result<()> {
        let known = self
            .connection
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

    /// Every run whose folder is still there, newest first. Other rows are dropped.
    pub(crate) fn all(&self) -> Result<Vec<RunLayout>> {
        let mut statement = self
            .connection
            .prepare("SELECT run_folder FROM runs ORDER BY created_at DESC, run_folder")
            .map_err(self.failed())?;
        let folders = statement
            .query_map([], |row| row.get::<_, String>(0))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(self.failed())?;
        let mut runs = Vec::new();
        for folder in folders {
            match RunLayout::at(&folder).filter(|run| run.manifest().is_file()) {
                Some(run) => runs.push(run),
                None => self.forget(&folder)?,
            }
        }
        Ok(runs)
    }

    /// The runs in short that were kept and whose files have not changed since, by their folders.
    pub(crate) fn summaries(&self) -> Result<HashMap<String, (String, String)>> {
        let mut statement = self
            .connection
            .prepare("SELECT run_folder, stamp, summary FROM summaries")
            .map_err(self.failed())?;
        statement
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
            .and_then(Iterator::collect)
            .map_err(self.failed())
    }

    /// Keeps runs in short, and notes those that the index did not know: run, stamp of its files, summary.
    pub(crate) fn keep_summaries(&self, kept: &[(RunLayout, String, RunSummary)]) -> Result<()> {
        let write = || {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            let mut note =
                self.connection.prepare("INSERT OR IGNORE INTO runs VALUES (?1, ?2, ?3, ?4, ?5)")?;
            let mut keep = self.connection.prepare("INSERT OR REPLACE INTO summaries VALUES (?1, ?2, ?3)")?;
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
            self.connection.execute_batch("COMMIT")
        };
        write().map_err(self.failed())
    }

    /// Notes every run under `roots`: projects, or folders of projects.
    pub(crate) fn rebuild(&self, roots: &[PathBuf]) -> Result<()> {
        for project in roots.iter().flat_map(|root| projects_at(root)) {
            for run in runs_of(&project) {
                match self.note(&run) {
                    Err(WorkbenchError::RunFolder(_)) => {}
                    noted => noted?,
                }
            }
        }
        Ok(())
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(SCHEMA)?;
        let integrity: Option<String> =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
        if integrity.as_deref() == Some("ok") {
            Ok(Self { path: path.to_owned(), connection })
        } else {
            Err(damage())
        }
    }

    fn rebuilt(path: &Path, config: &WorkbenchConfig) -> Result<Self> {
        let store =
            Self::connect(path).map_err(|source| WorkbenchError::Store { path: path.to_owned(), source })?;
        store.rebuild(config.allowed_roots.as_deref().unwrap_or_default())?;
        Ok(store)
    }

    fn forget(&self, folder: &str) -> Result<()> {
        for table in ["runs", "summaries"] {
            let forget = format!("DELETE FROM {table} WHERE run_folder = ?1");
            self.connection.execute(&forget, [folder]).map_err(self.failed())?;
        }
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(rusqlite::Error) -> WorkbenchError {
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

fn projects_at(root: &Path) -> Vec<ProjectLayout> {
    let Ok(root) = fs::canonicalize(root) else { return Vec::new() };
    let is_project = |folder: &PathBuf| folder.join(CONFIG_FILE).is_file();
    if is_project(&root) {
        return vec![ProjectLayout::new(root)];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_project).map(ProjectLayout::new).collect()
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

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // A table of another shape is no index of ours.
        || matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::Unknown))
}

fn damage() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None)
}

fn remove_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(WorkbenchError::file("remove", file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_stores_are_refused_without_repeating_their_address() {
        let mut config = WorkbenchConfig::new("/nowhere", Vec::new());
        config.state_url = Some("redis://user:secret@host".into());
        let message = JobStore::open(&config).unwrap_err().to_string();
        assert!(message.contains("redis") && !message.contains("secret"), "{message}");
    }
}
