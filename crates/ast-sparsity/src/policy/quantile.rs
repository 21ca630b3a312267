use std::collections::VecDeque;

use super::{Needs, Policy, Progress, Selected};
use crate::control::PiController;
use crate::draws::Draws;
use crate::snapshot::snapshot_error;
use crate::{Observation, Score, SelectionError, Settings, Snapshot};

/// Scores that the quantile is of; more where a chunk has more.
const WINDOW: usize = 1024;
/// Gains on the error of a chunk's rate: its memory is 50 chunks. With scores that only rise or only fall, a chunk of 64
/// lies wholly at one end of the window, and the rate answers to the level 16-fold: the loop is stable there too
/// (roots of `z² − (1 − 16·(KP + KI))·z − 16·KP`).
const KP: f64 = 0.03;
const KI: f64 = 0.02;

/// Selects the highest fresh scores by a running quantile, so that the target rate holds at any scale of the loss.
///
/// The threshold is the `1 − level` quantile of the last 1024 scores, including those of the chunk. The level is the
/// target plus the output of a [`PiController`] on the error of the quantile's rate, which compensates for a window
/// that lags behind drifting scores. Ties are broken by a uniform draw for each score, so that of equal scores (zero
/// losses, for example) as many are selected as the rate demands. All weights are 1.
///
/// The number of samples selected too few or too many never exceeds one chunk. Where it would, as with scores that only
/// fall, more or fewer of the chunk's highest scores are selected. So the rate of 200 chunks is within a point of the
/// target.
///
/// A score that is not a finite number is selected. It does not enter the window and does not count for the rate.
pub struct Quantile {
    target: f64,
    seed: u64,
    score: Box<dyn Score>,
    control: PiController,
    level: f64,
    /// Samples still to be selected; negative if too many were selected.
    shortfall: f64,
    epoch: usize,
    /// Draws made in this epoch.
    drawn: u64,
    /// The last scores, each with its draw.
    window: VecDeque<(f32, f32)>,
    /// The last ones of the window, to be partitioned.
    sorted: Vec<(f32, f32)>,
    threshold: Option<f64>,
}

impl Quantile {
    /// Takes `target_activation_rate` and `seed` of the settings.
    pub fn new(settings: &Settings, score: Box<dyn Score>) -> Result<Self, SelectionError> {
        settings.check()?;
        Ok(Self {
            target: settings.target_activation_rate,
            seed: settings.seed,
            score,
            control: PiController::new(
                KP,
                KI,
                (-settings.target_activation_rate, 1.0 - settings.target_activation_rate),
            ),
            level: settings.target_activation_rate,
            shortfall: 0.0,
            epoch: 0,
            drawn: 0,
            window: VecDeque::new(),
            sorted: Vec::new(),
            threshold: None,
        })
    }

    /// The least score and draw that are selected of the last `size` of the window; `None` where none are.
    fn cut(&mut self, size: usize) -> Option<(f32, f32)> {
        if size == 0 {
            return None;
        }
        let window = self.window.len();
        let running = self.highest(window, (self.level * window as f64).round() as usize);
        let chunk = self.window.range(window - size..);
        let above = running.map_or(0, |cut| chunk.filter(|rank| by_score(**rank, cut).is_ge()).count());
        let due = self.shortfall + self.target * size as f64;
        let slack = size as f64;
        let count = (above as f64).clamp((due - slack).ceil(), (due + slack).floor()).clamp(0.0, slack);
        self.shortfall = due - count;
        // The error of the quantile alone: that of the mended count is none, and the level would stay where it is.
        let error = self.target - above as f64 / slack;
        self.level = (self.target + self.control.update(error)).clamp(0.0, 1.0);
        if count as usize == above { running } else { self.highest(size, count as usize) }
    }

    /// The last of the `count` highest among the last `size` of the window.
    fn highest(&mut self, size: usize, count: usize) -> Option<(f32, f32)> {
        self.sorted.clear();
        self.sorted.extend(self.window.range(self.window.len() - size..));
        let (_, cut, _) = self.sorted.select_nth_unstable_by(count.checked_sub(1)?, |a, b| by_score(*b, *a));
        Some(*cut)
    }
}

impl Policy for Quantile {
    fn name(&self) -> &'static str {
        "quantile"
    }

    fn start_epoch(&mut self, progress: Progress) -> Needs {
        self.epoch = progress.epoch;
        self.drawn = 0;
        if self.target >= 1.0 { Needs::Nothing } else { Needs::Fresh }
    }

    fn select(&mut self, candidates: &[usize], fresh: &[Observation], selected: &mut Vec<Selected>) {
        let everything = |id| Selected { id, weight: 1.0, forced: false };
        if self.target >= 1.0 {
            return selected.extend(candidates.iter().map(|&id| everything(id)));
        }
        let mut draws = Draws::new(self.seed, self.epoch, self.drawn);
        self.drawn += candidates.len() as u64;
        let before = self.window.len();
        // Every candidate has its draw, so that positions are those of candidates.
        let ranked = fresh.iter().map(|&observation| (self.score.score(observation), draws.unit()));
        self.window.extend(ranked.filter(|(score, _)| score.is_finite()));
        let finite = self.window.len() - before;
        let surplus = self.window.len().saturating_sub(WINDOW.max(finite));
        self.window.drain(..surplus);

        let cut = self.cut(finite);
        self.threshold = cut.map(|(score, _)| f64::from(score)).or(self.threshold);
        let mut ranks = self.window.range(self.window.len() - finite..);
        for (&id, &observation) in candidates.iter().zip(fresh) {
            if !self.score.score(observation).is_finite() {
                selected.push(Selected { id, weight: 1.0, forced: true });
            } else if ranks.next().zip(cut).is_some_and(|(rank, cut)| by_score(*rank, cut).is_ge()) {
                selected.push(everything(id));
            }
        }
    }

    fn observe(&mut self, _: &[usize], _: &[Observation]) {}

    fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    fn save(&self, snapshot: &mut Snapshot) {
        snapshot.put("epoch", self.epoch as f64);
        snapshot.put("drawn", self.drawn as f64);
        snapshot.put("level", self.level);
        snapshot.put("owed", self.shortfall);
        snapshot.put("integral", self.control.integral);
        if let Some(threshold) = self.threshold {
            snapshot.put("threshold", threshold);
        }
        snapshot.put_array("window", self.window.iter().map(|(score, _)| *score));
        snapshot.put_array("ties", self.window.iter().map(|(_, tie)| *tie));
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        let (scores, ties) = (snapshot.window("window")?, snapshot.window("ties")?);
        if scores.len() != ties.len() {
            return Err(snapshot_error(&format!("{} ties", ties.len()), &scores.len().to_string()));
        }
        self.window = scores.iter().copied().zip(ties.iter().copied()).collect();
        self.epoch = snapshot.number("epoch")? as usize;
        self.drawn = snapshot.number("drawn")? as u64;
        self.level = snapshot.number("level")?;
        if !(0.0..=1.0).contains(&self.level) {
            return Err(snapshot_error(&format!("level = {}", self.level), "a number from 0 to 1"));
        }
        self.shortfall = snapshot.number("owed")?;
        self.control.integral = snapshot.number("integral")?;
        self.threshold = snapshot.number("threshold").ok();
        Ok(())
    }
}

fn by_score(a: (f32, f32), b: (f32, f32)) -> std::cmp::Ordering {
    // -0 and 0 are one score.
    (a.0 + 0.0).total_cmp(&(b.0 + 0.0)).then(a.1.total_cmp(&b.1))
}
