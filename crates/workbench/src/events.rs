//! `events.jsonl`: appending with numbers, repairing after a crash, reading after a number.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use greentune_core_config::event::{Event, EventKind};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Result, WorkbenchError};

/// Bytes below which a log is read from the front instead of searched.
const SEARCH_ABOVE: u64 = 64 * 1024;

/// The log of a run, open for its one writer.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    length: u64,
    next_seq: u64,
}

impl EventLog {
    /// Opens or creates the log and returns the events in it.
    ///
    /// A last line that a crash tore is cut off. Errors: a broken line elsewhere is [`WorkbenchError::Damaged`].
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Event>)> {
        let failed = |action| WorkbenchError::file(action, path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let (events, length) = whole_lines(path, &bytes)?;
        if length < bytes.len() as u64 {
            file.set_len(length).map_err(failed("repair"))?;
        }
        file.seek(SeekFrom::Start(length)).map_err(failed("read"))?;
        let next_seq = events.last().map_or(0, |event| event.seq + 1);
        Ok((Self { path: path.to_owned(), file, length, next_seq }, events))
    }

    /// Appends an event; `durable` waits until the disk has it.
    ///
    /// When the disk is full, what was written of the line is taken back and the log stays whole. Errors: as JSON has no
    /// such numbers, an event with one that is not finite is refused ([`WorkbenchError::NotFinite`]), not written as what
    /// nobody can read again.
    pub(crate) fn append(&mut self, kind: EventKind, durable: bool) -> Result<Event> {
        let event = Event { seq: self.next_seq, at: Timestamp::now(), kind };
        let mut line = serde_json::to_vec(&event)
            .map_err(|error| WorkbenchError::Internal(format!("an event cannot be JSON: {error}")))?;
        if serde_json::from_slice::<Event>(&line).is_err() {
            return Err(not_finite(&event));
        }
        line.push(b'\n');
        if let Err(source) = self.write(&line, durable) {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(WorkbenchError::File { action: "write", path: self.path.clone(), source });
        }
        self.length += line.len() as u64;
        self.next_seq += 1;
        Ok(event)
    }

    fn write(&mut self, line: &[u8], durable: bool) -> io::Result<()> {
        self.file.write_all(line)?;
        if durable { self.file.sync_data() } else { Ok(()) }
    }
}

/// JSON has `null` where the number was.
fn not_finite(event: &Event) -> WorkbenchError {
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
    WorkbenchError::NotFinite { event, fields: fields.join(", ") }
}

/// The events of a log that stands whole, and the bytes they take.
fn whole_lines(path: &Path, bytes: &[u8]) -> Result<(Vec<Event>, u64)> {
    let mut events = Vec::new();
    let mut length = 0;
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    for line in bytes[..end].split_inclusive(|&byte| byte == b'\n') {
        match serde_json::from_slice::<Event>(line) {
            Ok(event) if event.seq == events.len() as u64 => events.push(event),
            // A crash of the machine may leave garbage in the last line, newline included.
            _ if length + line.len() == end => break,
            Ok(event) => return Err(damaged(path, events.len(), &format!("number {} there", event.seq))),
            Err(error) => return Err(damaged(path, events.len(), &error.to_string())),
        }
        length += line.len();
    }
    Ok((events, length as u64))
}

fn damaged(path: &Path, lines_before: usize, reason: &str) -> WorkbenchError {
    WorkbenchError::Damaged { path: path.to_owned(), reason: format!("line {}: {reason}", lines_before + 1) }
}

/// Up to `limit` events after the number `after`, all when it is `None`; none when there is no log yet.
///
/// A line that is still being written is left for the next call.
pub(crate) fn read_after(path: &Path, after: Option<u64>, limit: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    read_from(path, after, |event| {
        if after.is_none_or(|after| event.seq > after) {
            events.push(event);
        }
        events.len() < limit
    })?;
    Ok(events)
}

/// The last event; `None` when there is none yet.
pub(crate) fn last(path: &Path) -> Result<Option<Event>> {
    let mut last = None;
    read_from(path, Some(u64::MAX), |event| {
        last = Some(event);
        true
    })?;
    Ok(last)
}

/// Hands whole events to `take` until it has enough, from somewhere at or before the one after `after`.
fn read_from(path: &Path, after: Option<u64>, mut take: impl FnMut(Event) -> bool) -> Result<()> {
    let failed = |action| WorkbenchError::file(action, path);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed("open"))?,
    };
    let mut reader = BufReader::new(file);
    if let Some(after) = after {
        let offset = offset_before(&mut reader, after).map_err(failed("read"))?;
        reader.seek(SeekFrom::Start(offset)).map_err(failed("read"))?;
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(failed("read"))?;
        // A torn or garbled end is repaired by the next worker; what stands before it is good.
        let Some(event) = complete(&line) else { return Ok(()) };
        if !take(event) {
            return Ok(());
        }
    }
}

/// A line's start at or before the event after `after`, found by bisection: the numbers rise line by line.
fn offset_before(reader: &mut BufReader<File>, after: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, reader.get_ref().metadata()?.len());
    let mut line = Vec::new();
    while high - low > SEARCH_ABOVE {
        let middle = low + (high - low) / 2;
        reader.seek(SeekFrom::Start(middle))?;
        line.clear();
        let skipped = reader.read_until(b'\n', &mut line)? as u64;
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        match complete(&line) {
            Some(event) if event.seq <= after => low = middle + skipped,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn complete(line: &[u8]) -> Option<Event> {
    line.ends_with(b"\n").then(|| serde_json::from_slice(line).ok()).flatten()
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
        let (mut log, _) = EventLog::open(&path).unwrap();
        for number in 0..count {
            log.append(warning(number), false).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn numbers_go_on_after_reopening() {
        let (_folder, path) = log_of(3);
        let (mut log, events) = EventLog::open(&path).unwrap();
        assert_eq!(events.len(), 3);
        assert_eq!(log.append(warning(3), true).unwrap().seq, 3);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_kept() {
        let (_folder, path) = log_of(3);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let (mut log, events) = EventLog::open(&path).unwrap();
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
        assert_eq!(EventLog::open(&path).unwrap().1.len(), 2);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let (_folder, path) = log_of(3);
        let text = fs::read_to_string(&path).unwrap().replacen("\"seq\":1", "\"seq\":x", 1);
        fs::write(&path, text).unwrap();
        let message = EventLog::open(&path).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn a_line_that_is_being_written_is_not_read() {
        let (_folder, path) = log_of(3);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"seq\":3,").unwrap();
        assert_eq!(read_after(&path, None, 10).unwrap().len(), 3);
        assert_eq!(last(&path).unwrap().unwrap().seq, 2);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_and_named_and_the_log_goes_on() {
        use greentune_core_config::Diagnostic as _;
        let (_folder, path) = log_of(1);
        let (mut log, _) = EventLog::open(&path).unwrap();
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
        let events = EventLog::open(&path).unwrap().1;
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
    fn bisection_finds_every_number_in_a_large_log() {
        let (_folder, path) = log_of(4000);
        assert!(fs::metadata(&path).unwrap().len() > 4 * SEARCH_ABOVE);
        for after in [0, 1, 777, 2500, 3998] {
            let events = read_after(&path, Some(after), 1).unwrap();
            assert_eq!(events[0].seq, after + 1);
        }
        assert!(read_after(&path, Some(3999), 1).unwrap().is_empty());
        assert_eq!(read_after(&path, None, 5000).unwrap().len(), 4000);
        assert_eq!(last(&path).unwrap().unwrap().seq, 3999);
    }
}
