//! A run as its files describe it now, kept up to date at the cost of what is new.

mod steps;

use std::collections::{BTreeMap, VecDeque};

use greentune_core_config::{
    Problem,
    event::{Event, EventKind, StepMetrics},
    layout::RunLayout,
    manifest::{RunManifest, RunStatus, StageRecord},
    platform::{JobState, PlatformKind},
    selection::SelectionSoFar,
};
use greentune_durable::Stamp;
use jiff::Timestamp;

use self::steps::{StepLines, number_of_step};
use crate::{
    Liveness, Result, RunFolderError,
    cursor::{LineCursor, Then, UnreadableLines},
    event_log::{event_of, last_number},
    fold::fold,
    heartbeat::last_beat,
    manifest,
    numbers::{Numbered, Numbers},
    progress::{RecentSteps, remaining_seconds},
    samples, status,
    status::terminal_status,
    summary::{self, RunSummary},
};

/// Times that the files are read again because they changed while they were read.
const ATTEMPTS: usize = 20;
/// Warnings that are kept, the newest.
const WARNINGS: usize = 1000;

/// A run as its files describe it, with the status derived. [`Self::refresh`] reads what is new.
///
/// It holds what a look at a run needs; who wants every event reads them ([`crate::Run`], [`crate::read_after`]).
#[derive(Debug)]
pub struct RunView {
    layout: RunLayout,
    manifest: RunManifest,
    file: ManifestFile,
    cursor: LineCursor,
    seen: Seen,
    steps: StepLines,
    contact: Option<Problem>,
}

/// What `run-manifest.json` says that the events do not.
#[derive(Debug)]
struct ManifestFile {
    stamp: Stamp,
    status: RunStatus,
    problem: Option<Problem>,
    format_version: u32,
    last_seq: Option<u64>,
    updated_at: Timestamp,
    stages: Vec<StageRecord>,
}

/// The last evaluation while training.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss of the validation samples, in nats.
    pub validation_loss: f64,
    /// exp(validation_loss); of a language model.
    pub perplexity: Option<f64>,
    /// Share of labelled tokens, or of images, that are predicted right, in `[0, 1]`.
    pub accuracy: f64,
    /// Epochs in all; of an image classifier.
    pub total_epochs: Option<u64>,
}

/// What the events say besides what is folded into the manifest.
#[derive(Debug, Default)]
struct Seen {
    numbers: Numbers,
    /// The last `started` or terminal event.
    turn: Option<Turn>,
    device: Option<String>,
    started_at: Option<Timestamp>,
    evaluation: Option<Evaluation>,
    warnings: VecDeque<String>,
    train_records: BTreeMap<u8, u64>,
    last_step: Option<StepMetrics>,
    recent: RecentSteps,
    unreadable_line: Option<u64>,
    unreadable_is_told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    seq: u64,
    at: Timestamp,
    status: RunStatus,
}

impl RunView {
    /// Reads the run at `layout`; `liveness` answers for its platform.
    ///
    /// Errors: its files cannot be read or understood.
    pub fn open(layout: RunLayout, liveness: &dyn Liveness) -> Result<Self> {
        let mut view = Self::of_manifest(layout)?;
        view.look(liveness)?;
        Ok(view)
    }

    /// The run at `layout` in short, when its manifest is enough for that: it says that the run has ended, and has seen the
    /// last of its events. `None` where the events have to be read.
    ///
    /// Errors: its files cannot be read or understood.
    pub fn summary_of_ended(layout: RunLayout) -> Result<Option<RunSummary>> {
        let mut view = Self::of_manifest(layout)?;
        let events = view.layout.events();
        let last = last_number(&events).map_err(RunFolderError::file("read", &events))?;
        let known = view.file.last_seq.filter(|known| !view.file.status.is_active() && last == Some(*known));
        let Some(last) = known else { return Ok(None) };
        view.seen.numbers.take(last);
        view.settle(None);
        Ok(Some(view.summary()))
    }

