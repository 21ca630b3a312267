use super::{Needs, Policy, Progress, Selected};
use crate::{Observation, Score, SelectionError, Settings, Snapshot};

const INITIAL_THRESHOLD: f64 = 3.0;
const THRESHOLD_LIMITS: (f64, f64) = (0.5, 10.0);
const KP: f64 = 0.005;
const KI: f64 = 0.0001;
const INTEGRAL_LIMIT: f64 = 100.0;
const INTEGRAL_DECAY: f64 = 0.90;
const EMA_ALPHA: f64 = 0.1;
const FLOOR_SHARE: f64 = 0.10;
const FLOOR_SAMPLES: usize = 2;

/// The rule of the package adaptive-sparse-training 1.0.1 (`sundew.py`), to the digit, for comparison.
///
/// A sample is active when its score exceeds a threshold; where fewer than 10 % of the chunk (or than 2) do, the
/// highest are. The threshold is moved by a PI controller on a moving average of the activation rate, whose output is
/// added to the last threshold: integrated twice. All weights are 1. Scores are compared in `f32`, as torch does.
///
/// Two things that the package leaves open are settled here: of equal scores at the floor the first is taken, and a
/// chunk of one sample is selected (the package fails on it).
pub struct Sundew {
    target: f64,
    score: Box<dyn Score>,
    threshold: f64,
    integral: f64,
    rate: f64,
    scores: Vec<f32>,
    order: Vec<usize>,
}

impl Sundew {
    /// Takes `target_activation_rate` of the settings.
    pub fn new(settings: &Settings, score: Box<dyn Score>) -> Result<Self, SelectionError> {
        settings.check()?;
        Ok(Self {
            target: settings.target_activation_rate,
            score,
            threshold: INITIAL_THRESHOLD,
            integral: 0.0,
            rate: settings.target_activation_rate,
            scores: Vec::new(),
            order: Vec::new(),
        })
    }

    fn control(&mut self, activation_rate: f64) {
        self.rate = EMA_ALPHA * activation_rate + (1.0 - EMA_ALPHA) * self.rate;
        let error = self.rate - self.target;
        if self.threshold > THRESHOLD_LIMITS.0 && self.threshold < THRESHOLD_LIMITS.1 {
            self.integral = (self.integral + error).clamp(-INTEGRAL_LIMIT, INTEGRAL_LIMIT);
        } else {
            self.integral *= INTEGRAL_DECAY;
        }
        // In this order: sums of f64 depend on it.
        let threshold = self.threshold + KP * error + KI * self.integral;
        self.threshold = threshold.clamp(THRESHOLD_LIMITS.0, THRESHOLD_LIMITS.1);
    }
}

impl Policy for Sundew {
    fn name(&self) -> &'static str {
        "sundew"
    }

    fn start_epoch(&mut self, _: Progress) -> Needs {
        Needs::Fresh
    }

    fn select(&mut self, candidates: &[usize], fresh: &[Observation], selected: &mut Vec<Selected>) {
        if candidates.is_empty() {
            return;
        }
        self.scores.clear();
        self.scores.extend(fresh.iter().map(|&observation| self.score.score(observation)));
        let (size, before) = (candidates.len(), selected.len());
        let threshold = self.threshold as f32;
        let above = candidates.iter().zip(&self.scores).filter(|(_, score)| **score > threshold);
        selected.extend(above.map(|(&id, _)| Selected { id, weight: 1.0, forced: false }));

        let floor = FLOOR_SAMPLES.max((size as f64 * FLOOR_SHARE) as usize);
        if selected.len() - before < floor {
            selected.truncate(before);
            self.order.clear();
            self.order.extend(0..size);
            // As torch's topk: a score that is no number is the highest.
            let rank = |score: f32| if score.is_nan() { f32::INFINITY } else { score };
            self.order.sort_by(|&a, &b| rank(self.scores[b]).total_cmp(&rank(self.scores[a])));
            self.order.truncate(floor);
            self.order.sort_unstable();
            let chosen =
                self.order.iter().map(|&index| Selected { id: candidates[index], weight: 1.0, forced: true });
            selected.extend(chosen);
        }
        self.control((selected.len() - before) as f64 / size as f64);
    }

    fn observe(&mut self, _: &[usize], _: &[Observation]) {}

    fn threshold(&self) -> Option<f64> {
        Some(self.threshold)
    }

    fn save(&self, snapshot: &mut Snapshot) {
        snapshot.put("threshold", self.threshold);
        snapshot.put("integral", self.integral);
        snapshot.put("rate", self.rate);
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.threshold = snapshot.number("threshold")?;
        self.integral = snapshot.number("integral")?;
        self.rate = snapshot.number("rate")?;
        Ok(())
    }
}
