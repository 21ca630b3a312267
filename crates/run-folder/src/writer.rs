//! The one writer of a run's folder: the worker at work on it.
//!
//! `events.jsonl` has exactly one terminal event per attempt: a run that is resumed after `failed` or `cancelled` goes on with
//! a new `started` behind it, and the last terminal event is the run's.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use greentune_core_config::{
    Problem,
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
};

use crate::{
    Result, RunFolderError,
    event_log::{EventLog, Opened},
    fold::{fold, note_artifacts},
    heartbeat::{Heartbeat, MemoryBeat},
    lock, manifest,
    view::{UNREADABLE, unreadable_in_words},
};

/// A run's folder, locked and open for its worker. Nobody else can begin on the run until it is finished or dropped.
#[derive(Debug)]
pub struct RunWriter {
    layout: RunLayout,
    manifest: RunManifest,
    log: EventLog,
    has_ended: bool,
    heartbeat: Heartbeat,
    _lock: File,
}

impl RunWriter {
    /// Takes the run in `run_folder`: locks it, repairs its events, marks it running; the events that were there. `memory`
    /// measures memory at each heartbeat.
    ///
    /// Errors: another worker holds it ([`RunFolderError::AlreadyRunning`]); its manifest is damaged or of a newer format.
    pub fn begin(run_folder: &Path, memory: fn() -> MemoryBeat) -> Result<(Self, Vec<Event>)> {
        let folder = fs::canonicalize(run_folder).map_err(RunFolderError::file("open", run_folder))?;
        let layout = RunLayout::at(&folder).ok_or_else(|| RunFolderError::NotARun(folder.clone()))?;
        let lock = lock::take(&layout)?;
        greentune_durable::sweep(layout.folder());
        let mut manifest = manifest::read(&layout)?;
        if manifest.status != RunStatus::Queued {
            // Who queues a run clears old requests; a request since then is meant for this worker.
            clear_cancel_request(&layout)?;
        }
        let Opened { log, events, unreadable_line } = EventLog::open(&layout.events())?;
        // What the manifest has seen is in it, though its line in the log may be damaged since.
        let seen = manifest.last_seq;
        for event in events.iter().filter(|event| seen.is_none_or(|seen| event.seq > seen)) {
            fold(&mut manifest, event);
        }
        manifest.status = RunStatus::Running;
        manifest.problem = None;
        manifest.pid = Some(std::process::id());
        let heartbeat = Heartbeat::start(&layout, memory)?;
        let mut writer = Self { layout, manifest, log, has_ended: false, heartbeat, _lock: lock };
        writer.write_manifest()?;
        writer.mention_unreadable(unreadable_line, &events)?;
        Ok((writer, events))
    }

    /// Says once that a line of the log cannot be read.
    fn mention_unreadable(&mut self, line: Option<u64>, events: &[Event]) -> Result<()> {
        let is_told =
            |event: &Event| matches!(&event.kind, EventKind::Warning { code, .. } if code == UNREADABLE);
        match line {
            Some(line) if !events.iter().any(is_told) => self.append(EventKind::Warning {
                code: String::from(UNREADABLE),
                message: unreadable_in_words(line),
            }),
            _ => Ok(()),
        }
    }

    /// The run's manifest, with every event folded in.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// Where the run's files are.
    pub fn layout(&self) -> &RunLayout {
        &self.layout
    }

    /// Whether the terminal event of this attempt is written.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends an event, and writes the manifest where the event changes what it says.
    ///
    /// Errors: it cannot be written (a full disk, a number that is not finite); the log stays whole then.
    pub fn append(&mut self, kind: EventKind) -> Result<()> {
        if self.has_ended {
            return Err(RunFolderError::Internal(String::from(
                "an event was reported after the terminal one",
            )));
        }
        let weight = Weight::of(&kind);
        let event = self.log.append(kind, weight >= Weight::Durable)?;
        self.has_ended = event.kind.is_terminal();
        fold(&mut self.manifest, &event);
        if weight == Weight::Manifest && !self.has_ended { self.write_manifest() } else { Ok(()) }
    }

    /// Lets the run go: the last manifest, no process id, no request to cancel. `problem` is why the terminal event could not
    /// be written; the run has failed with it then. Returns where the run stands.
    ///
    /// Errors: the manifest cannot be written.
    pub fn finish(mut self, problem: Option<Problem>) -> Result<RunStatus> {
        if let Some(problem) = problem {
            self.manifest.status = RunStatus::Failed;
            self.manifest.problem = Some(problem);
        }
        self.heartbeat.stop();
        let cleared = clear_cancel_request(&self.layout);
        self.manifest.pid = None;
        self.write_manifest()?;
        cleared?;
        Ok(self.manifest.status)
    }

    fn write_manifest(&mut self) -> Result<()> {
        note_artifacts(&mut self.manifest, &self.layout);
        self.manifest.last_seq = self.log.last_seq();
        manifest::write(&self.layout, &mut self.manifest)
    }
}

/// How durably an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is handed to the operating system.
    Flushed,
    /// The disk has it.
    Durable,
    /// And the manifest says so too.
    Manifest,
}

impl Weight {
    fn of(kind: &EventKind) -> Self {
        match kind {
            EventKind::Step(_) | EventKind::Emissions(_) | EventKind::Evaluated { .. } => Self::Flushed,
            EventKind::Started { .. } | EventKind::Warning { .. } => Self::Durable,
            _ => Self::Manifest,
        }
    }
}

/// Takes back a request to cancel the run at `layout`.
///
/// Errors: the request cannot be removed.
pub fn clear_cancel_request(layout: &RunLayout) -> Result<()> {
    let path = layout.cancel_request();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RunFolderError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Asks the worker of the run at `layout` to end at its next step.
///
/// Errors: the request cannot be written.
pub fn request_cancel(layout: &RunLayout) -> Result<()> {
    let path = layout.cancel_request();
    fs::write(&path, b"").map_err(RunFolderError::file("write", path))
}
