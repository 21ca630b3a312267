//! The course of a run's figures: every value of every step, in a bounded number of buckets.

mod course;
mod figures;
mod sample;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
};

use greentune_core_config::event::{Event, EventKind};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::sample::sampled_losses;
use self::{
    course::{Course, Point},
    figures::{Figures, StepLine},
};
use crate::{
    Result, RunFolderError,
    cursor::{LineCursor, Then, UnreadableLines},
    event_log::event_of,
    numbers::{Numbered, Numbers},
};

/// Values that are kept one by one, the newest, for those who have all that came before.
const NEWEST: usize = 8192;

/// Steps of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageSpan {
    /// Stage, from 1.
    pub stage: u8,
    /// Steps planned of the stages before it: its step 1 is step `first + 1` of the run.
    pub first: u64,
    /// Steps that it has in all.
    pub total_steps: u64,
}

/// The course of one figure, in buckets of neighbouring steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Buckets {
    /// First step of each bucket, counted over all stages.
    pub x: Vec<u64>,
    /// Seconds since the run began, at that step.
    pub time: Vec<f64>,
    /// Mean of the values.
    pub mean: Vec<f64>,
    /// Least value.
    pub min: Vec<f64>,
    /// Greatest value.
    pub max: Vec<f64>,
    /// Values in each bucket.
    pub count: Vec<u64>,
}

/// An evaluation of a language model while it was trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvaluatedAt {
    /// Stage, from 1.
    pub stage: u8,
    /// Step of the stage.
    pub step: u64,
    /// Mean loss of the validation records, in nats per labelled token.
    pub validation_loss: f64,
}

/// Which part of the course is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Figures; all when empty.
    pub names: Vec<String>,
    /// Buckets at most of each figure.
    pub points: usize,
    /// First step.
    pub from: Option<u64>,
    /// Last step.
    pub to: Option<u64>,
}

/// The course of a run's figures, kept up to date at the cost of what is new.
#[derive(Debug)]
pub struct RunSeries {
    cursor: LineCursor,
    numbers: Numbers,
    unreadable_line: Option<u64>,
    seen: Seen,
}

/// What the events say.
#[derive(Debug, Default)]
struct Seen {
    began: Option<Timestamp>,
    stages: Vec<StageSpan>,
    figures: Figures,
    courses: BTreeMap<&'static str, Course>,
    /// With the number of the event.
    newest: VecDeque<(u64, &'static str, Point)>,
    /// Number of the first event after which no value was forgotten.
    complete_after: Option<u64>,
    /// Tokens of all steps.
    tokens: u64,
    evaluations: Vec<EvaluatedAt>,
}

impl RunSeries {
    /// The course of the run whose events are at `path`; reads nothing yet.
    pub fn new(path: &Path) -> Self {
        Self {
            cursor: LineCursor::new(path),
            numbers: Numbers::default(),
            unreadable_line: None,
            seen: Seen::default(),
        }
    }

    /// Reads what is new since the last time.
    ///
    /// Errors: the file cannot be read.
    pub fn refresh(&mut self) -> Result<()> {
        let path = self.cursor.path().to_owned();
        let (file, restarted) = self.cursor.open().map_err(RunFolderError::file("read", &path))?;
        if restarted {
            (self.numbers, self.unreadable_line, self.seen) = (Numbers::default(), None, Seen::default());
        }
        let Some(file) = file else { return Ok(()) };
        let Self { cursor, numbers, unreadable_line, seen } = self;
        let mut unreadable = UnreadableLines::default();
        cursor
            .read(file, |place, line| {
                let step = StepLine::of(line);
                let event = if step.is_some() { None } else { event_of(line) };
                let number = step.as_ref().map(|step| step.seq).or(event.as_ref().map(|event| event.seq));
                if number.map_or(Numbered::Void, |number| numbers.take(number)) == Numbered::Void {
                    unreadable.unreadable(place);
                    return Then::GoOn;
                }
                unreadable.readable(unreadable_line);
                if let Some(step) = step {
                    seen.step(&step, place.offset);
                } else if let Some(event) = event {
                    seen.event(&event, place.offset);
                }
                Then::GoOn
            })
            .map_err(RunFolderError::file("read", &path))?;
        unreadable.end(cursor);
        Ok(())
    }

