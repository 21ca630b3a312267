//! A connection to the index's database, and what its errors mean.

use std::{fs::File, io, path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension as _};

use super::file::APPLICATION_ID;

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

/// A connection to the database at `path`, which is made when it is absent.
pub(super) fn opened(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(failure(rusqlite::ffi::SQLITE_READONLY));
    }
    Ok(connection)
}

/// A connection to the database at `path`, which is made when it is absent and looked through when it is there.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = opened(path)?;
    connection.execute_batch(SCHEMA)?;
    let id: u32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if id != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let integrity: Option<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).optional()?;
    match integrity.as_deref() {
        Some("ok") => Ok(connection),
        _ => Err(failure(rusqlite::ffi::SQLITE_CORRUPT)),
    }
}

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // A table of another shape is no index of ours.
        || matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::Unknown))
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

/// Whether this user may not do what failed.
pub(super) fn may_not(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether the database is there and cannot be written, or cannot be made.
pub(super) fn is_unwritable(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
}

/// Held by the process that makes a damaged index anew.
pub(super) fn lock_for_repair(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = File::options().create(true).truncate(false).write(true).open(name)?;
    lock.lock()?;
    Ok(lock)
}