    /// The run at `layout` as its manifest has it, of which no event was read yet.
    fn of_manifest(layout: RunLayout) -> Result<Self> {
        let (stamp, manifest) = read_manifest(&layout)?;
        Ok(Self {
            file: ManifestFile::of(stamp, &manifest),
            cursor: LineCursor::new(layout.events()),
            seen: Seen::default(),
            steps: StepLines::default(),
            contact: None,
            layout,
            manifest,
        })
    }

    /// Reads what is new since the last look.
    ///
    /// Errors: as of [`Self::open`]; the view stays as it was at its last look then, as far as it is known.
    pub fn refresh(&mut self, liveness: &dyn Liveness) -> Result<()> {
        self.read_manifest_again()?;
        self.look(liveness)
    }

    /// Where the run's files are.
    pub fn layout(&self) -> &RunLayout {
        &self.layout
    }

    /// The manifest, with the events folded in and the derived status.
    pub fn manifest(&self) -> &RunManifest {
        &self.manifest
    }

    /// Where the run stands.
    pub fn status(&self) -> RunStatus {
        self.manifest.status
    }

    /// The last optimizer step.
    pub fn last_step(&self) -> Option<&StepMetrics> {
        self.seen.last_step.as_ref()
    }

    /// The last evaluation while training.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.seen.evaluation.as_ref()
    }

    /// The device that trains.
    pub fn device(&self) -> Option<&str> {
        self.seen.device.as_deref()
    }

    /// When the present attempt began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.seen.started_at
    }

    /// When the run ended; of one that broke off, the last sign of its worker. `None` while it is not at its end.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let (written_at, turn) = (self.file.updated_at, self.seen.turn);
        match self.status() {
            RunStatus::NotStarted | RunStatus::Queued | RunStatus::Running => None,
            RunStatus::Interrupted => {
                [Some(written_at), turn.map(|turn| turn.at), last_beat(&self.layout)].into_iter().max()?
            }
            status => Some(turn.filter(|turn| turn.status == status).map_or(written_at, |turn| turn.at)),
        }
    }

    /// Number of the last event.
    pub fn last_seq(&self) -> Option<u64> {
        self.seen.numbers.next().checked_sub(1)
    }

    /// The run's warnings, the newest last: those that its worker wrote, that events cannot be read, and that the platform
    /// cannot be asked.
    pub fn warnings(&self) -> Vec<String> {
        let seen = &self.seen;
        let unreadable = seen.unreadable_line.filter(|_| !seen.unreadable_is_told);
        let unreadable = unreadable.map(unreadable_in_words);
        let contact = self.contact.as_ref().map(|problem| {
            format!("no contact with the platform {}: {}", self.manifest.platform.kind, problem.message)
        });
        seen.warnings
            .iter()
            .cloned()
            .chain(unreadable)
            .chain(self.missing_in_words())
            .chain(contact)
            .collect()
    }

    /// What is said of the run's events where they are damaged.
    pub fn damage(&self) -> Vec<String> {
        let unreadable = self.seen.unreadable_line.map(unreadable_in_words);
        unreadable.into_iter().chain(self.missing_in_words()).collect()
    }

    fn missing_in_words(&self) -> Option<String> {
        self.events_are_missing().then(|| {
            String::from("the end of events.jsonl is missing; the figures of the stages are the manifest's")
        })
    }

    /// Whether the manifest has seen events that the log does not have any more.
    fn events_are_missing(&self) -> bool {
        self.file.last_seq.is_some_and(|last| last >= self.seen.numbers.next())
    }

    /// Why the platform could not be asked at the last look.
    pub fn contact_problem(&self) -> Option<&Problem> {
        self.contact.as_ref()
    }

    /// Seconds per record over the last steps of the present attempt.
    pub fn seconds_per_record(&self) -> Option<f64> {
        self.seen.recent.seconds_per_record(&self.manifest)
    }

    /// Seconds until every stage that was asked for is trained, at the present pace; `None` when the run does not train, and
    /// before its pace is known.
    pub fn remaining_seconds(&self) -> Option<f64> {
        let pace = self.seconds_per_record().filter(|_| self.status() == RunStatus::Running)?;
        Some(remaining_seconds(&self.manifest, pace))
    }

    /// Whether the run's events say that it has ended and the manifest here does not yet: its worker is on another machine.
    pub fn has_ended_elsewhere(&self) -> bool {
        self.manifest.platform.kind != PlatformKind::Local
            && self.file.status.is_active()
            && self.seen.turn.is_some_and(|turn| turn.status == self.manifest.status)
            && !self.manifest.status.is_active()
    }

    /// Training records of a stage, as its last start counted them.
    pub fn train_records(&self, stage: u8) -> Option<u64> {
        self.seen.train_records.get(&stage).copied()
    }

    /// The samples of a stage ([`crate::Run::samples_of`]).
    pub fn samples_of(&self, stage: &StageRecord) -> Option<SelectionSoFar> {
        samples::samples_of(&self.manifest, stage, self.train_records(stage.stage))
    }

    /// Share of full training's arithmetic that the run has spared ([`samples::compute_savings`]).
    pub fn compute_savings(&self) -> Option<f64> {
        samples::compute_savings(&self.manifest, |stage| self.train_records(stage))
    }

    /// The run in short.
    pub fn summary(&self) -> RunSummary {
        summary::of(&self.layout, &self.manifest)
    }

    fn look(&mut self, liveness: &dyn Liveness) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let asked =
                self.file.status.is_active().then(|| liveness.job_state(&self.layout, &self.with_file()));
            // Only if the manifest is still the same did nobody begin or end while the platform was asked.
            if self.read_manifest_again()? {
                continue;
            }
            self.read_events()?;
            let (job, contact) = match asked {
                None => (None, None),
                Some(Ok(state)) => (Some(state), None),
                Some(Err(problem)) => (None, Some(problem)),
            };
            self.contact = contact;
            self.settle(job.as_ref());
            return Ok(());
        }
        Err(RunFolderError::Internal(format!("{} changes all the time", self.layout.manifest().display())))
    }

    /// The manifest as the file has it.
    fn with_file(&self) -> RunManifest {
        RunManifest { status: self.file.status, updated_at: self.file.updated_at, ..self.manifest.clone() }
    }

    /// Whether the manifest is another than at the last look.
    fn read_manifest_again(&mut self) -> Result<bool> {
        if Stamp::of(&self.layout.manifest()).is_ok_and(|stamp| stamp == self.file.stamp) {
            return Ok(false);
        }
        let (stamp, mut manifest) = read_manifest(&self.layout)?;
        if stamp == self.file.stamp {
            return Ok(false);
        }
        self.file = ManifestFile::of(stamp, &manifest);
        if (&manifest.run_id, manifest.created_at) == (&self.manifest.run_id, self.manifest.created_at) {
            // What the file says of stages comes from the events that are folded here already.
            manifest.stages.clone_from(&self.manifest.stages);
        } else {
            self.forget_events();
        }
        self.manifest = manifest;
        Ok(true)
    }

    fn forget_events(&mut self) {
        self.cursor = LineCursor::new(self.layout.events());
        self.seen = Seen::default();
        self.steps = StepLines::default();
    }

    fn read_events(&mut self) -> Result<()> {
        let path = self.layout.events();
        let (file, restarted) = self.cursor.open().map_err(RunFolderError::file("read", &path))?;
        if restarted {
            self.seen = Seen::default();
            self.steps = StepLines::default();
            let (stamp, manifest) = read_manifest(&self.layout)?;
            self.file = ManifestFile::of(stamp, &manifest);
            self.manifest = manifest;
        }
        let Some(file) = file else { return Ok(()) };
        let Self { manifest, cursor, seen, steps, .. } = self;
        let mut unreadable = UnreadableLines::default();
        let read = cursor.read(file, |place, line| {
            let step = number_of_step(line);
            let event = if step.is_some() { None } else { event_of(line) };
            let number = step.or(event.as_ref().map(|event| event.seq));
            let numbered = number.map_or(Numbered::Void, |number| seen.numbers.take(number));
            if numbered == Numbered::Void {
                unreadable.unreadable(place);
                return Then::GoOn;
            }
            unreadable.readable(&mut seen.unreadable_line);
            if numbered == Numbered::NewBehindDamage {
                seen.unreadable_line.get_or_insert(place.lines);
            }
            if let Some(event) = event {
                steps.fold_newest(manifest, seen);
                seen.absorb(&event, steps);
                fold(manifest, &event);
            } else {
                steps.push(line);
            }
            Then::GoOn
        });
        read.map_err(RunFolderError::file("read", &path))?;
        unreadable.end(cursor);
        steps.fold_newest(manifest, seen);
        steps.take_recent(seen);
        Ok(())
    }

    /// Takes stages from the manifest where the log is damaged or does not say that they are trained: the writer of the
    /// manifest had every event.
    fn believe_the_manifest(&mut self) {
        let is_damaged = self.seen.unreadable_line.is_some();
        if self.events_are_missing() || is_damaged && !self.file.status.is_active() {
            self.manifest.stages.clone_from(&self.file.stages);
            return;
        }
        for known in self.file.stages.iter().filter(|stage| stage.status == RunStatus::Completed) {
            let folded = self.manifest.stages.iter_mut().find(|stage| stage.stage == known.stage);
            if let Some(stage) = folded.filter(|stage| is_damaged || stage.status != RunStatus::Completed) {
                stage.clone_from(known);
            }
        }
    }

    /// The first stage that was asked for and is not trained.
    fn untrained_stage(&self) -> Option<u8> {
        // Manifests of format 1 do not say which stages were asked for.
        if self.file.format_version == 1 {
            return None;
        }
        let asked = |stage: u8| {
            let asked = &self.manifest.requested_stages;
            asked.is_empty() || asked.contains(&stage)
        };
        let untrained = |stage: &&StageRecord| {
            asked(stage.stage) && stage.total_steps > 0 && stage.status != RunStatus::Completed
        };
        self.manifest.stages.iter().find(untrained).map(|stage| stage.stage)
    }

    /// Derives the status of the run and of its stages.
    fn settle(&mut self, job: Option<&JobState>) {
        let file = &self.file;
        let is_newer = |turn: &Turn| match file.format_version {
            // Manifests of format 1 do not say which event they have seen last.
            1 => turn.at >= file.updated_at,
            _ => file.last_seq.is_none_or(|last| turn.seq > last),
        };
        let turn = self.seen.turn.filter(is_newer);
        let events = turn.map(|turn| turn.status);
        let status = status::derive(self.manifest.platform.kind, file.status, events, job);
        self.manifest.status = status;
        if status != RunStatus::Failed {
            self.manifest.problem = None;
        } else if !file.status.is_active() && file.problem.is_some() {
            self.manifest.problem.clone_from(&file.problem);
        }
        if status == RunStatus::Interrupted && job == Some(&JobState::Missing) {
            self.manifest.problem = Some(job_missing(&self.manifest));
        }
        self.believe_the_manifest();
        if let Some(stage) = self.untrained_stage().filter(|_| self.manifest.status == RunStatus::Completed) {
            self.manifest.status = RunStatus::Interrupted;
            self.manifest.problem = Some(unfinished(stage));
        }
        let status = self.manifest.status;
        for stage in &mut self.manifest.stages {
            // A stage cannot be at work in a run that is not.
            if stage.status.is_active() && !status.is_active() {
                stage.status = status;
            }
        }
    }
}