    /// Number of the last event that was read.
    pub fn last_seq(&self) -> Option<u64> {
        self.numbers.next().checked_sub(1)
    }

    /// The stages that have begun.
    pub fn stages(&self) -> &[StageSpan] {
        &self.seen.stages
    }

    /// Tokens that were trained on, those of steps that were taken again too.
    pub fn tokens(&self) -> u64 {
        self.seen.tokens
    }

    /// Every evaluation of a language model while it was trained, in the order of the events.
    pub fn evaluations(&self) -> &[EvaluatedAt] {
        &self.seen.evaluations
    }

    /// The part of the course that is asked for. A part so small that the buckets kept are too few is read again.
    ///
    /// Errors: the file cannot be read.
    pub fn part(&self, part: &Part) -> Result<BTreeMap<String, Buckets>> {
        let points = part.points.max(1);
        let (from, to) = (part.from.unwrap_or(0), part.to.unwrap_or(u64::MAX));
        let is_asked = |name: &str| part.names.is_empty() || part.names.iter().any(|asked| asked == name);
        let is_whole = part.from.is_none() && part.to.is_none();
        let finer = match self.place_of(from).filter(|_| !is_whole && self.is_coarse(from, to, points)) {
            Some(offset) => Some(self.read_again(offset, from, to)?),
            None => None,
        };
        let courses = finer.as_ref().unwrap_or(&self.seen.courses);
        let buckets = courses.iter().filter(|(name, _)| is_asked(name)).map(|(name, course)| {
            let buckets = course.buckets(from, to, points);
            ((*name).to_owned(), buckets)
        });
        Ok(buckets.filter(|(_, buckets)| !buckets.x.is_empty()).collect())
    }

    /// The values of the events after the number `after`, one bucket each; `None` when some of them are kept in buckets
    /// alone, or were taken back because the run went on from an earlier step.
    pub fn after(&self, after: u64, names: &[String]) -> Option<BTreeMap<String, Buckets>> {
        if self.seen.complete_after.is_some_and(|first| after < first) {
            return None;
        }
        let mut found = BTreeMap::<String, Buckets>::new();
        for (_, name, point) in self.seen.newest.iter().filter(|(seq, _, _)| *seq > after) {
            if names.is_empty() || names.iter().any(|asked| asked == name) {
                found.entry((*name).to_owned()).or_default().push(point);
            }
        }
        Some(found)
    }

    /// Whether the buckets kept between two steps are fewer than could be told apart.
    fn is_coarse(&self, from: u64, to: u64, points: usize) -> bool {
        self.seen.courses.values().any(|course| course.is_coarse(from, to, points))
    }

    /// The place of an event at or before step `x`, where a stage is under way already.
    fn place_of(&self, x: u64) -> Option<u64> {
        self.seen.courses.values().filter_map(|course| course.place_of(x)).min()
    }

    /// The course from `offset` of the file, as far as step `to`, in buckets for that part alone.
    fn read_again(&self, offset: u64, from: u64, to: u64) -> Result<BTreeMap<&'static str, Course>> {
        let mut cursor = LineCursor::at(self.cursor.path(), offset);
        let failed = |source| RunFolderError::file("read", self.cursor.path())(source);
        let (Some(file), _) = cursor.open().map_err(failed)? else { return Ok(BTreeMap::new()) };
        let mut seen = Seen { began: self.seen.began, stages: self.seen.stages.clone(), ..Seen::default() };
        let end = self.cursor.place().offset;
        cursor
            .read(file, |place, line| {
                if let Some(step) = StepLine::of(line) {
                    let x = seen.x_of(step.stage, step.step);
                    seen.step(&step, place.offset);
                    if x > to {
                        return Then::Stop;
                    }
                } else if let Some(event) = event_of(line) {
                    seen.event(&event, place.offset);
                }
                if place.offset >= end { Then::Stop } else { Then::GoOn }
            })
            .map_err(failed)?;
        for course in seen.courses.values_mut() {
            course.keep(from, to);
        }
        Ok(seen.courses)
    }
}

