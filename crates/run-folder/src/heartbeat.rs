//! `heartbeat.json`: rewritten by the worker every few seconds, with the memory that it holds.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use greentune_core_config::layout::RunLayout;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Result, RunFolderError, json};

/// Time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// What a worker notes of memory with each heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBeat {
    /// Its resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// What it could still take, in bytes.
    pub available_bytes: Option<u64>,
    /// Processes that the kernel has killed because memory ran out, since the machine was started.
    pub kills: Option<u64>,
}

#[derive(Serialize)]
struct Beat {
    pid: u32,
    at: Timestamp,
    memory: MemoryBeat,
}

/// What is read of a heartbeat. Those of early versions say nothing of memory.
#[derive(Deserialize)]
struct LastBeat {
    at: Timestamp,
    #[serde(default)]
    memory: MemoryBeat,
}

/// The memory that the last heartbeat of the run at `layout` noted; `None` when there is no heartbeat.
pub fn last_memory(layout: &RunLayout) -> Option<MemoryBeat> {
    json::read::<LastBeat>(&layout.heartbeat()).ok().map(|beat| beat.memory)
}

/// When the last heartbeat of the run at `layout` was; `None` when there is none.
pub(crate) fn last_beat(layout: &RunLayout) -> Option<Timestamp> {
    json::read::<LastBeat>(&layout.heartbeat()).ok().map(|beat| beat.at)
}

/// A thread that rewrites `heartbeat.json` until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts the thread; `memory` measures memory at each beat.
    pub(crate) fn start(layout: &RunLayout, memory: fn() -> MemoryBeat) -> Result<Self> {
        let path = layout.heartbeat();
        let (stop, stopped) = mpsc::channel();
        let beat = move || {
            loop {
                // A full disk stops the trainer when it reports an event. A missed heartbeat alone does not.
                let beat = Beat { pid: std::process::id(), at: Timestamp::now(), memory: memory() };
                let _ = json::write(&path, &beat);
                if stopped.recv_timeout(HEARTBEAT) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name(String::from("heartbeat"))
            .spawn(beat)
            .map_err(|error| RunFolderError::Internal(format!("no thread for the heartbeat: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop();
    }
}
