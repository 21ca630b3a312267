//! The terminal while a run is followed: a bar on a terminal, a few lines elsewhere.

use std::io::{self, IsTerminal};

use greentune_core_config::event::{Event, EventKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{SignedDuration, Timestamp};

use super::tracker::{Tracker, in_words};
use crate::{output::Output, printable::printable};

/// Where progress is shown.
#[derive(Debug)]
pub struct Screen {
    output: Output,
    bar: Option<ProgressBar>,
    /// When the last line on a step was written.
    last_line: Option<Timestamp>,
}

/// Columns of the bar itself.
pub const BAR_COLUMNS: usize = 10;

/// At most this long passes without a line where there is no bar.
const SILENCE: SignedDuration = SignedDuration::from_secs(30);

impl Screen {
    /// A bar when standard error is a terminal that can move its cursor and progress is wanted, lines elsewhere.
    pub fn new(output: Output) -> Self {
        let has_bar = output.shows_progress() && io::stderr().is_terminal();
        // On a dumb terminal a bar would be hidden, and every line with it.
        Self { output, bar: has_bar.then(bar).filter(|bar| !bar.is_hidden()), last_line: None }
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
                bar.set_message(printable(&tracker.gauge_by_need(), &[]).into_owned());
            }
        } else if matches!(event.kind, EventKind::Step(_))
            && (self.output.is_verbose() || tracker.has_passed_a_tenth() || self.was_silent(event))
        {
            self.last_line = Some(event.at);
            self.output.note(&tracker.step_in_words());
        }
    }

    /// Whether the last line on a step is long ago.
    fn was_silent(&mut self, event: &Event) -> bool {
        let last = *self.last_line.get_or_insert(event.at);
        event.at.duration_since(last) >= SILENCE
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            // Before the number of steps is known there is no bar to write above.
            Some(bar) if bar.length().is_some_and(|steps| steps > 0) => {
                bar.println(self.output.note_paint().printable(line));
            }
            _ => self.output.note(line),
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
    let template =
        format!("{{prefix}} {{bar:{BAR_COLUMNS}.green/black.bright}} {{pos}}/{{len}} {{wide_msg}}");
    let style = ProgressStyle::with_template(&template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8)).with_style(style)
}
