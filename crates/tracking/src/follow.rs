//! Following a run: in threads beside training, or in the foreground until everything is sent.

use std::{
    collections::BTreeSet,
    fs::File,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use greentune_core_config::{Diagnostic as _, Problem, layout::RunLayout, settings::Settings};
use greentune_http_client::{Backoff, jittered};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Credentials, TrackingError, destinations, events::EventFile, sink::Sink, state};

/// Events in one go: their figures fit into a few calls.
const BATCH: usize = 500;
/// How often a run that trains is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Pauses between attempts at a server that does not answer.
const PAUSES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// A server that asks for more patience gets this much.
const LONGEST_PATIENCE: Duration = Duration::from_mins(5);
/// Longest pause while the end of the run waits.
const LONGEST_PAUSE_AT_END: Duration = Duration::from_secs(1);
/// How long [`sync`] waits for the worker of a run that has just ended.
const WORKER_ENDS: Duration = Duration::from_secs(5);
/// Attempts in a row before [`sync`] gives up.
const SYNC_ATTEMPTS: u32 = 4;

/// A run that is followed while it trains. Training never waits for it.
#[derive(Debug)]
pub struct Tracking {
    layout: RunLayout,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    tracker: &'static str,
    stop: Sender<Instant>,
    messages: Receiver<Message>,
    acknowledged: u64,
    reason: String,
}

enum Message {
    /// Something to tell the user.
    Problem(TrackingError),
    /// So many events are there.
    Acknowledged(u64),
}

impl Tracking {
    /// Starts a thread for each tracker in `settings`; none when there is none.
    ///
    /// Errors: a setting cannot be used, a file of the run cannot be read, or another process sends the run.
    /// A server that is away is none.
    pub fn start(
        layout: &RunLayout,
        settings: &Settings,
        credentials: &Credentials,
    ) -> Result<Self, TrackingError> {
        let sinks = destinations::asked_for(layout, settings, credentials)?;
        let mut followers = Vec::new();
        if !sinks.is_empty() {
            let lock = Arc::new(state::lock(layout)?);
            for sink in sinks {
                followers.push(Follower::start(sink, layout, Arc::clone(&lock))?);
            }
        }
        Ok(Self { layout: layout.clone(), followers })
    }

    /// What went wrong since the last call; each thing is told once.
    pub fn problems(&mut self) -> Vec<Problem> {
        self.followers.iter_mut().flat_map(|follower| follower.hear(Duration::ZERO)).collect()
    }

    /// Lets the threads send what is left, for `grace` at most. Returns problems that were not reported yet, and what
    /// was not sent. The next attempt or [`sync`] sends the rest.
    pub fn finish(mut self, grace: Duration) -> Vec<Problem> {
        let deadline = Instant::now() + grace;
        for follower in &self.followers {
            // If the thread has given up, nobody receives this.
            let _ = follower.stop.send(deadline);
        }
        let mut problems = Vec::new();
        for follower in &mut self.followers {
            // To the channel's end: a thread ends when all is sent or its time is over.
            problems.extend(follower.hear(deadline.saturating_duration_since(Instant::now())));
        }
        problems.extend(self.followers.iter().filter_map(|follower| follower.left(&self.layout)));
        problems
    }
}

impl Follower {
    fn start(sink: Box<dyn Sink>, layout: &RunLayout, lock: Arc<File>) -> Result<Self, TrackingError> {
        let tracker = sink.tracker();
        let acknowledged = sink.acknowledged();
        let (stop, stopped) = mpsc::channel();
        let (tell, messages) = mpsc::channel();
        let delivery = Delivery::new(sink, layout);
        thread::Builder::new()
            .name(tracker.to_lowercase())
            .spawn(move || {
                follow(delivery, &stopped, &tell);
                drop(lock);
            })
            .map_err(|source| TrackingError::Thread { tracker, source })?;
        Ok(Self { tracker, stop, messages, acknowledged, reason: String::new() })
    }

    /// Problems that the thread reported; waits for its end, for `patience` at most.
    fn hear(&mut self, patience: Duration) -> Vec<Problem> {
        let until = Instant::now() + patience;
        let mut problems = Vec::new();
        while let Ok(message) = self.messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
            match message {
                Message::Acknowledged(count) => self.acknowledged = count,
                Message::Problem(error) => {
                    self.reason = format!(": {error}");
                    problems.push(error.problem());
                }
            }
        }
        problems
    }

    fn left(&self, layout: &RunLayout) -> Option<Problem> {
        let left = EventFile::new(layout.events())
            .next(self.acknowledged, usize::MAX)
            .map_or(0, |events| events.len());
        let error = TrackingError::NotSent {
            run_id: layout.run_id(),
            tracker: self.tracker,
            left: left as u64,
            reason: self.reason.clone(),
        };
        (left > 0).then(|| error.problem())
    }
}

