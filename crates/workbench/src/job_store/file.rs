//! What lies where the index of runs should be, and how a damaged one makes room.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

/// `PRAGMA application_id` of an index of runs: "gtIX".
pub(super) const APPLICATION_ID: u32 = 0x6774_4958;
/// The first bytes of every SQLite database (<https://sqlite.org/fileformat2.html>, 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the header has the application id, in big-endian order.
const APPLICATION_ID_AT: usize = 68;
/// Tables of an index from before indexes had an application id.
const TABLES: [&str; 2] = ["runs", "summaries"];

/// What lies where the index should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// An index of runs, whole or not.
    Index,
    /// Something that was an index once: the name is greentune's own, the content is none of a database.
    Remains,
    /// Something else, which must not be touched; in words what it is.
    Foreign(&'static str),
}

/// Looks at `path` without changing anything; `is_own_name` says that nobody else uses it.
pub(super) fn look(path: &Path, is_own_name: bool) -> io::Result<Found> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        looked => looked?,
    };
    // Not opened: a pipe would wait for a writer.
    if !metadata.is_file() {
        return Ok(Found::Foreign("no file"));
    }
    if metadata.len() == 0 {
        return Ok(Found::Nothing);
    }
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    let foreign = |what| if is_own_name { Found::Remains } else { Found::Foreign(what) };
    if !header.starts_with(MAGIC) {
        return Ok(foreign("no database"));
    }
    let id = header.get(APPLICATION_ID_AT..APPLICATION_ID_AT + 4).and_then(|bytes| bytes.try_into().ok());
    Ok(match id.map(u32::from_be_bytes) {
        Some(APPLICATION_ID) => Found::Index,
        Some(0) => match has_tables_of_others(path) {
            Ok(false) => Found::Index,
            Ok(true) => foreign("the database of another program"),
            Err(_) => foreign("a damaged database, perhaps of another program"),
        },
        Some(_) => foreign("the database of another program"),
        None => foreign("no database"),
    })
}

/// Moves the database at `path` aside, with what SQLite keeps beside it; where it is now.
pub(super) fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let ending = format!("damaged-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S%.6f"));
    let named = |suffix: &str, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.push(ending);
        PathBuf::from(name)
    };
    for suffix in ["", "-wal", "-shm"] {
        match fs::rename(named(suffix, ""), named(suffix, &format!(".{ending}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(named("", &format!(".{ending}")))
}

/// Whether the database at `path` has tables that no index of runs has.
fn has_tables_of_others(path: &Path) -> rusqlite::Result<bool> {
    // Nothing is written beside a database that may be somebody else's.
    let address = format!("file:{}?immutable=1", escaped(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(address, flags)?;
    let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    if names.iter().any(|name| !name.starts_with("sqlite_") && !TABLES.contains(&name.as_str())) {
        return Ok(true);
    }
    let query = "SELECT COUNT(*) FROM pragma_table_info('runs') WHERE name = 'run_folder'";
    let columns: u32 = connection.query_row(query, [], |row| row.get(0))?;
    Ok(!names.is_empty() && columns == 0)
}

/// `path` as it stands in an address of SQLite.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}
