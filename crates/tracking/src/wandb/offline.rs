//! A run as the folder that Weights & Biases' own client writes offline and `wandb sync` sends.
//!
//! `run-{id}.wandb` is a log of records in blocks of 32 KiB, as LevelDB's, with zlib's CRC-32; each record is a
//! `wandb_internal.Record`. The file is a function of the run's events, so that what is appended twice after a crash
//! is cut off first.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use greentune_core_config::{event::EventKind, layout::RunLayout, manifest::RunManifest, settings::Settings};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Tracker, TrackingError,
    events::{EventFile, QueuedEvent, stage_of},
    metrics,
    proto::Message,
    sink::{self, Sink},
    state, wandb,
};

/// Bytes of a block.
const BLOCK: usize = 32768;
/// Bytes before each piece of a record: checksum, length, kind.
const PIECE_HEADER: usize = 7;
/// `:W&B`, magic number, version.
const FILE_HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

/// What the folder has of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The folder, relative to the project.
    folder: PathBuf,
    next_seq: u64,
    /// Bytes of the log without what closes it, which a resumed run takes off again.
    length: u64,
    /// Records in those bytes.
    records: u64,
}

/// A run on its way into a folder of Weights & Biases.
pub(crate) struct FolderSink {
    pub(super) layout: RunLayout,
    pub(super) manifest: RunManifest,
    pub(super) project: String,
    pub(super) entity: Option<String>,
    state_file: PathBuf,
    state: State,
    notes: Vec<TrackingError>,
}

impl FolderSink {
    pub(crate) fn new(
        layout: &RunLayout,
        manifest: &RunManifest,
        project: &str,
        settings: &Settings,
    ) -> Result<Self, TrackingError> {
        let state_file = sink::state_file(layout, "wandb");
        Ok(Self {
            layout: layout.clone(),
            manifest: manifest.clone(),
            project: project.to_owned(),
            entity: settings.wandb.entity.clone(),
            state: state::read(&state_file)?,
            state_file,
            notes: Vec::new(),
        })
    }

    fn folder(&self) -> PathBuf {
        self.layout.project().root().join(&self.state.folder)
    }

    fn log(&self) -> PathBuf {
        self.folder().join(format!("run-{}.wandb", self.layout.run_id()))
    }

    /// The file that tells the client how much it has sent, so that it does not send it again.
    fn mark(&self) -> PathBuf {
        self.log().with_added_extension("synced")
    }

    /// Brings the folder up to the run's last event.
    pub(super) fn catch_up(&mut self) -> Result<(), TrackingError> {
        let from = self.open()?;
        let events = EventFile::new(self.layout.events()).next(from, usize::MAX)?;
        self.send(&events)
    }

    /// Keeps the client from sending a folder whose rows are there already.
    pub(super) fn mark_as_sent(&self) -> Result<(), TrackingError> {
        let mark = self.mark();
        if self.state.length == 0 || mark.exists() || !self.log().is_file() {
            return Ok(());
        }
        fs::write(&mark, "").map_err(TrackingError::file("write", &mark))
    }

    /// Puts `records` behind the acknowledged ones, and `closing` behind those without acknowledging them.
    fn append(
        &mut self,
        records: &[Message],
        closing: &[Message],
        next_seq: u64,
    ) -> Result<(), TrackingError> {
        let mut log = Log { bytes: Vec::new(), start: self.state.length, records: self.state.records };
        for record in records {
            log.push(record);
        }
        let (length, count) = (self.state.length + log.bytes.len() as u64, log.records);
        for record in closing {
            log.push(record);
        }
        let path = self.log();
        let failed = || TrackingError::file("write", &path);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed())?;
        let written = file
            .set_len(self.state.length)
            .and_then(|()| file.seek(SeekFrom::Start(self.state.length)))
            .and_then(|_| file.write_all(&log.bytes))
            .and_then(|()| file.sync_all());
        written.map_err(failed())?;
        let synced = self.mark();
        match fs::remove_file(&synced) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TrackingError::file("remove", &synced)(error));
            }
            _ => {}
        }
        self.state = State { length, records: count, next_seq, ..self.state.clone() };
        state::write(&self.state_file, &self.state)
    }

    /// The first records: what the run is, and that each stage is plotted over its own steps.
    fn head(&self) -> Result<Vec<Message>, TrackingError> {
        let flat = sink::parameters(&self.manifest.settings)
            .map_err(|error| TrackingError::damaged(&self.layout.manifest(), error))?;
        let config = flat.iter().map(|(key, value)| item(key, value));
        let created = self.manifest.created_at;
        let start = Message::new()
            .integer(1, created.as_second().unsigned_abs())
            .integer(2, u64::from(created.subsec_nanosecond().unsigned_abs()));
        let mut run = Message::new().text(1, &self.layout.run_id());
        if let Some(entity) = &self.entity {
            run = run.text(2, entity);
        }
        run = run
            .text(3, &self.project)
            .message(4, &Message::new().messages(1, config))
            .text(8, &self.manifest.run_name)
            .message(17, &start);
        if let Some(revision) = &self.manifest.git_revision {
            run = run.message(21, &Message::new().text(2, revision));
        }
        let axes = self.manifest.stages.iter().map(|stage| {
            let (all, step) = (format!("stage{}_*", stage.stage), wandb::step_key(stage.stage));
            Message::new().message(12, &Message::new().text(2, &all).text(4, &step))
        });
        let header = Message::new().message(21, &Message::new());
        Ok([header, Message::new().message(17, &run)].into_iter().chain(axes).collect())
    }

    /// The history record of an event; `None` where it has no figures.
    fn record(&mut self, noted: &QueuedEvent) -> Option<Message> {
        let row = wandb::row(noted, &self.layout, &self.manifest);
        let row = row.map_err(|error| self.notes.push(error)).ok()??;
        let items = row.iter().map(|(key, value)| item(key, value));
        let step = Message::new().integer(1, noted.event.seq);
        Some(Message::new().message(2, &Message::new().messages(1, items).message(2, &step)))
    }

    /// Copies the emissions of `stage` into the folder; the record that names them.
    fn files(&self, stage: u8) -> Result<Option<Message>, TrackingError> {
        let mut named = Vec::new();
        for (file, place) in sink::emission_files(&self.layout, stage) {
            let target = self.folder().join("files").join(&place);
            let folder = target.parent().unwrap_or(&target);
            fs::create_dir_all(folder).map_err(TrackingError::file("create", folder))?;
            fs::copy(&file, &target).map_err(TrackingError::file("write", &target))?;
            // Policy 1: sent at the end.
            named.push(Message::new().text(1, &place).integer(2, 1));
        }
        Ok((!named.is_empty()).then(|| Message::new().message(6, &Message::new().messages(1, named))))
    }

    /// The records that close the log when `kind` ends the run: last figures and how it ended.
    fn closing(&self, last: &QueuedEvent) -> Result<Vec<Message>, TrackingError> {
        let Some(exit_code) = wandb::exit_code(&last.event.kind) else { return Ok(Vec::new()) };
        let mut figures = BTreeMap::new();
        for noted in EventFile::new(self.layout.events()).next(0, usize::MAX)? {
            if noted.event.seq > last.event.seq {
                break;
            }
            // A CSV that cannot be read is a note of its row already.
            for metric in metrics::of(&noted, &self.layout, true).unwrap_or_default() {
                figures.insert(metric.key, metric.value);
            }
        }
        let items = figures.iter().map(|(key, value)| item(key, &metrics::json(*value)));
        let summary = Message::new().message(3, &Message::new().messages(1, items));
        let seconds = last.event.at.duration_since(self.manifest.created_at).as_secs().unsigned_abs();
        let exit = Message::new().message(18, &Message::new().integer(1, exit_code).integer(2, seconds));
        Ok(vec![summary, exit])
    }
}

