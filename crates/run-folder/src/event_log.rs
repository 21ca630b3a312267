//! `events.jsonl`: appending with numbers, repairing after a crash, reading what is new.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use greentune_core_config::event::{Event, EventKind};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Result, RunFolderError,
    cursor::{LineCursor, Then, UnreadableLines},
    numbers::{Numbered, Numbers},
};

/// Bytes below which a log is read from the front instead of searched.
const SEARCH_ABOVE: u64 = 64 * 1024;
/// Bytes at the end of a log in which its last line is looked for.
const LAST_LINE: u64 = 64 * 1024;

/// The log of a run, open for its one writer.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    length: u64,
    next_seq: u64,
}

/// A log as its next writer found it.
pub(crate) struct Opened {
    pub log: EventLog,
    /// The events in it.
    pub events: Vec<Event>,
    /// The first line, from 1, that could not be read.
    pub unreadable_line: Option<u64>,
}

impl EventLog {
    /// Opens or creates the log. A last line that a crash tore is cut off.
    pub(crate) fn open(path: &Path) -> Result<Opened> {
        let failed = |action| RunFolderError::file(action, path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        let mut reader = EventReader::new(path);
        let events = reader.next(usize::MAX)?.events;
        let length = reader.cursor.place().offset;
        if length < file.metadata().map_err(failed("read"))?.len() {
            file.set_len(length).map_err(failed("repair"))?;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed("read"))?;
        let log = Self { path: path.to_owned(), file, length, next_seq: reader.numbers.next() };
        Ok(Opened { log, events, unreadable_line: reader.unreadable_line })
    }

    /// Appends an event; `durable` waits until the disk has it.
    ///
    /// When the disk is full, what was written of the line is taken back and the log stays whole. Errors: as JSON has no
    /// such numbers, an event with one that is not finite is refused ([`RunFolderError::NotFinite`]), not written as what
    /// nobody can read again.
    pub(crate) fn append(&mut self, kind: EventKind, durable: bool) -> Result<Event> {
        let event = Event { seq: self.next_seq, at: Timestamp::now(), kind };
        let mut line = serde_json::to_vec(&event)
            .map_err(|error| RunFolderError::Internal(format!("an event cannot be JSON: {error}")))?;
        if serde_json::from_slice::<Event>(&line).is_err() {
            return Err(not_finite(&event));
        }
        line.push(b'\n');
        if let Err(source) = self.write(&line, durable) {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(RunFolderError::File { action: "write", path: self.path.clone(), source });
        }
        self.length += line.len() as u64;
        self.next_seq += 1;
        Ok(event)
    }

    /// Number of the last event; `None` before the first.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.next_seq.checked_sub(1)
    }

    fn write(&mut self, line: &[u8], durable: bool) -> io::Result<()> {
        self.file.write_all(line)?;
        if durable { self.file.sync_data() } else { Ok(()) }
    }
}

/// JSON has `null` where the number was.
fn not_finite(event: &Event) -> RunFolderError {
    fn nulls(value: &Value, fields: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if value.is_null() {
                fields.push(name.clone());
            }
            nulls(value, fields);
        }
        value.as_array().into_iter().flatten().for_each(|value| nulls(value, fields));
    }
    let value = serde_json::to_value(event).unwrap_or_default();
    let mut fields = Vec::new();
    nulls(&value, &mut fields);
    let event = value["kind"].as_str().unwrap_or_default().to_owned();
    RunFolderError::NotFinite { event, fields: fields.join(", ") }
}

/// Reads the events of a run in order, each once.
#[derive(Debug)]
pub struct EventReader {
    cursor: LineCursor,
    numbers: Numbers,
    unreadable_line: Option<u64>,
}

/// What an [`EventReader`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvents {
    /// The events since the last call.
    pub events: Vec<Event>,
    /// Whether the file was cut or replaced: these are its events from the front, and those of earlier calls are void.
    pub restarted: bool,
}

