use super::{Needs, Policy, Progress, Selected};
use crate::budget::Budget;
use crate::draws::Draws;
use crate::plan::Plan;
use crate::{Observation, Score, SelectionError, Settings, Snapshot};

/// Scores above this quantile count as it: persistently high losses are often wrong labels.
const CLIP_QUANTILE: f64 = 0.95;
/// Least inclusion probability, as a share of the rate: no weight is above its inverse.
const LEAST_INCLUSION: f64 = 0.25;
/// What is added to every score, as a share of the mean.
const RAISE: f32 = 0.01;

/// Samples drawn by remembered scores, with weights that keep the expected gradient that of all samples.
///
/// No forward pass is paid for: scores are those that training saw last. In each epoch
/// - a sample that was not trained on for `max_age` epochs is selected, the oldest first, up to half of the epoch's
///   samples;
/// - any other with a probability `pᵢ = min(1, max(ρ/4, c·sᵢ))`, with its score `sᵢ`, clipped at the 95 % quantile, or
///   the mean where it has none, and `c` solved so that they add up to the rest of the epoch's samples (`ρ` is the
///   share of all that the epoch trains on);
/// - by systematic sampling in random order (Madow, *Ann. Math. Statist.* 20, 1949), which takes that many exactly;
/// - with the weight `ρ/pᵢ` (Horvitz & Thompson, *JASA* 47, 1952), `ρ` for those that were due: at most 4, and 1 in
///   the mean.
///
/// The last `annealing_share` of the epochs train on everything with weight 1; their cost is taken from the earlier
/// ones ([`Budget`]), so that the mean rate is the target.
pub struct Ast {
    budget: Budget,
    seed: u64,
    max_age: usize,
    score: Box<dyn Score>,
    epoch: usize,
    /// The last score of each sample, where it has one.
    scores: Vec<f32>,
    /// The epoch, counted from 1, in which a sample was scored last; 0 where it was not.
    seen: Vec<u32>,
    plan: Plan,
    threshold: Option<f64>,
}

impl Ast {
    /// Takes all settings but `prune_probability`.
    pub fn new(settings: &Settings, score: Box<dyn Score>) -> Result<Self, SelectionError> {
        settings.check()?;
        Ok(Self {
            budget: Budget::new(settings.target_activation_rate, settings.annealing_share)?,
            seed: settings.seed,
            max_age: settings.max_age,
            score,
            epoch: 0,
            scores: vec![0.0; settings.samples],
            seen: vec![0; settings.samples],
            plan: Plan::new(settings.samples),
            threshold: None,
        })
    }

    fn draw(&mut self, count: usize) {
        let samples = self.scores.len();
        let rate = count as f64 / samples as f64;
        let mut draws = Draws::new(self.seed, self.epoch, 0);
        // Oldest first, in random order among equals: those that are due are a prefix.
        let mut order: Vec<(u32, u32, u32)> =
            (0..).zip(&self.seen).map(|(id, &seen)| (self.due(seen), draws.bits(), id)).collect();
        order.sort_unstable();
        let due = order.iter().take(count / 2).take_while(|(seen, ..)| *seen < u32::MAX).count();
        let (forced, rest) = order.split_at(due);
        for &(_, _, id) in forced {
            self.plan.add(id as usize, rate as f32, true);
        }
        let scores = self.clipped(rest.iter().map(|&(_, _, id)| id as usize));
        let wanted = (count - due) as f64;
        let least = LEAST_INCLUSION * rate;
        let factor = solve(&scores, least, wanted);
        self.threshold = Some(1.0 / factor);
        // A unit interval is passed where the sum of probabilities, from a random start, passes a whole number.
        let mut passed = f64::from(draws.unit());
        let mut left = count - due;
        for (index, (&(_, _, id), &score)) in rest.iter().zip(&scores).enumerate() {
            let inclusion = include(factor, score, least);
            passed += inclusion;
            let last = rest.len() - index <= left;
            if left > 0 && (passed >= 1.0 || last) {
                passed -= 1.0;
                left -= 1;
                self.plan.add(id as usize, (rate / inclusion) as f32, false);
            }
        }
    }