impl Sink for FolderSink {
    fn tracker(&self) -> &'static str {
        Tracker::Wandb.name()
    }

    fn place(&self) -> Option<String> {
        (self.state.length > 0).then(|| self.folder().display().to_string())
    }

    fn then(&self) -> Option<String> {
        Some(format!("wandb sync {}", self.place()?))
    }

    fn open(&mut self) -> Result<u64, TrackingError> {
        if self.state.length > 0 && self.log().is_file() {
            return Ok(self.state.next_seq);
        }
        let id = self.layout.run_id();
        let created = self.manifest.created_at.strftime("%Y%m%d_%H%M%S");
        self.state =
            State { folder: PathBuf::from(format!("wandb/offline-run-{created}-{id}")), ..State::default() };
        let folder = self.folder().join("files");
        fs::create_dir_all(&folder).map_err(TrackingError::file("create", &folder))?;
        let head = self.head()?;
        self.append(&head, &[], 0)?;
        Ok(0)
    }

    fn send(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError> {
        let Some(last) = events.last() else { return Ok(()) };
        let mut records = Vec::new();
        for noted in events {
            records.extend(self.record(noted));
            let stage = stage_of(&noted.event.kind);
            if let (EventKind::StageFinished { .. } | EventKind::Cancelled { .. }, Some(stage)) =
                (&noted.event.kind, stage)
            {
                records.extend(self.files(stage)?);
            }
        }
        let closing = self.closing(last)?;
        self.append(&records, &closing, last.event.seq + 1)
    }

    fn notes(&mut self) -> Vec<TrackingError> {
        std::mem::take(&mut self.notes)
    }

    fn acknowledged(&self) -> u64 {
        self.state.next_seq
    }
}

/// The log from byte `start` on.
struct Log {
    bytes: Vec<u8>,
    start: u64,
    records: u64,
}

impl Log {
    /// Appends a record: numbered, in pieces that do not cross blocks.
    fn push(&mut self, record: &Message) {
        if self.start == 0 && self.bytes.is_empty() {
            self.bytes.extend_from_slice(&FILE_HEADER);
        }
        self.records += 1;
        let numbered = record.clone().integer(1, self.records);
        let mut rest = numbered.as_bytes();
        let mut first = true;
        loop {
            let mut room = BLOCK - (self.start as usize + self.bytes.len()) % BLOCK;
            if room < PIECE_HEADER {
                self.bytes.resize(self.bytes.len() + room, 0);
                room = BLOCK;
            }
            let (piece, after) = rest.split_at(rest.len().min(room - PIECE_HEADER));
            let kind = match (first, after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.piece(kind, piece);
            if after.is_empty() {
                break;
            }
            (rest, first) = (after, false);
        }
    }

    fn piece(&mut self, kind: u8, data: &[u8]) {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind]);
        checksum.update(data);
        self.bytes.extend_from_slice(&checksum.finalize().to_le_bytes());
        self.bytes.extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend_from_slice(data);
    }
}

/// `{key = 1, value_json = 16}`, the shape of items in history, summary and config.
fn item(key: &str, value: &Value) -> Message {
    Message::new().text(1, key).text(16, &value.to_string())
}
