//! Who is told how far a transfer is, and how it is stopped.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use greentune_core_config::port::{TransferDirection, TransferProgress, TransferReporter};

use super::error::{HubError, Result};

/// Receives the progress of a download or an upload, and can stop it.
#[derive(Clone, Copy, Debug)]
pub struct TransferControl<'a> {
    /// What is fetched or sent, for messages.
    pub what: &'a str,
    /// Who is told.
    pub reporter: &'a dyn TransferReporter,
    /// Whether it is to stop.
    pub cancelled: &'a AtomicBool,
}

impl TransferControl<'_> {
    /// An error when the transfer is to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(HubError::Cancelled(self.what.to_owned()))
        } else {
            Ok(())
        }
    }

    /// Waits, and stops waiting when the transfer is to stop.
    pub(super) fn sleep(&self, pause: Duration) -> Result<()> {
        let until = Instant::now() + pause;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// Adds up what several files report.
pub(super) struct ProgressSum<'a> {
    pub(super) watch: &'a TransferControl<'a>,
    /// Which way they go.
    pub(super) direction: TransferDirection,
    /// Bytes of the files before this one.
    pub(super) before: u64,
    /// Bytes in all.
    pub(super) total: u64,
}

impl ProgressSum<'_> {
    /// `done` bytes of `file` have gone.
    pub(super) fn at(&self, file: &str, done: u64) {
        self.watch.reporter.report(&TransferProgress {
            direction: self.direction,
            what: self.watch.what.to_owned(),
            file: file.to_owned(),
            bytes_done: self.before + done,
            bytes_total: self.total,
        });
    }
}