/// Runs in the thread. Sends new events until it is told to stop and nothing is left, its time is over, or the receiver
/// is gone.
fn follow(mut delivery: Delivery, stopped: &Receiver<Instant>, tell: &Sender<Message>) {
    let mut reported_codes = BTreeSet::new();
    let mut failures = 0;
    let mut deadline = None;
    loop {
        let advanced = delivery.advance();
        let mut errors = delivery.sink.notes();
        let pause = match advanced {
            Ok(progress) => {
                failures = 0;
                let _ = tell.send(Message::Acknowledged(delivery.sink.acknowledged()));
                match progress {
                    Progress::Sent => Some(Duration::ZERO),
                    Progress::Nothing => deadline.is_none().then_some(POLL),
                }
            }
            Err(error) => {
                failures += 1;
                let pause = error.is_passing().then(|| pause_after(&error, failures));
                errors.push(error);
                pause
            }
        };
        for error in errors {
            if reported_codes.insert(error.problem().code) && tell.send(Message::Problem(error)).is_err() {
                return;
            }
        }
        let Some(pause) = pause else { return };
        match deadline {
            None => match stopped.recv_timeout(pause) {
                Ok(until) => deadline = Some(until),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
            Some(until) => {
                let pause = pause.min(LONGEST_PAUSE_AT_END);
                if Instant::now() + pause >= until {
                    return;
                }
                thread::sleep(pause);
            }
        }
    }
}

/// 1, 2, 4, … seconds after the failure number `failures`, from 1, or as long as the server asks for.
fn pause_after(error: &TrackingError, failures: u32) -> Duration {
    let asked = error.retry_after().map(|asked| asked.min(LONGEST_PATIENCE));
    jittered(PAUSES.pause(failures.saturating_sub(1), asked))
}

/// The delivery of one run to one tracker.
struct Delivery {
    sink: Box<dyn Sink>,
    layout: RunLayout,
    events: Option<EventFile>,
}

#[derive(PartialEq)]
enum Progress {
    Sent,
    Nothing,
}

impl Delivery {
    fn new(sink: Box<dyn Sink>, layout: &RunLayout) -> Self {
        Self { sink, layout: layout.clone(), events: None }
    }

    /// Sends the next events, if there are any.
    fn advance(&mut self) -> Result<Progress, TrackingError> {
        let events = match &mut self.events {
            Some(events) => events,
            missing => {
                self.sink.open()?;
                missing.insert(EventFile::new(self.layout.events()))
            }
        };
        let batch = events.next(self.sink.acknowledged(), BATCH)?;
        if batch.is_empty() {
            self.sink.idle()?;
            return Ok(Progress::Nothing);
        }
        let sent = self.sink.send(&batch);
        if sent.is_err() {
            // The next attempt asks anew what is there.
            self.events = None;
        }
        sent.map(|()| Progress::Sent)
    }
}

/// What [`sync`] did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SyncReport {
    /// One for each tracker in the settings.
    pub trackers: Vec<TrackerReport>,
}

/// What a tracker has of a run.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TrackerReport {
    /// The tracker: `MLflow`, `Weights & Biases`.
    pub tracker: String,
    /// Where the run is to be seen: an address, or a folder for `wandb sync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is left to do for it to be seen there, as a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Events that were sent now.
    pub sent: u64,
    /// Events that are there in all.
    pub total: u64,
    /// What was not sent and why; empty when everything is there.
    pub problems: Vec<Problem>,
}

/// Sends what trackers lack of a run that nobody trains; waits until it is done, or a server did not answer four times.
///
/// Errors: no tracker is set, a setting cannot be used, a file of the run cannot be read, or another process sends
/// the run. What a tracker refused is in its report.
pub fn sync(
    layout: &RunLayout,
    settings: &Settings,
    credentials: &Credentials,
) -> Result<SyncReport, TrackingError> {
    let sinks = destinations::asked_for(layout, settings, credentials)?;
    if sinks.is_empty() {
        return Err(TrackingError::NothingConfigured);
    }
    let _lock = state::lock_within(layout, WORKER_ENDS)?;
    Ok(SyncReport { trackers: sinks.into_iter().map(|sink| sync_one(Delivery::new(sink, layout))).collect() })
}

fn sync_one(mut delivery: Delivery) -> TrackerReport {
    let mut failures = 0;
    let mut problems = Vec::new();
    let mut sent = 0;
    loop {
        let before = delivery.sink.acknowledged();
        let advanced = delivery.advance();
        problems.extend(delivery.sink.notes().iter().map(TrackingError::problem));
        sent += delivery.sink.acknowledged().saturating_sub(before);
        match advanced {
            Ok(Progress::Sent) => failures = 0,
            Ok(Progress::Nothing) => break,
            Err(error) => {
                failures += 1;
                if !error.is_passing() || failures >= SYNC_ATTEMPTS {
                    problems.push(error.problem());
                    break;
                }
                thread::sleep(pause_after(&error, failures));
            }
        }
    }
    let sink = delivery.sink;
    TrackerReport {
        tracker: sink.tracker().to_owned(),
        place: sink.place(),
        then: sink.then(),
        sent,
        total: sink.acknowledged(),
        problems,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwell(asked_seconds: Option<u64>) -> TrackingError {
        TrackingError::ServerUnavailable {
            address: String::from("http://localhost"),
            status: 429,
            call: String::from("runs/log-batch"),
            message: String::new(),
            retry_after: asked_seconds.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_server_is_asked_again_after_a_growing_pause_or_the_one_that_it_asks_for() {
        for (asked, failures, seconds) in [
            (None, 1, 1),
            (None, 3, 4),
            (None, 60, 30),
            (Some(7), 1, 7),
            (Some(1), 4, 8),
            (Some(24 * 3600), 1, 300),
        ] {
            let pause = pause_after(&unwell(asked), failures);
            let shortest = Duration::from_secs(seconds);
            // A quarter more by chance at most.
            assert!(pause >= shortest && pause <= shortest.mul_f64(1.25), "{asked:?} {failures}: {pause:?}");
        }
    }
}
