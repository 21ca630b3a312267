use super::{Needs, Policy, Progress, Selected};
use crate::budget::Budget;
use crate::draws::Draws;
use crate::plan::Plan;
use crate::{Observation, Score, SelectionError, Settings, Snapshot};

/// Scores above this quantile count as it: persistently high losses are often wrong labels.
const CLIP_QUANTILE: f64 = 0.95;
/// Least frequency of a sample, as a share of the rate.
const MIN_FREQUENCY: f64 = 0.25;
/// What is added to every score, as a share of the mean.
const SCORE_OFFSET: f32 = 0.01;
/// Most chance in the order of credits, as a share of the rate: so that not always the same samples meet.
const JITTER: f64 = 0.3;
/// Share of full epochs at the end: weights of correction 1 leave nothing to make up for.
const ANNEALING_SHARE: f64 = 0.0;
/// No weight is above it.
const MAX_WEIGHT: f64 = 4.0;
/// The score of a sample that has none.
const UNKNOWN: f32 = -1.0;

/// Samples as often as their remembered scores say, evenly spaced, weighted by how long they waited.
///
/// No forward pass is paid for: scores are those that training saw last. In each epoch
/// - every sample has a frequency `fᵢ = min(1, max(ρ/4, c·sᵢ))` with its score `sᵢ`, clipped at the 95 % quantile, or
///   the mean where it has none, and `c` solved so that frequencies add up to the epoch's samples (`ρ` is their share);
/// - a sample that waited for `max_age` epochs is selected, the oldest first, up to half of the epoch's samples;
/// - the others by credit, the highest first: it grows by `fᵢ` each epoch and falls by 1 when the sample is selected,
///   so that samples come at even distances (stride scheduling: Waldspurger & Weihl, MIT/LCS/TM-528, 1995). With equal
///   scores this is `random`;
/// - with a weight as `ageᵢ^correction` (epochs since it was selected), about 1 in the mean and at most 4. With correction
///   1 and a constant `ρ` the weight is `ρ·ageᵢ` (more in the first epochs), so that what a sample weighs over training
///   is `ρ` times the epoch that selected it last, however often it came, plus less than 2 from the first epochs. Two
///   things are lost: the wait after its last selection, and what the bound of 4 cuts off, where `max_age` is above
///   `4/ρ`. Independent draws with weights `1/pᵢ` have this in expectation alone. Less correction favours high scores
///   (as β of prioritised replay: Schaul et al., ICLR 2016, arXiv:1511.05952).
///
/// The last `annealing_share` of the epochs, none by default, train on everything with weight 1; their cost is taken
/// from the earlier ones ([`Budget`]), so that the mean rate is the target.
pub struct Ast {
    budget: Budget,
    seed: u64,
    max_age: usize,
    correction: f64,
    score: Box<dyn Score>,
    epoch: usize,
    /// The last score of each sample, at least 0, or [`UNKNOWN`].
    scores: Vec<f32>,
    /// Selections that a sample is due.
    credits: Vec<f32>,
    /// The epoch, counted from 1, that selected a sample last; 0 where none did.
    selected: Vec<u32>,
    plan: Plan,
    threshold: Option<f64>,
}

impl Ast {
    /// Takes all settings but `prune_probability`.
    pub fn new(settings: &Settings, score: Box<dyn Score>) -> Result<Self, SelectionError> {
        settings.check()?;
        let annealing_share = settings.annealing_share.unwrap_or(ANNEALING_SHARE);
        // Each sample at its own point between two selections, so that rare ones do not all come in the same epoch.
        let mut draws = Draws::new(settings.seed, usize::MAX, 0);
        let credits = (0..settings.samples).map(|_| draws.unit()).collect();
        Ok(Self {
            budget: Budget::new(settings.target_activation_rate, annealing_share)?,
            seed: settings.seed,
            max_age: settings.max_age,
            correction: settings.correction,
            score,
            epoch: 0,
            scores: vec![UNKNOWN; settings.samples],
            credits,
            selected: vec![0; settings.samples],
            plan: Plan::new(settings.samples),
            threshold: None,
        })
    }

