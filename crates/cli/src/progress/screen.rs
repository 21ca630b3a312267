//! The terminal while a run is followed: a bar on a terminal, a few lines elsewhere.

use std::io::{self, IsTerminal};

use greentune_core_config::event::{Event, EventKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tracker::{Tracker, in_words};
use crate::output::Output;

/// Where progress is shown.
#[derive(Debug)]
pub struct Screen {
    output: Output,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// A bar when standard error is a terminal and progress is wanted, lines when it is not one.
    pub fn new(output: Output) -> Self {
        let has_bar = output.shows_progress() && io::stderr().is_terminal();
        Self { output, bar: has_bar.then(bar) }
    }

    /// Shows `event`, which `tracker` has taken in.
    pub fn show(&mut self, tracker: &Tracker, event: &Event) {
        if let Some(words) = in_words(&event.kind) {
            self.say(&self.painted(&event.kind, words));
        }
        if let Some(bar) = &self.bar {
            // Without a total the bar would count on forever.
            if tracker.total_steps > 0 {
                bar.set_length(tracker.total_steps);
                bar.set_prefix(format!("stage {}", tracker.stage));
                bar.set_position(tracker.step);
                bar.set_message(tracker.gauge());
            }
        } else if matches!(event.kind, EventKind::Step(_))
            && (self.output.is_verbose() || tracker.has_passed_a_tenth())
        {
            self.output.note(&tracker.step_in_words());
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => self.output.note(line),
        }
    }

    /// Takes the bar away.
    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn painted(&self, event: &EventKind, words: String) -> String {
        let paint = self.output.note_paint();
        match event {
            EventKind::Warning { .. } => paint.doubtful(words),
            EventKind::CheckpointSaved { .. } => paint.faint(words),
            _ => words,
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:24.green/black.bright} {pos}/{len} {wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
}