impl EventReader {
    /// A reader of the events at `path`, from the first. The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { cursor: LineCursor::new(path), numbers: Numbers::default(), unreadable_line: None }
    }

    /// Up to `limit` events that are new.
    ///
    /// Errors: the file cannot be read.
    pub fn next(&mut self, limit: usize) -> Result<NewEvents> {
        let mut new = NewEvents::default();
        let Self { cursor, numbers, unreadable_line } = self;
        let path = cursor.path().to_owned();
        let (file, restarted) = cursor.open().map_err(RunFolderError::file("read", &path))?;
        if restarted {
            (new.restarted, *numbers, *unreadable_line) = (true, Numbers::default(), None);
        }
        let Some(file) = file else { return Ok(new) };
        if limit == 0 {
            return Ok(new);
        }
        let mut unreadable = UnreadableLines::default();
        let read = cursor.read(file, |place, line| {
            match event_of(line).map(|event| (numbers.take(event.seq), event)) {
                None | Some((Numbered::Void, _)) => unreadable.unreadable(place),
                Some((numbered, event)) => {
                    new.events.push(event);
                    unreadable.readable(unreadable_line);
                    if numbered == Numbered::NewBehindDamage {
                        unreadable_line.get_or_insert(place.lines);
                    }
                }
            }
            if new.events.len() < limit { Then::GoOn } else { Then::Stop }
        });
        read.map_err(RunFolderError::file("read", &path))?;
        unreadable.end(cursor);
        Ok(new)
    }

    /// The first line, from 1, that could not be read, when other events stand behind it.
    pub fn unreadable_line(&self) -> Option<u64> {
        self.unreadable_line
    }
}

/// The event in `line`, unless it cannot be read, or has a figure that cannot be, such as an energy below 0.
pub(crate) fn event_of(line: &[u8]) -> Option<Event> {
    serde_json::from_slice(line).ok().filter(|event: &Event| event.kind.is_possible())
}

/// Up to `limit` events after the number `after`, or all events when it is `None`. There are none when there is no log
/// yet.
///
/// A line that is still being written is left for the next call. The time this takes does not grow with the events before.
///
/// Errors: the file cannot be read.
pub fn read_after(path: &Path, after: Option<u64>, limit: usize) -> Result<Vec<Event>> {
    let mut reader = EventReader::new(path);
    if let Some(after) = after {
        let offset = offset_before(path, after).map_err(RunFolderError::file("read", path))?;
        reader.cursor = LineCursor::at(path, offset);
    }
    let is_new = |event: &Event| after.is_none_or(|after| event.seq > after);
    let mut events: Vec<Event> = Vec::new();
    loop {
        let found = reader.next((limit - events.len()).max(1))?.events;
        if found.is_empty() || events.len() >= limit {
            return Ok(events);
        }
        events.extend(found.into_iter().filter(is_new));
    }
}

/// The number of the last event at `path`, read from the file's end; `None` where its last line is no event, or not whole.
///
/// Errors: the file cannot be read.
pub(crate) fn last_number(path: &Path) -> io::Result<Option<u64>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE)))?;
    file.take(LAST_LINE).read_to_end(&mut end)?;
    let line = end.strip_suffix(b"\n").map(|lines| match memchr::memrchr(b'\n', lines) {
        Some(before) => &lines[before + 1..],
        None => lines,
    });
    Ok(line.and_then(event_of).map(|event| event.seq))
}

