//! How fast a run goes, and how long it still takes. The one place where time left is worked out.

use std::collections::VecDeque;

use greentune_core_config::{
    event::StepMetrics,
    manifest::{RunManifest, RunStatus, StageRecord},
};
use jiff::Timestamp;

/// Steps over which the pace is taken.
const RECENT_STEPS: usize = 20;

/// The last steps of the present attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentSteps(VecDeque<(Timestamp, StepMetrics)>);

impl RecentSteps {
    /// How many are kept: a pace over so many steps needs one more.
    pub(crate) const KEPT: usize = RECENT_STEPS + 1;

    /// The last of `steps`, which come newest first.
    pub(crate) fn ending_with(steps: impl Iterator<Item = (Timestamp, StepMetrics)>) -> Self {
        let mut kept: VecDeque<_> = steps.take(Self::KEPT).collect();
        kept.make_contiguous().reverse();
        Self(kept)
    }

    pub(crate) fn push(&mut self, at: Timestamp, step: StepMetrics) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, step));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Seconds per record; `None` before two steps of a stage are done, and when the clock was set back meanwhile.
    pub(crate) fn seconds_per_record(&self, manifest: &RunManifest) -> Option<f64> {
        let ((start, first), (end, last)) = (self.0.front()?, self.0.back()?);
        let steps = last.step.checked_sub(first.step)?;
        let records = steps.saturating_mul(records_per_step(manifest, last.stage));
        let seconds = end.duration_since(*start).as_secs_f64();
        (records > 0 && seconds >= 0.0).then(|| seconds / records as f64)
    }
}

/// Seconds until every stage that was asked for is trained, at `seconds_per_record`.
pub fn remaining_seconds(manifest: &RunManifest, seconds_per_record: f64) -> f64 {
    let asked = |stage: &&StageRecord| {
        manifest.requested_stages.is_empty() || manifest.requested_stages.contains(&stage.stage)
    };
    let records = |stage: &StageRecord| {
        let steps = match stage.status {
            RunStatus::Completed => 0,
            _ => stage.total_steps.saturating_sub(stage.steps_done),
        };
        steps as f64 * records_per_step(manifest, stage.stage) as f64
    };
    manifest.stages.iter().filter(asked).map(records).sum::<f64>() * seconds_per_record
}

/// Seconds per record over the stages that are trained; `None` when there is none.
pub fn overall_pace(manifest: &RunManifest) -> Option<f64> {
    let trained = manifest.stages.iter().filter_map(|stage| {
        let records = stage.steps_done as f64 * records_per_step(manifest, stage.stage) as f64;
        Some((stage.duration_seconds?, records))
    });
    let (seconds, records) = trained.fold((0.0, 0.0), |sum, stage| (sum.0 + stage.0, sum.1 + stage.1));
    (records > 0.0).then(|| seconds / records)
}

/// Records of an optimizer step of a language model.
pub fn records_per_step(manifest: &RunManifest, stage: u8) -> u64 {
    manifest.settings.training.stage(stage).records_per_step()
}