    fn choose(&mut self, count: usize) {
        let rate = count as f64 / self.scores.len() as f64;
        let least = MIN_FREQUENCY * rate;
        let scores = self.clipped();
        let factor = solve(&scores, least, count as f64);
        self.threshold = Some(1.0 / factor);
        let mut weights = 0.0;
        for (credit, &score) in self.credits.iter_mut().zip(&scores) {
            let frequency = frequency(factor, score, least);
            *credit += frequency as f32;
            // A selected sample has waited for the inverse of its frequency, but not from before the first epoch.
            weights += frequency * (1.0 / frequency).min(self.epoch as f64 + 1.0).powf(self.correction);
        }

        let mut draws = Draws::new(self.seed, self.epoch, 0);
        let jitter = (JITTER * rate) as f32;
        let order = (0..).zip(&self.credits).map(|(id, credit)| (credit + jitter * draws.unit(), id));
        let (mut due, mut others): (Vec<(f32, u32)>, Vec<_>) =
            order.partition(|&(_, id)| self.age(id) >= self.max_age);
        due.sort_unstable_by(|a, b| self.age(b.1).cmp(&self.age(a.1)).then(b.0.total_cmp(&a.0)));
        others.extend(due.split_off(due.len().min(count / 2)));
        let left = count - due.len();
        if left < others.len() {
            others.select_nth_unstable_by(left, |a, b| b.0.total_cmp(&a.0));
            others.truncate(left);
        }
        self.add_selected(&due, &others, weights / count as f64);
    }

    /// Puts samples into the plan, those that were due and those of the highest credit; `mean` is the expected one of
    /// their ages to the power of the correction. That of the epoch would make rare samples weigh less together.
    fn add_selected(&mut self, due: &[(f32, u32)], others: &[(f32, u32)], mean: f64) {
        let forced = due.iter().map(|&(_, id)| (id, true));
        for (id, forced) in forced.chain(others.iter().map(|&(_, id)| (id, false))) {
            let index = id as usize;
            let weight = (self.age(id) as f64).powf(self.correction) / mean;
            self.plan.add(index, weight.min(MAX_WEIGHT) as f32, forced);
            self.credits[index] = (self.credits[index] - 1.0).max(-1.0);
            self.selected[index] = self.epoch as u32 + 1;
        }
    }

    /// Epochs since a sample was selected, this one included; since the beginning where it never was.
    fn age(&self, id: u32) -> usize {
        (self.epoch + 1).saturating_sub(self.selected[id as usize] as usize)
    }

    /// The scores, at most their quantile; the mean for those without. All are raised by a little, so that none is 0.
    fn clipped(&self) -> Vec<f32> {
        let mut known: Vec<f32> = self.scores.iter().copied().filter(|score| *score >= 0.0).collect();
        if known.is_empty() {
            return vec![1.0; self.scores.len()];
        }
        let at = ((known.len() - 1) as f64 * CLIP_QUANTILE) as usize;
        let clip = *known.select_nth_unstable_by(at, f32::total_cmp).1;
        let total: f64 = known.iter().map(|score| f64::from(score.min(clip))).sum();
        let mean = (total / known.len() as f64) as f32;
        let raise = (SCORE_OFFSET * mean).max(f32::MIN_POSITIVE);
        let own = |score: f32| if score < 0.0 { mean } else { score.min(clip) };
        self.scores.iter().map(|&score| own(score) + raise).collect()
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
            self.selected.fill(progress.epoch as u32 + 1);
        } else {
            self.plan.clear();
            self.choose(count);
        }
        Needs::Remembered
    }

    fn select(&mut self, candidates: &[usize], _: &[Observation], selected: &mut Vec<Selected>) {
        self.plan.select(candidates, selected);
    }

    /// A score that is no finite number is not remembered.
    fn observe(&mut self, ids: &[usize], observations: &[Observation]) {
        for (&id, &observation) in ids.iter().zip(observations) {
            let score = self.score.score(observation);
            if score.is_finite() {
                self.scores[id] = score.max(0.0);
            }
        }
    }

    /// The score from which a sample comes every epoch.
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
        snapshot.put_array("credits", self.credits.iter().copied());
        snapshot.put_array("selected", self.selected.iter().map(|&epoch| epoch as f32));
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        self.plan.restore(snapshot)?;
        self.epoch = snapshot.number("epoch")? as usize;
        self.threshold = snapshot.number("threshold").ok();
        self.scores = snapshot.array("scores", self.scores.len())?.to_vec();
        self.credits = snapshot.array("credits", self.credits.len())?.to_vec();
        let selected = snapshot.array("selected", self.selected.len())?;
        self.selected.iter_mut().zip(selected).for_each(|(own, &value)| *own = value as u32);
        Ok(())
    }
}

fn frequency(factor: f64, score: f32, least: f64) -> f64 {
    (factor * f64::from(score)).clamp(least, 1.0)
}

/// The factor with which frequencies add up to `wanted`. No score is 0.
fn solve(scores: &[f32], least: f64, wanted: f64) -> f64 {
    let total = |factor: f64| scores.iter().map(|&score| frequency(factor, score, least)).sum::<f64>();
    let lowest = scores.iter().copied().fold(f32::INFINITY, f32::min);
    // Between nothing above the least and everything in every epoch.
    let (mut low, mut high) = (0.0, 1.0 / f64::from(lowest));
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if total(middle) < wanted {
            low = middle;
        } else {
            high = middle;
        }
        if high - low <= 1e-9 * high {
            break;
        }
    }
    high
}
