//! Events of a run as server-sent events. One tail reads a run's new events, however many follow it; a follower that was
//! away, or is slow, reads what it missed from the file, at its own pace.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use greentune_core_config::{Diagnostic as _, Problem, event::Event, manifest::RunStatus};
use greentune_http_server::Refusal;
use greentune_workbench::{
    Workbench,
    operation::{FollowEvents, FollowEventsResponse, MonitorTrainingProgress},
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::api::Api;

/// Events that a tail keeps for its followers.
const KEPT: usize = 2000;
/// Events that are read at once.
const READ_AT_ONCE: usize = 500;
/// Seconds that a tail waits for new events before it looks whether anybody still follows.
const WAIT_SECONDS: f64 = 5.0;
/// A comment is sent after so long without an event, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A follower that takes nothing for so long is let go.
const PATIENCE: Duration = Duration::from_mins(1);
/// The time left is told again after so long.
const STATUS_AGAIN: Duration = Duration::from_secs(5);
/// Chunks that wait for a follower.
const WAITING: usize = 4;

/// Where a run stands, as its followers are told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Standing {
    last_seq: Option<u64>,
    status: Option<RunStatus>,
    remaining_seconds: Option<f64>,
    /// Whether nothing more will come.
    ended: bool,
    problem: Option<Problem>,
}

/// A run that is followed.
struct Tail {
    /// The newest events with their numbers, as they are sent.
    newest: Mutex<VecDeque<(u64, Bytes)>>,
    /// Number of the last event before those that are kept.
    before: Mutex<Option<u64>>,
    standing: watch::Sender<Standing>,
}

/// A run by the project that was named for it, and its id.
type Named = (Option<PathBuf>, String);

/// The runs that are followed now.
pub(crate) struct Tails {
    workbench: Workbench,
    tails: Mutex<HashMap<Named, Weak<Tail>>>,
}

impl Tails {
    pub(crate) fn new(workbench: Workbench) -> Self {
        Self { workbench, tails: Mutex::default() }
    }

    /// The tail of `run`, which is at event `last_seq` now.
    fn of(&self, run: &FollowEvents, last_seq: Option<u64>) -> Arc<Tail> {
        let key = (run.project_path.clone(), run.run_id.clone());
        let mut tails = locked(&self.tails);
        let known = tails.get(&key).and_then(Weak::upgrade);
        if let Some(tail) = known.filter(|tail| !tail.standing.borrow().ended) {
            return tail;
        }
        tails.retain(|_, tail| tail.strong_count() > 0);
        let standing = watch::Sender::new(Standing { last_seq, ..Standing::default() });
        let tail = Arc::new(Tail { newest: Mutex::default(), before: Mutex::new(last_seq), standing });
        tails.insert(key, Arc::downgrade(&tail));
        tokio::spawn(read(self.workbench.clone(), run.clone(), last_seq, Arc::downgrade(&tail)));
        tail
    }
}

/// Reads what is new of a run for its followers, until there are none, or nothing more will come.
async fn read(workbench: Workbench, run: FollowEvents, mut after: Option<u64>, tail: Weak<Tail>) {
    loop {
        let request = FollowEvents {
            after_seq: after,
            // The first look says at once where the run stands.
            wait_seconds: tail
                .upgrade()
                .map(|tail| if tail.standing.borrow().status.is_some() { WAIT_SECONDS } else { 0.0 }),
            limit: Some(READ_AT_ONCE),
            ..run.clone()
        };
        let found = workbench.follow_events(request).await;
        let Some(tail) = tail.upgrade() else { return };
        let standing = match found {
            Ok(found) => {
                tail.keep(&found.events);
                after = found.last_seq;
                standing_of(&found)
            }
            Err(error) => {
                let last = tail.standing.borrow().clone();
                Standing { ended: true, problem: Some(error.problem()), ..last }
            }
        };
        let is_over = standing.ended;
        tail.standing.send_if_modified(|known| std::mem::replace(known, standing.clone()) != standing);
        if is_over {
            return;
        }
    }
}

fn standing_of(found: &FollowEventsResponse) -> Standing {
    Standing {
        last_seq: found.last_seq,
        status: Some(found.status),
        remaining_seconds: found.remaining_seconds,
        ended: found.ended,
        problem: None,
    }
}

impl Tail {
    fn keep(&self, events: &[Event]) {
        let mut newest = locked(&self.newest);
        for event in events {
            if newest.len() == KEPT
                && let Some((seq, _)) = newest.pop_front()
            {
                *locked(&self.before) = Some(seq);
            }
            newest.push_back((event.seq, frame(event)));
        }
    }