fn unfinished(stage: u8) -> Problem {
    Problem::new(
        greentune_core_config::ProblemKind::Conflict,
        "run.unfinished",
        format!("the run says that it has finished, and stage {stage} is not trained"),
    )
    .with_hint("resume the run to train it")
}

fn job_missing(manifest: &RunManifest) -> Problem {
    let job = manifest.platform.job_id.as_deref().unwrap_or("without an id");
    Problem::new(
        greentune_core_config::ProblemKind::NotFound,
        "platform.job_missing",
        format!("the platform {} does not know the job {job} any more", manifest.platform.kind),
    )
    .with_hint("what was brought here is kept; resume the run to go on from its last checkpoint")
}

/// What is said of a line of `events.jsonl` that cannot be read.
pub(crate) fn unreadable_in_words(line: u64) -> String {
    format!(
        "line {line} of events.jsonl cannot be read and was left out; every event behind it that can be read was read"
    )
}

impl ManifestFile {
    fn of(stamp: Stamp, manifest: &RunManifest) -> Self {
        Self {
            stamp,
            status: manifest.status,
            problem: manifest.problem.clone(),
            format_version: manifest.format_version,
            last_seq: manifest.last_seq,
            updated_at: manifest.updated_at,
            stages: manifest.stages.clone(),
        }
    }
}

