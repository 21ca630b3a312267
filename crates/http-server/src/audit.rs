//! The log of calls: one JSON line each, in greentune's home. Of arguments it has the ids of runs and places of projects.
//! Calls of tools are noted whether they come over HTTP or not.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Bytes after which a new file is begun; the one before is kept.
const LARGEST: u64 = 8 << 20;
/// Lines that wait for the disk at most.
const WAITING: usize = 4096;
/// How long the end of the process waits for lines.
const PATIENCE: Duration = Duration::from_secs(2);
/// Letters of a text that a client chose.
const LONGEST: usize = 200;
/// Arguments that are noted.
const NOTED: [&str; 5] = ["run_id", "job_id", "ast_run_id", "baseline_run_id", "project_path"];

/// The log of calls in greentune's home. A thread of its own writes; dropping the log waits a moment for it.
#[derive(Debug)]
pub struct AuditLog(AuditNotes);

/// Where calls are noted.
#[derive(Clone, Debug)]
pub struct AuditNotes {
    entries: SyncSender<Entry>,
    /// Lines that nobody had time to write.
    missed: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Answered when everything before it is written.
    Flush(Sender<()>),
}

impl AuditLog {
    /// The log in greentune's home folder `home`; touches no file before a call is noted.
    ///
    /// Errors: there is no thread for it.
    pub fn new(home: &Path) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(WAITING);
        let missed = Arc::default();
        let mut writer = Writer::new(home.join("audit").join("calls.jsonl"), Arc::clone(&missed));
        thread::Builder::new().name(String::from("audit")).spawn(move || writer.write_all(&waiting))?;
        Ok(Self(AuditNotes { entries, missed }))
    }

    /// Where calls are noted.
    pub fn notes(&self) -> AuditNotes {
        self.0.clone()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        let (written, is_written) = channel();
        if self.0.entries.try_send(Entry::Flush(written)).is_ok() {
            let _ = is_written.recv_timeout(PATIENCE);
        }
    }
}

impl AuditNotes {
    /// A call that begins now.
    pub fn begin(&self, call: &Call<'_>) -> Note {
        let time = Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
        let named = [
            ("time", Some(time.to_string())),
            ("account", Some(call.account.unwrap_or("local").to_owned())),
            ("transport", Some(call.transport.to_owned())),
            ("client", call.client.map(shortened)),
            ("tool", Some(shortened(call.tool))),
        ];
        let argument =
            |name| (name, call.arguments.and_then(|given| given.get(name)?.as_str()).map(shortened));
        let fields = named.into_iter().chain(NOTED.map(argument));
        let line = fields.filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?)))).collect();
        Note { notes: self.clone(), begun: Instant::now(), line, outcome: String::from("cut off") }
    }

    fn add(&self, line: &Map<String, Value>) {
        let line = serde_json::to_string(line).unwrap_or_default() + "\n";
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Who calls what.
#[derive(Clone, Copy, Debug)]
pub struct Call<'c> {
    /// Name of the caller's account; the user of this machine has none.
    pub account: Option<&'c str>,
    /// The way by which the call came, such as `stdio`.
    pub transport: &'c str,
    /// What the caller's program calls itself.
    pub client: Option<&'c str>,
    /// Name of the operation.
    pub tool: &'c str,
    /// Its arguments, of which only a few are noted.
    pub arguments: Option<&'c Map<String, Value>>,
}

/// A call that has begun. It is noted when it is dropped.
#[derive(Debug)]
pub struct Note {
    notes: AuditNotes,
    begun: Instant,
    line: Map<String, Value>,
    outcome: String,
}

impl Note {
    /// The call ended with `outcome`: `ok`, or the code of the problem.
    pub fn end(mut self, outcome: String) {
        self.outcome = outcome;
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let milliseconds = self.begun.elapsed().as_millis() as u64;
        self.line.insert(String::from("outcome"), std::mem::take(&mut self.outcome).into());
        self.line.insert(String::from("milliseconds"), milliseconds.into());
        self.notes.add(&self.line);
    }
}

fn shortened(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(LONGEST).collect()
}

/// Appends lines to the file.
struct Writer {
    file: PathBuf,
    missed: Arc<AtomicU64>,
    /// Whether the last lines could not be written, which is said once.
    is_failing: bool,
}

impl Writer {
    fn new(file: PathBuf, missed: Arc<AtomicU64>) -> Self {
        Self { file, missed, is_failing: false }
    }

