//! A download or upload while an operation is under way: a bar with bytes and speed on a terminal, silence in a pipe.

use std::{
    io::{self, IsTerminal},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use greentune_core_config::{
    ProblemKind,
    port::{TransferProgress, TransferReporter},
    quantities::percent,
};
use greentune_workbench::{Observer, Result as WorkbenchResult, Workbench};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::interrupts;
use crate::{failure::Failure, output::Output, printable::printable};

/// Shows how far the downloads and uploads of one operation are.
#[derive(Debug)]
pub struct Transfers {
    screen: Arc<Screen>,
}

impl Transfers {
    /// A display of them, which is visible where `output` shows progress, and `workbench` reporting to it.
    pub fn of(workbench: &Workbench, output: Output) -> (Self, Workbench) {
        let has_bar = output.shows_progress() && io::stderr().is_terminal();
        let screen = Arc::new(Screen {
            output,
            bar: has_bar.then(bar).filter(|bar| !bar.is_hidden()),
            tenths: AtomicU64::new(0),
        });
        let workbench = workbench.reporting(Arc::clone(&screen) as _);
        (Self { screen }, workbench)
    }

    /// Awaits `operation`; Ctrl-C ends it, and what was transferred stays.
    pub async fn during<T>(self, operation: impl Future<Output = WorkbenchResult<T>>) -> Result<T, Failure> {
        let mut operation = pin!(operation);
        let mut interrupts = interrupts();
        let ended = tokio::select! {
            result = &mut operation => Some(result),
            Some(()) = interrupts.recv() => None,
        };
        self.screen.close();
        match ended {
            Some(result) => Ok(result?),
            None => {
                Err(Failure::new(ProblemKind::Cancelled, "command.stopped", "stopped before it was done")
                    .with_hint("run the same command again: a transfer continues where it stopped"))
            }
        }
    }
}

/// Where there is no bar, transfers of at least this many bytes are announced with a line.
const WORTH_A_LINE: u64 = 100_000_000;

#[derive(Debug)]
struct Screen {
    output: Output,
    bar: Option<ProgressBar>,
    tenths: AtomicU64,
}

impl Screen {
    fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl TransferReporter for Screen {
    fn report(&self, progress: &TransferProgress) {
        let TransferProgress { direction, what, file, bytes_done, bytes_total } = progress;
        if let Some(bar) = &self.bar {
            let is_first = bar.length() != Some(*bytes_total);
            bar.set_length(*bytes_total);
            bar.set_position(*bytes_done);
            if is_first {
                // Bytes of an earlier attempt do not count for the speed.
                bar.reset_eta();
                bar.set_prefix(format!("{} {}", direction.doing(), printable(what, &[])));
            }
            bar.set_message(printable(file, &[]).into_owned());
        } else if self.output.is_verbose() || *bytes_total >= WORTH_A_LINE {
            let tenths = bytes_done * 10 / (*bytes_total).max(1);
            if self.tenths.swap(tenths, Ordering::Relaxed) != tenths {
                let share = percent(*bytes_done as f64 / (*bytes_total).max(1) as f64);
                self.output.note(&format!("{} {what}: {share} ({file})", direction.doing()));
            }
        }
    }
}

impl Observer for Screen {
    fn remark(&self, text: &str) {
        self.output.note(text);
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} {bar:24.green/black.bright} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left, {wide_msg}",
    );
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
}