    /// When a sample was scored last, where that is too long ago; else later than all of these.
    fn due(&self, seen: u32) -> u32 {
        if self.epoch + 1 - (seen as usize).min(self.epoch + 1) >= self.max_age { seen } else { u32::MAX }
    }

    /// Scores of samples, from 0 to the quantile; the mean of these for those without. All are raised by a little,
    /// so that none is 0.
    fn clipped(&self, ids: impl Iterator<Item = usize> + Clone) -> Vec<f32> {
        let known = ids.clone().filter(|&id| self.seen[id] > 0).map(|id| self.scores[id].max(0.0));
        let mut sorted: Vec<f32> = known.clone().collect();
        if sorted.is_empty() {
            return ids.map(|_| 1.0).collect();
        }
        let at = ((sorted.len() - 1) as f64 * CLIP_QUANTILE) as usize;
        let (_, &mut clip, _) = sorted.select_nth_unstable_by(at, f32::total_cmp);
        let total: f64 = known.map(|score| f64::from(score.min(clip))).sum();
        let mean = (total / sorted.len() as f64) as f32;
        let raise = (RAISE * mean).max(f32::MIN_POSITIVE);
        let own = |id: usize| if self.seen[id] > 0 { self.scores[id].clamp(0.0, clip) } else { mean };
        ids.map(|id| own(id) + raise).collect()
    }
}

impl Policy for Ast {
    fn name(&self) -> &'static str {
        "ast"
    }

    fn start_epoch(&mut self, progress: Progress) -> Needs {
        self.epoch = progress.epoch;
        let count = self.budget.samples(progress, self.scores.len());
        if count == self.scores.len() {
            self.plan.all();
        } else {
            self.plan.clear();
            self.draw(count);
        }
        Needs::Remembered
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        self.plan.select(candidates, selected);
    }

    /// A score that is no finite number is not remembered: the sample grows older.
    fn observe(&mut self, ids: &[usize], observations: &[Observation]) {
        for (&id, &observation) in ids.iter().zip(observations) {
            let score = self.score.score(observation);
            if score.is_finite() {
                self.scores[id] = score;
                self.seen[id] = self.epoch as u32 + 1;
            }
        }
    }

    /// The score from which a sample is selected for sure.
    fn threshold(&self) -> Option<f64> {
        self.threshold
    }

    fn save(&self, snapshot: &mut Snapshot) {
        self.plan.save(snapshot);
        snapshot.put("epoch", self.epoch as f64);
        if let Some(threshold) = self.threshold {
            snapshot.put("threshold", threshold);
        }
        snapshot.put_array("scores", self.scores.iter().copied());
        snapshot.put_array("seen", self.seen.iter().map(|&seen| seen as f32));
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.plan.restore(snapshot)?;
        self.epoch = snapshot.number("epoch")? as usize;
        self.threshold = snapshot.number("threshold").ok();
        self.scores.copy_from_slice(snapshot.array("scores", self.scores.len())?);
        let seen = snapshot.array("seen", self.seen.len())?;
        self.seen.iter_mut().zip(seen).for_each(|(own, &value)| *own = value as u32);
        Ok(())
    }
}

fn include(factor: f64, score: f32, least: f64) -> f64 {
    (factor * f64::from(score)).clamp(least, 1.0)
}

/// The factor with which inclusion probabilities add up to `wanted`.
fn solve(scores: &[f32], least: f64, wanted: f64) -> f64 {
    let total = |factor: f64| scores.iter().map(|&score| include(factor, score, least)).sum::<f64>();
    let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
    // Between nothing above the least and everything certain.
    let (mut low, mut high) = (0.0, 1.0 / f64::from(lowest));
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if total(middle) < wanted {
            low = middle
        } else {
            high = middle
        }
        if high - low <= 1e-9 * high {
            break;
        }
    }
    high
}