    /// Writes what comes until nobody notes anything any more; what waits is written at once.
    fn write_all(&mut self, waiting: &Receiver<Entry>) {
        while let Ok(first) = waiting.recv() {
            let mut lines = String::new();
            let mut number = 0;
            for entry in std::iter::once(first).chain(waiting.try_iter().take(WAITING)) {
                match entry {
                    Entry::Line(line) => {
                        lines += &line;
                        number += 1;
                    }
                    Entry::Flush(written) => {
                        self.write(&std::mem::take(&mut lines), std::mem::take(&mut number));
                        let _ = written.send(());
                    }
                }
            }
            self.write(&lines, number);
        }
    }

    fn write(&mut self, lines: &str, number: u64) {
        if lines.is_empty() {
            return;
        }
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let mut text = String::new();
        if missed > 0 {
            // The line before may have been written in part.
            text = format!("\n{{\"time\":\"{}\",\"missed\":{missed}}}\n", Timestamp::now());
        }
        match self.append(&(text + lines)) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                self.missed.fetch_add(missed + number, Ordering::Relaxed);
                if !self.is_failing {
                    tracing::warn!(
                        "calls cannot be noted in {}: {error}; they are served",
                        self.file.display()
                    );
                }
                self.is_failing = true;
            }
        }
    }

    fn append(&self, text: &str) -> io::Result<()> {
        let mut file = self.open()?;
        if file.metadata()?.len() >= LARGEST && file.try_lock().is_ok() {
            // Another process may have begun a new file meanwhile.
            if fs::metadata(&self.file)?.len() >= LARGEST {
                fs::rename(&self.file, self.file.with_extension("jsonl.1"))?;
            }
            file = self.open()?;
        }
        file.write_all(text.as_bytes())
    }

    fn open(&self) -> io::Result<File> {
        let mut options = File::options();
        options.create(true).append(true);
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
            options.mode(0o600);
            folder.mode(0o700);
        }
        self.file.parent().map_or(Ok(()), |parent| folder.create(parent))?;
        options.open(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(text: &str) -> Map<String, Value> {
        json!({ "tool": text }).as_object().cloned().unwrap()
    }

    fn noted(home: &Path) -> Vec<Value> {
        let text = fs::read_to_string(home.join("audit/calls.jsonl")).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn lines_of_several_processes_stand_below_each_other() {
        let home = tempfile::tempdir().unwrap();
        let logs = [(); 3].map(|()| AuditLog::new(home.path()).unwrap());
        thread::scope(|scope| {
            for log in &logs {
                scope.spawn(|| (0..100).for_each(|_| log.notes().add(&line(&"x".repeat(300)))));
            }
        });
        drop(logs);
        assert_eq!(noted(home.path()).len(), 300);
    }

    #[test]
    fn what_cannot_be_written_is_counted_once_it_can() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("audit"), "in the way").unwrap();
        let log = AuditLog::new(home.path()).unwrap();
        log.notes().add(&line("a"));
        log.notes().add(&line("b"));
        let (written, is_written) = channel();
        log.0.entries.send(Entry::Flush(written)).unwrap();
        is_written.recv().unwrap();
        fs::remove_file(home.path().join("audit")).unwrap();
        log.notes().add(&line("c"));
        drop(log);
        let lines = noted(home.path());
        assert_eq!((&lines[0]["missed"], &lines[1]["tool"]), (&json!(2), &json!("c")));
    }

    #[test]
    fn a_file_that_is_full_is_kept_beside_a_new_one() {
        let home = tempfile::tempdir().unwrap();
        let (file, before) = (home.path().join("audit/calls.jsonl"), home.path().join("audit/calls.jsonl.1"));
        let log = AuditLog::new(home.path()).unwrap();
        log.notes().add(&line("a"));
        drop(log);
        File::options().append(true).open(&file).unwrap().set_len(LARGEST).unwrap();
        let log = AuditLog::new(home.path()).unwrap();
        log.notes().add(&line("b"));
        drop(log);
        assert_eq!(fs::metadata(&before).unwrap().len(), LARGEST);
        assert_eq!(noted(home.path()), [json!({ "tool": "b" })]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_not_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let log = AuditLog::new(home.path()).unwrap();
        log.notes().add(&line("a"));
        drop(log);
        let mode = |name: &str| fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("audit"), mode("audit/calls.jsonl")), (0o700, 0o600));
    }
}