/// A line's start at or before the event after `after`, found by bisection: the numbers rise line by line.
fn offset_before(path: &Path, after: u64) -> io::Result<u64> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while high - low > SEARCH_ABOVE {
        let middle = low + (high - low) / 2;
        reader.seek(SeekFrom::Start(middle))?;
        line.clear();
        let skipped = reader.read_until(b'\n', &mut line)? as u64;
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) if event.seq <= after => low = middle + skipped,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn warning(number: u64) -> EventKind {
        EventKind::Warning { code: "test.number".into(), message: format!("number {number}") }
    }

    fn log_of(count: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap().log;
        for number in 0..count {
            log.append(warning(number), false).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn numbers_go_on_after_reopening() {
        let (_folder, path) = log_of(3);
        let Opened { mut log, events, .. } = EventLog::open(&path).unwrap();
        assert_eq!(events.len(), 3);
        assert_eq!(log.append(warning(3), true).unwrap().seq, 3);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_kept() {
        let (_folder, path) = log_of(3);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let Opened { mut log, events, .. } = EventLog::open(&path).unwrap();
        assert_eq!(events.len(), 2);
        log.append(warning(2), false).unwrap();
        let numbers: Vec<_> = read_after(&path, None, 10).unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn a_garbled_last_line_is_cut_off() {
        let (_folder, path) = log_of(2);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([0, 0, 0, b'\n']);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(EventLog::open(&path).unwrap().events.len(), 2);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_mentioned_and_the_rest_is_read() {
        let (_folder, path) = log_of(5);
        let text = fs::read_to_string(&path).unwrap().replacen("\"seq\":1", "\"seq\":x", 1);
        let text = text.replacen("\"seq\":3", "\"seq\":x", 1);
        fs::write(&path, &text).unwrap();
        let numbers = |events: &[Event]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let opened = EventLog::open(&path).unwrap();
        assert_eq!((numbers(&opened.events), opened.unreadable_line), (vec![0, 2, 4], Some(2)));
        assert_eq!(opened.log.next_seq, 5);
        let mut reader = EventReader::new(&path);
        assert_eq!(numbers(&reader.next(2).unwrap().events), [0, 2]);
        assert_eq!(numbers(&reader.next(2).unwrap().events), [4]);
        assert_eq!(reader.unreadable_line(), Some(2));
        assert_eq!(numbers(&read_after(&path, Some(0), 10).unwrap()), [2, 4]);
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing was cut off");
    }

    #[test]
    fn a_line_that_is_being_written_is_not_read() {
        let (_folder, path) = log_of(3);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"seq\":3,").unwrap();
        assert_eq!(read_after(&path, None, 10).unwrap().len(), 3);
        assert_eq!(read_after(&path, Some(1), 10).unwrap()[0].seq, 2);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_and_named_and_the_log_goes_on() {
        use greentune_core_config::Diagnostic as _;
        let (_folder, path) = log_of(1);
        let mut log = EventLog::open(&path).unwrap().log;
        let evaluated = |perplexity| EventKind::Evaluated {
            stage: 1,
            step: 5,
            validation_loss: 800.0,
            perplexity,
            token_accuracy: 0.5,
        };
        for perplexity in [f64::INFINITY, f64::NAN] {
            let problem = log.append(evaluated(perplexity), false).unwrap_err().problem();
            assert_eq!(problem.code, "run.not_finite");
            assert!(
                problem.message.contains("perplexity") && problem.message.contains("evaluated"),
                "{problem}"
            );
        }
        log.append(evaluated(1e300), true).unwrap();
        let events = EventLog::open(&path).unwrap().events;
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].kind, evaluated(1e300));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        use greentune_core_config::{Diagnostic, ProblemKind};
        // Every write to this device fails as on a full disk.
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut log = EventLog { path, file, length: 0, next_seq: 0 };
        let problem = log.append(warning(0), true).unwrap_err().problem();
        assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Unavailable, "disk.full"));
        assert!(problem.message.contains("/dev/full"), "{}", problem.message);
        assert_eq!((log.length, log.next_seq), (0, 0), "the log stands as it was");
    }

    #[test]
    fn the_last_number_is_that_of_a_whole_last_line() {
        let (folder, path) = log_of(4000);
        assert_eq!(last_number(&path).unwrap(), Some(3999));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(last_number(&path).unwrap(), None, "it may still be written");
        fs::write(&path, [&whole[..], b"no event\n"].concat()).unwrap();
        assert_eq!(last_number(&path).unwrap(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(last_number(&path).unwrap(), None);
        assert_eq!(last_number(&folder.path().join("missing")).unwrap(), None);
    }

    #[test]
    fn bisection_finds_every_number_in_a_large_log() {
        let (_folder, path) = log_of(4000);
        assert!(fs::metadata(&path).unwrap().len() > 4 * SEARCH_ABOVE);
        for after in [0, 1, 777, 2500, 3998] {
            let events = read_after(&path, Some(after), 1).unwrap();
            assert_eq!(events[0].seq, after + 1);
        }
        assert!(read_after(&path, Some(3999), 1).unwrap().is_empty());
        assert_eq!(read_after(&path, None, 5000).unwrap().len(), 4000);
    }
}