    /// The events after number `after` that are kept; `None` when some after it are kept no more.
    fn after(&self, after: Option<u64>) -> Option<Vec<(u64, Bytes)>> {
        let newest = locked(&self.newest);
        if *locked(&self.before) > after {
            return None;
        }
        let is_new = |(seq, _): &&(u64, Bytes)| after.is_none_or(|after| *seq > after);
        Some(newest.iter().filter(is_new).take(READ_AT_ONCE).cloned().collect())
    }
}

/// One follower.
struct Follower {
    workbench: Workbench,
    run: FollowEvents,
    tail: Arc<Tail>,
    after: Option<u64>,
    chunks: mpsc::Sender<Bytes>,
}

/// The follower is gone, or took nothing for too long.
struct Gone;

/// Streams the events of `run` after number `after` to the one who asks.
///
/// Errors: the run is unknown.
pub(crate) async fn follow(
    api: &Api,
    project_path: Option<PathBuf>,
    run: String,
    after: Option<u64>,
) -> Result<Response, Refusal> {
    let failed = |error: greentune_workbench::WorkbenchError| Refusal::from(error.problem());
    let asked = MonitorTrainingProgress {
        project_path: project_path.clone(),
        run_id: run,
        include_emissions: Some(false),
    };
    let seen = api.workbench.monitor_training_progress(asked).await.map_err(failed)?;
    if !seen.status.is_active() && after.is_some() && after >= seen.last_seq {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let run = FollowEvents { project_path, run_id: seen.run_id, ..FollowEvents::default() };
    let tail = api.tails.of(&run, seen.last_seq);
    let (chunks, waiting) = mpsc::channel(WAITING);
    let follower = Follower { workbench: api.workbench.clone(), run, tail, after, chunks };
    let ended = api.ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = follower.run() => {}
            () = ended.cancelled() => {}
        }
    });
    let mut response = Response::new(Body::new(Chunks(waiting)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Follower {
    async fn run(mut self) -> Result<(), Gone> {
        let mut standing = self.tail.standing.subscribe();
        let mut told: Option<(RunStatus, Instant)> = None;
        self.send(Bytes::from_static(b"retry: 2000\n\n")).await?;
        loop {
            let now = standing.borrow_and_update().clone();
            // What came before the standing is sent before it.
            while self.send_new().await? {}
            if let Some(status) = now.status {
                let is_told = told.is_some_and(|(known, at)| known == status && at.elapsed() < STATUS_AGAIN);
                if !is_told {
                    told = Some((status, Instant::now()));
                    let data = json!({ "status": status, "remaining_seconds": now.remaining_seconds });
                    self.send(named("status", &data.to_string())).await?;
                }
            }
            if let Some(problem) = &now.problem {
                let data = serde_json::to_string(problem).unwrap_or_default();
                self.send(named("problem", &data)).await?;
            }
            if now.ended {
                let data = json!({ "status": now.status });
                return self.send(named("end", &data.to_string())).await;
            }
            match tokio::time::timeout(HEARTBEAT, standing.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => self.send(Bytes::from_static(b":\n\n")).await?,
            }
        }
    }

    /// Sends some of the events that are new to this follower; whether there may be more.
    async fn send_new(&mut self) -> Result<bool, Gone> {
        let kept = self.tail.after(self.after);
        let new = if let Some(new) = kept {
            new
        } else {
            let request = FollowEvents {
                after_seq: self.after,
                limit: Some(READ_AT_ONCE),
                wait_seconds: None,
                ..self.run.clone()
            };
            // The tail says what is wrong with the run.
            let Ok(found) = self.workbench.follow_events(request).await else { return Ok(false) };
            found.events.iter().map(|event| (event.seq, frame(event))).collect()
        };
        let Some((last, _)) = new.last() else { return Ok(false) };
        self.after = Some(*last);
        let chunk: Vec<u8> = new.iter().flat_map(|(_, frame)| frame.iter().copied()).collect();
        self.send(Bytes::from(chunk)).await?;
        Ok(true)
    }

    async fn send(&self, chunk: Bytes) -> Result<(), Gone> {
        match tokio::time::timeout(PATIENCE, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn frame(event: &Event) -> Bytes {
    let data = serde_json::to_value(event).unwrap_or_default();
    let kind = data["kind"].as_str().unwrap_or("message");
    Bytes::from(format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.seq))
}

fn named(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is sent to a follower.
struct Chunks(mpsc::Receiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(http_body::Frame::data(chunk))))
    }
}