impl Seen {
    /// The step of the run that is `step` of `stage`.
    fn x_of(&self, stage: u8, step: u64) -> u64 {
        let first = self.stages.iter().find(|span| span.stage == stage).map_or(0, |span| span.first);
        first + step
    }

    fn seconds(&mut self, at: Timestamp) -> f64 {
        let began = *self.began.get_or_insert(at);
        at.duration_since(began).as_secs_f64().max(0.0)
    }

    fn step(&mut self, step: &StepLine<'_>, offset: u64) {
        let x = self.x_of(step.stage, step.step);
        let time = step.at.parse().map_or(0.0, |at| self.seconds(at));
        self.tokens = self.tokens.saturating_add(step.tokens);
        let figures = self.figures.of_step(step);
        self.take(step.seq, x, time, offset, figures);
    }

    fn event(&mut self, event: &Event, offset: u64) {
        let time = self.seconds(event.at);
        match &event.kind {
            EventKind::StageStarted { stage, total_steps, from_step, .. } => {
                self.begin(event.seq, *stage, *total_steps, *from_step);
            }
            EventKind::Step(step) => {
                self.tokens = self.tokens.saturating_add(step.tokens);
                let x = self.x_of(step.stage, step.step);
                let figures = self.figures.of_metrics(step);
                self.take(event.seq, x, time, offset, figures);
            }
            kind => {
                if let EventKind::Evaluated { stage, step, validation_loss, .. } = *kind {
                    self.evaluations.push(EvaluatedAt { stage, step, validation_loss });
                }
                let Some((stage, step, figures)) = self.figures.of_event(kind) else { return };
                let x = match step {
                    Some(step) => self.x_of(stage, step),
                    None => self.courses.get("train_loss").and_then(Course::last).unwrap_or(0),
                };
                self.take(event.seq, x, time, offset, figures);
            }
        }
    }

    /// A stage begins or goes on. What an earlier attempt had behind that step counts no more.
    fn begin(&mut self, seq: u64, stage: u8, total_steps: u64, from_step: u64) {
        self.stages.retain(|span| span.stage < stage);
        let first = self.stages.last().map_or(0, |span| span.first + span.total_steps);
        self.stages.push(StageSpan { stage, first, total_steps });
        let mut is_cut = false;
        for course in self.courses.values_mut() {
            is_cut |= course.cut(first + from_step);
        }
        if is_cut {
            self.newest.clear();
            self.complete_after = Some(seq);
        }
        self.figures.begin();
    }

    fn take(&mut self, seq: u64, x: u64, time: f64, offset: u64, figures: Vec<(&'static str, f64)>) {
        for (name, value) in figures {
            let point = Point { x, time, value };
            self.courses.entry(name).or_default().push(&point, offset);
            if self.newest.len() == NEWEST
                && let Some((forgotten, _, _)) = self.newest.pop_front()
            {
                self.complete_after = Some(forgotten);
            }
            self.newest.push_back((seq, name, point));
        }
    }
}

impl Buckets {
    /// Adds a bucket of one value.
    fn push(&mut self, point: &Point) {
        self.x.push(point.x);
        self.time.push(point.time);
        self.mean.push(point.value);
        self.min.push(point.value);
        self.max.push(point.value);
        self.count.push(1);
    }
}

#[cfg(test)]
mod tests;
