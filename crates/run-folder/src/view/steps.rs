//! Lines of steps, most of which nobody has to understand.

use std::collections::VecDeque;

use greentune_core_config::{
    event::{Event, EventKind},
    manifest::RunManifest,
};

use super::Seen;
use crate::{fold::fold, progress::RecentSteps};

/// How the line of a step begins behind its number and time.
const STEP: &[u8] = b",\"kind\":\"step\",";

/// The last lines with steps, not yet understood: of a million steps only the newest count.
#[derive(Debug, Default)]
pub(super) struct StepLines {
    lines: VecDeque<Vec<u8>>,
    /// Whether the newest has yet to be folded into the manifest.
    is_new: bool,
    /// How many of the newest have yet to be taken into the pace.
    untaken: usize,
}

impl StepLines {
    pub(super) fn push(&mut self, line: &[u8]) {
        let mut kept = if self.lines.len() == RecentSteps::KEPT {
            self.lines.pop_front().unwrap_or_default()
        } else {
            Vec::with_capacity(line.len())
        };
        kept.clear();
        kept.extend_from_slice(line);
        self.lines.push_back(kept);
        self.is_new = true;
        self.untaken = (self.untaken + 1).min(RecentSteps::KEPT);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn fold_newest(&mut self, manifest: &mut RunManifest, seen: &mut Seen) {
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        let newest = self.lines.back().and_then(|line| serde_json::from_slice::<Event>(line).ok());
        if let Some(event) = newest {
            fold(manifest, &event);
            if let EventKind::Step(step) = event.kind {
                seen.last_step = Some(step);
            }
        }
    }

    pub(super) fn take_recent(&mut self, seen: &mut Seen) {
        let untaken = std::mem::take(&mut self.untaken);
        for line in self.lines.iter().skip(self.lines.len() - untaken) {
            if let Ok(Event { at, kind: EventKind::Step(step), .. }) = serde_json::from_slice(line) {
                seen.recent.push(at, step);
            }
        }
    }
}

/// The number of the event in `line`, when it is a step as [`crate::RunWriter`] writes it: `{"seq":7,"at":"…","kind":"step",…}`.
/// Anything else is read in full.
pub(super) fn number_of_step(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = rest[digits..].strip_prefix(b",\"at\":\"")?;
    let time = rest.iter().take(40).position(|&byte| byte == b'"')?;
    (rest[time + 1..].starts_with(STEP) && line.ends_with(b"}")).then_some(seq)
}
