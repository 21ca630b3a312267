//! `worker.lock`: the process that holds it trains the run.

use std::{
    fs::{File, TryLockError},
    io, thread,
    time::{Duration, Instant},
};

use greentune_core_config::layout::RunLayout;

use crate::{Result, RunFolderError, manifest};

/// How long to wait for a lock that somebody probes, or that the starting process still holds.
const WAIT: Duration = Duration::from_secs(2);

/// Takes the lock of the run at `layout`; it is free again when the file is dropped or its process ends.
///
/// Errors: another process holds it ([`RunFolderError::AlreadyRunning`]).
pub fn take(layout: &RunLayout) -> Result<File> {
    let path = layout.lock();
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(RunFolderError::file("open", &path))?;
    let deadline = Instant::now() + WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(RunFolderError::file("lock", path)(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(held(layout)),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether somebody holds the lock of the run at `layout`.
///
/// Errors: the lock cannot be probed.
pub fn is_taken(layout: &RunLayout) -> Result<bool> {
    let path = layout.lock();
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(RunFolderError::file("open", &path))?,
    };
    // A shared probe does not disturb other probes, and a process that takes the lock waits for it.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(RunFolderError::file("probe", path)(error)),
    }
}

/// The error for a run that somebody else trains.
pub fn held(layout: &RunLayout) -> RunFolderError {
    RunFolderError::AlreadyRunning {
        run_id: layout.run_id(),
        pid: manifest::read(layout).ok().and_then(|manifest| manifest.pid),
    }
}