impl Seen {
    fn absorb(&mut self, event: &Event, steps: &mut StepLines) {
        match &event.kind {
            EventKind::Started { device, .. } => {
                self.device = Some(device.clone());
                self.started_at = Some(event.at);
                self.turn = Some(Turn { seq: event.seq, at: event.at, status: RunStatus::Running });
                steps.clear();
                self.recent.clear();
            }
            EventKind::StageStarted { stage, train_records, .. } => {
                self.train_records.insert(*stage, *train_records);
                steps.clear();
                self.recent.clear();
            }
            // One that is written otherwise than `number_of_step` knows.
            EventKind::Step(step) => {
                steps.take_recent(self);
                self.recent.push(event.at, step.clone());
                self.last_step = Some(step.clone());
            }
            EventKind::EpochFinished(epoch) => {
                self.evaluation = Some(Evaluation {
                    validation_loss: epoch.validation_loss,
                    perplexity: None,
                    accuracy: epoch.accuracy,
                    total_epochs: Some(epoch.total_epochs),
                });
            }
            EventKind::Evaluated { validation_loss, perplexity, token_accuracy, .. } => {
                self.evaluation = Some(Evaluation {
                    validation_loss: *validation_loss,
                    perplexity: Some(*perplexity),
                    accuracy: *token_accuracy,
                    total_epochs: None,
                });
            }
            EventKind::Warning { code, message } => {
                self.unreadable_is_told |= code == UNREADABLE;
                if self.warnings.len() == WARNINGS {
                    self.warnings.pop_front();
                }
                self.warnings.push_back(message.clone());
            }
            kind => {
                if let Some(status) = terminal_status(kind) {
                    self.turn = Some(Turn { seq: event.seq, at: event.at, status });
                }
            }
        }
    }
}

/// Code of the warning that a line of `events.jsonl` cannot be read.
pub(crate) const UNREADABLE: &str = "events.unreadable";

/// The manifest and the stamp of the very file that it was read from.
fn read_manifest(layout: &RunLayout) -> Result<(Stamp, RunManifest)> {
    let path = layout.manifest();
    for _ in 0..ATTEMPTS {
        let stamp = Stamp::of(&path).map_err(RunFolderError::file("read", &path))?;
        let manifest = manifest::read(layout);
        // It is replaced, never changed: the same stamp afterwards is the same file.
        if Stamp::of(&path).is_ok_and(|after| after == stamp) {
            return Ok((stamp, manifest?));
        }
    }
    Err(RunFolderError::Internal(format!("{} changes all the time", path.display())))
}
