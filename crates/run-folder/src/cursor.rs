//! Whole lines of a file that grows, each read once.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

/// Bytes before the offset that are compared to tell whether the file is still the one that was read.
const REMEMBERED: usize = 64;
/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// Bytes of the longest line that is taken for one.
const LONGEST_LINE: usize = 64 << 20;

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Read the next one.
    GoOn,
    /// Stop behind this one.
    Stop,
}

/// A place between two lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it, where reading began at the front.
    pub lines: u64,
    /// The last bytes before it.
    remembered: Vec<u8>,
}

/// Reads whole lines; a line that is still being written is left for the next time.
#[derive(Debug)]
pub(crate) struct LineCursor {
    path: PathBuf,
    place: Place,
    identity: Option<(u64, u64)>,
}

impl LineCursor {
    /// A cursor at the front of the file at `path`, which need not exist yet.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), place: Place::default(), identity: None }
    }

    /// A cursor at `offset`, where a line begins.
    pub(crate) fn at(path: impl Into<PathBuf>, offset: u64) -> Self {
        Self { place: Place { offset, ..Place::default() }, ..Self::new(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place behind the last line that was read.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Opens the file; `None` when there is none. The flag says that it is not the file that was read so far (it was cut,
    /// replaced or removed): the cursor stands at its front then, and what was read of the other one is void.
    pub(crate) fn open(&mut self) -> io::Result<(Option<File>, bool)> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, self.restart())),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let identity = identity_of(&metadata);
        let is_same = (self.identity.is_none() || self.identity == identity)
            && metadata.len() >= self.place.offset
            && self.is_remembered(&mut file)?;
        let restarted = !is_same && self.restart();
        self.identity = identity;
        Ok((Some(file), restarted))
    }

    /// Hands every whole line of `file`, which [`Self::open`] returned, to `take`: the place before it, and the line without
    /// its newline.
    pub(crate) fn read(
        &mut self,
        mut file: File,
        mut take: impl FnMut(&Place, &[u8]) -> Then,
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.place.offset))?;
        let mut reader = BufReader::with_capacity(CHUNK, file);
        let mut begun: Vec<u8> = Vec::new();
        loop {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let mut used = 0;
            while let Some(length) = memchr::memchr(b'\n', &buffer[used..]) {
                let line = &buffer[used..used + length];
                used += length + 1;
                let then = if begun.is_empty() {
                    let then = take(&self.place, line);
                    self.advance(line);
                    then
                } else {
                    begun.extend_from_slice(line);
                    let line = std::mem::take(&mut begun);
                    let then = take(&self.place, &line);
                    self.advance(&line);
                    then
                };
                if then == Then::Stop {
                    return Ok(());
                }
            }
            begun.extend_from_slice(&buffer[used..]);
            if begun.len() > LONGEST_LINE {
                let message = format!("a line of more than {} MiB", LONGEST_LINE >> 20);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            let length = buffer.len();
            reader.consume(length);
        }
    }

    /// Steps over `line` and its newline.
    fn advance(&mut self, line: &[u8]) {
        self.place.offset += line.len() as u64 + 1;
        self.place.lines += 1;
        let kept = &line[line.len().saturating_sub(REMEMBERED - 1)..];
        self.place.remembered.clear();
        self.place.remembered.extend_from_slice(kept);
        self.place.remembered.push(b'\n');
    }

    /// Goes to the front; whether it was anywhere else.
    fn restart(&mut self) -> bool {
        self.identity = None;
        std::mem::take(&mut self.place).offset > 0
    }

    fn is_remembered(&self, file: &mut File) -> io::Result<bool> {
        let remembered = &self.place.remembered;
        let mut found = vec![0; remembered.len()];
        file.seek(SeekFrom::Start(self.place.offset - remembered.len() as u64))?;
        file.read_exact(&mut found)?;
        Ok(found == *remembered)
    }
}

/// Lines that cannot be read. In the middle of a file the first one is mentioned; at its end they may be about to be written,
/// or are what a crash tore, and are looked at again.
#[derive(Debug, Default)]
pub(crate) struct UnreadableLines {
    /// The place before the first of those with no readable line behind them so far.
    last: Option<Place>,
}

impl UnreadableLines {
    /// The line at `place` cannot be read.
    pub(crate) fn unreadable(&mut self, place: &Place) {
        self.last.get_or_insert_with(|| place.clone());
    }

    /// A line can be read; `first` is the number, from 1, of the first line of the file that could not.
    pub(crate) fn readable(&mut self, first: &mut Option<u64>) {
        if let Some(place) = self.last.take() {
            first.get_or_insert(place.lines + 1);
        }
    }

    /// The end of the file: `cursor` goes back to where it has yet to become readable.
    pub(crate) fn end(self, cursor: &mut LineCursor) {
        if let Some(place) = self.last {
            cursor.place = place;
        }
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // other systems have none
fn identity_of(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity_of(_metadata: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn lines(cursor: &mut LineCursor) -> (Vec<String>, bool) {
        let (file, restarted) = cursor.open().unwrap();
        let mut lines = Vec::new();
        if let Some(file) = file {
            let take = |_: &Place, line: &[u8]| {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
                Then::GoOn
            };
            cursor.read(file, take).unwrap();
        }
        (lines, restarted)
    }

    #[test]
    fn each_whole_line_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut cursor = LineCursor::new(&path);
        assert_eq!(lines(&mut cursor), (vec![], false));
        fs::write(&path, "a\nb\nhalf").unwrap();
        assert_eq!(lines(&mut cursor), (vec!["a".into(), "b".into()], false));
        assert_eq!(lines(&mut cursor), (vec![], false));
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b" of it\nc\n").unwrap();
        assert_eq!(lines(&mut cursor), (vec!["half of it".into(), "c".into()], false));
        assert_eq!(cursor.place().lines, 4);
    }

    #[test]
    fn a_file_that_is_cut_replaced_or_removed_is_read_from_its_front() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, "a\nb\nc\n").unwrap();
        let mut cursor = LineCursor::new(&path);
        lines(&mut cursor);
        fs::write(&path, "a\nb\n").unwrap();
        assert_eq!(lines(&mut cursor), (vec!["a".into(), "b".into()], true), "cut");
        // Cut, and longer again since.
        fs::write(&path, "a\nB\nc\nd\n").unwrap();
        assert_eq!(lines(&mut cursor).0.len(), 4, "cut and grown");
        let other = folder.path().join("other");
        fs::write(&other, "a\nB\nc\nd\ne\n").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(lines(&mut cursor).0.len(), 5, "replaced by one that begins alike");
        fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut cursor), (vec![], true));
    }

    #[test]
    fn lines_longer_than_a_chunk_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let long = "x".repeat(3 * CHUNK + 17);
        fs::write(&path, format!("a\n{long}\nb\n")).unwrap();
        let read = lines(&mut LineCursor::new(&path)).0;
        assert_eq!((read[0].as_str(), read[1].len(), read[2].as_str()), ("a", long.len(), "b"));
    }
}
