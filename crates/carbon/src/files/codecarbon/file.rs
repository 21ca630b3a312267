//! Emissions files on disk: what exists at a path, the end of a file, and appending rows.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{COLUMNS, HEADER, rows};
use crate::CarbonError;

/// What is read of the end of a long file to find its last row.
pub(super) const END_BYTES: u64 = 1024 * 1024;
/// Bytes of a file, or of its end, that are read at once: some million rows.
const MOST_BYTES: u64 = 1 << 30;
/// A first line that is longer is no header.
const HEADER_BYTES: u64 = 64 * 1024;

/// What `append` finds at its path.
pub(super) enum State {
    /// Nothing, or a header of ours that a crash cut short.
    Empty,
    /// CodeCarbon's columns, in the order of the file.
    Ours(Vec<String>),
    /// Something else, which is not ours to change.
    Foreign,
}

/// The first line of a file and the rows after it, or those in its last bytes.
pub(super) struct Contents {
    pub header: Vec<u8>,
    pub rows: Vec<u8>,
}

pub(super) fn state(path: &Path) -> Result<State, CarbonError> {
    let start = match open(path)? {
        Some(mut file) => start_of(&mut file).map_err(CarbonError::file("read", path))?,
        None => return Ok(State::Empty),
    };
    let Some(line) = first_line(&start) else {
        let is_torn = HEADER.as_bytes().starts_with(&start);
        return Ok(if is_torn { State::Empty } else { State::Foreign });
    };
    let mut reader = csv::Reader::from_reader(line);
    let Ok(header) = reader.headers() else { return Ok(State::Foreign) };
    let (mut found, mut expected): (Vec<_>, Vec<_>) = (header.iter().collect(), COLUMNS.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    let is_ours = found == expected;
    Ok(if is_ours { State::Ours(header.iter().map(String::from).collect()) } else { State::Foreign })
}

/// The header and the rows in the last `end_bytes`; `None` for no file, an empty one and a header cut short.
pub(super) fn contents(path: &Path, end_bytes: u64) -> Result<Option<Contents>, CarbonError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let text = read(file, end_bytes).map_err(CarbonError::file("read", path))?;
    Ok(text.filter(|text| !HEADER.as_bytes().starts_with(&text.header)))
}

fn read(mut file: File, end_bytes: u64) -> io::Result<Option<Contents>> {
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    if length > end_bytes {
        let start = start_of(&mut file)?;
        header = first_line(&start).unwrap_or(&start).to_vec();
        file.seek(SeekFrom::Start(length - end_bytes))?;
    }
    if length.min(end_bytes) > MOST_BYTES {
        let message = format!("it is larger than {} MiB", MOST_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    // Room for its end too: what fits is read at once.
    let mut text = Vec::with_capacity(usize::try_from(length.min(end_bytes)).unwrap_or_default() + 64);
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    if text.is_empty() && header.is_empty() {
        return Ok(None);
    }
    // The whole file begins with its header, its end with the rest of a row.
    let first = first_line(&text).unwrap_or(&text).len();
    let rows = text.split_off(first);
    if header.is_empty() {
        header = text;
    }
    let header = header.strip_prefix(b"\xef\xbb\xbf".as_slice()).map(<[u8]>::to_vec).unwrap_or(header);
    Ok(Some(Contents { header, rows }))
}

/// Appends a row in one write, after dropping a last row that a crash cut short.
pub(super) fn append_row(path: &Path, columns: usize, row: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(END_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let whole = rows::whole(&end, columns, b',');
    let kept = skipped + whole.len() as u64;
    if kept < length {
        cut(path, kept)?;
    }
    let newline: &[u8] = if whole.ends_with(b"\n") { b"" } else { b"\n" };
    let written = file.write_all(&[newline, row].concat()).and_then(|()| file.sync_data());
    if written.is_err() {
        // Part of the row may be there; the write's own error is the one to report, and the next reader copes.
        let _ = cut(path, kept);
    }
    written
}

/// Renames `path` to `{name}.bak`, or `{name}_0.bak` and so on where that exists, as CodeCarbon's `backup` does.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, CarbonError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = (0..).map(|number: u64| format!("{name}_{number}.bak"));
    let mut candidates =
        std::iter::once(format!("{name}.bak")).chain(numbered).map(|name| path.with_file_name(name));
    let aside =
        candidates.find(|candidate| !candidate.exists()).unwrap_or_else(|| path.with_extension("bak"));
    fs::rename(path, &aside).map_err(CarbonError::file("rename", path))?;
    Ok(aside)
}

fn open(path: &Path) -> Result<Option<File>, CarbonError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CarbonError::file("read", path)(error)),
    }
}

fn start_of(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

/// The first line with its end.
fn first_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some(&text[..=end])
}

/// A handle of its own, because Windows lets none that appends cut a file.
fn cut(path: &Path, length: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(length)
}
