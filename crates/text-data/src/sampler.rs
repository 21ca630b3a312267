//! Which record comes next: a pure function of the seed and the number of draws made.

use std::ops::Range;

use super::error::DataError;

/// Weights that records can be drawn by.
const WEIGHT_RANGE: (f64, f64) = (0.01, 100.0);

/// One draw: an example of the stage's own data set, or a replayed one of the stage before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Draw {
    /// Whether it comes from the data set that is replayed.
    pub replay: bool,
    /// Index of the example in its data set.
    pub index: usize,
    /// Its place among the copies of all examples in a pass, which tells two draws of one example apart.
    pub copy: usize,
}

/// A data set that is mixed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// Sampling weights of its examples.
    pub weights: Vec<f64>,
    /// Share of all draws that comes from it, in `[0, 1)`.
    pub ratio: f64,
}

/// Draws examples without end, pass after pass.
///
/// In a pass each example comes as often as its weight says, relative to the least weight, in an order that is shuffled
/// for each pass. Where the weight is not a whole number, the passes alternate between the two numbers next to it, each
/// example with an offset of its own. So after any number of passes it has come its due number of times, within less
/// than one. Replayed examples are spread evenly over the draws.
///
/// The state is only [`drawn`](Self::drawn); [`seek`](Self::seek) continues from there.
#[derive(Clone, Debug)]
pub struct Sampler {
    own: Passes,
    replay: Option<(Passes, f64)>,
    position: u64,
}

impl Sampler {
    /// Draws by `weights`, one per example, and by those of `replay`.
    ///
    /// # Errors
    /// [`DataError::NothingToDraw`] for no weights; [`DataError::Weight`] for one outside 0.01 to 100.
    pub fn new(seed: u64, weights: &[f64], replay: Option<Replay>) -> Result<Self, DataError> {
        let replay = match replay {
            Some(Replay { weights, ratio }) if ratio > 0.0 => {
                Some((Passes::new(mix(seed ^ 1), &weights)?, ratio.min(1.0)))
            }
            _ => None,
        };
        Ok(Self { own: Passes::new(mix(seed), weights)?, replay, position: 0 })
    }

    /// Draws made so far.
    pub fn drawn(&self) -> u64 {
        self.position
    }

    /// Goes on as if `position` draws had been made.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Copies of the stage's own examples in a pass: [`Draw::copy`] is below it.
    pub fn copies(&self) -> usize {
        self.own.example_of.len()
    }

    /// The stage's own example whose copy it is.
    pub fn own_copy(&self, copy: usize) -> Draw {
        self.own.draw(copy, false)
    }

    /// The draw at `position` of the stage's own ones, were nothing replayed.
    pub fn own(&mut self, position: u64) -> Draw {
        let copy = self.own.copy_at(position);
        self.own.draw(copy, false)
    }

    /// The pass over the stage's own examples, from 0, that the draw at `position` of them is in, and its draws.
    pub fn own_pass(&mut self, position: u64) -> (u64, Range<u64>) {
        self.own.copy_at(position);
        (self.own.pass, self.own.start..self.own.start + self.own.order.len() as u64)
    }

    /// Share of all draws that is replayed.
    pub fn replay_ratio(&self) -> f64 {
        self.replay.as_ref().map_or(0.0, |(_, ratio)| *ratio)
    }

    /// The draw at `position` of all, where an example is replayed there.
    pub fn replayed(&mut self, position: u64) -> Option<Draw> {
        let before = self.replayed_before(position);
        let is_due = self.replayed_before(position + 1) > before;
        let (replay, _) = self.replay.as_mut().filter(|_| is_due)?;
        let copy = replay.copy_at(before);
        Some(replay.draw(copy, true))
    }

    /// How many of the first `position` draws are replayed ones.
    fn replayed_before(&self, position: u64) -> u64 {
        self.replay.as_ref().map_or(0, |(_, ratio)| (position as f64 * ratio).floor() as u64)
    }
}

impl Iterator for Sampler {
    type Item = Draw;

    /// Never `None`.
    fn next(&mut self) -> Option<Draw> {
        let position = self.position;
        self.position += 1;
        let replayed = self.replayed(position);
        Some(replayed.unwrap_or_else(|| self.own(position - self.replayed_before(position))))
    }
}

/// One data set, pass after pass.
#[derive(Clone, Debug)]
struct Passes {
    seed: u64,
    /// Times per pass, at least 1.
    times: Vec<f64>,
    /// Where in `[0, 1)` an example's fraction starts.
    offsets: Vec<f64>,
    pass: u64,
    /// Draws before this pass.
    start: u64,
    /// Copies, in the order of the pass.
    order: Vec<u32>,
    /// The example that a copy is of: as many copies of each as a pass may hold.
    example_of: Vec<u32>,
}

impl Passes {
    fn new(seed: u64, weights: &[f64]) -> Result<Self, DataError> {
        let range = WEIGHT_RANGE;
        if let Some(&weight) = weights.iter().find(|weight| !(range.0..=range.1).contains(*weight)) {
            return Err(DataError::Weight { weight, range });
        }
        let least = weights.iter().copied().reduce(f64::min).ok_or(DataError::NothingToDraw)?;
        let mut random = SplitMix64 { state: seed };
        let mut passes = Self {
            seed,
            times: weights.iter().map(|weight| weight / least).collect(),
            offsets: weights.iter().map(|_| random.unit()).collect(),
            pass: 0,
            start: 0,
            order: Vec::new(),
            example_of: Vec::new(),
        };
        for (example, times) in passes.times.iter().enumerate() {
            passes.example_of.extend((0..times.ceil() as u64).map(|_| example as u32));
        }
        passes.enter(0);
        Ok(passes)
    }

    fn draw(&self, copy: usize, replay: bool) -> Draw {
        Draw { replay, index: self.example_of[copy] as usize, copy }
    }

    fn copy_at(&mut self, draw: u64) -> usize {
        if draw < self.start || draw >= self.start + self.order.len() as u64 {
            self.enter(self.pass_of(draw));
        }
        self.order[(draw - self.start) as usize] as usize
    }

    fn pass_of(&self, draw: u64) -> u64 {
        let mut pass = (draw as f64 / self.times.iter().sum::<f64>()) as u64;
        // The estimate is off by less than one draw per example, and a pass has at least that many.
        while self.draws_before(pass) > draw {
            pass -= 1;
        }
        while self.draws_before(pass + 1) <= draw {
            pass += 1;
        }
        pass
    }

    fn draws_before(&self, pass: u64) -> u64 {
        (0..self.times.len()).map(|example| self.times_before(pass, example)).sum()
    }

    fn times_before(&self, pass: u64, example: usize) -> u64 {
        (pass as f64 * self.times[example] + self.offsets[example]) as u64
    }

    fn enter(&mut self, pass: u64) {
        self.pass = pass;
        self.start = self.draws_before(pass);
        self.order.clear();
        let mut first = 0;
        for example in 0..self.times.len() {
            let times = self.times_before(pass + 1, example) - self.times_before(pass, example);
            self.order.extend((0..times as u32).map(|copy| first + copy));
            first += self.times[example].ceil() as u32;
        }
        let mut random = SplitMix64 { state: mix(self.seed ^ mix(pass)) };
        for last in (1..self.order.len()).rev() {
            self.order.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195): ten lines that give the same values
/// on every platform and with every version of any library, which resuming relies on.
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A multiple of 2^-53 in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number below `bound`; off from uniform by less than `bound` / 2^64.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The finalizer of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampler(seed: u64, weights: &[f64]) -> Sampler {
        Sampler::new(seed, weights, None).unwrap()
    }

    fn indices(sampler: &mut Sampler, draws: usize) -> Vec<usize> {
        sampler.take(draws).map(|draw| draw.index).collect()
    }

    fn frequencies(sampler: &mut Sampler, examples: usize, draws: usize) -> Vec<usize> {
        let mut frequencies = vec![0; examples];
        for draw in sampler.take(draws) {
            frequencies[draw.index] += 1;
        }
        frequencies
    }

    #[test]
    fn reference_values_of_splitmix64() {
        // From the reference implementation by Vigna, seed 1234567.
        let mut random = SplitMix64 { state: 1_234_567 };
        let values: Vec<_> = (0..3).map(|_| random.next()).collect();
        assert_eq!(values, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn drawn_values_are_pinned() {
        assert_eq!(
            indices(&mut sampler(42, &[1.0; 8]), 16),
            [6, 0, 7, 2, 5, 1, 3, 4, 0, 2, 6, 4, 1, 3, 7, 5]
        );
        assert_eq!(indices(&mut sampler(42, &[1.0, 2.5, 1.0]), 12), [2, 0, 1, 1, 1, 0, 1, 2, 1, 2, 1, 1]);
    }

    #[test]
    fn equal_weights_give_each_record_once_per_pass() {
        for weight in [1.0, 2.5] {
            let mut sampler = sampler(7, &[weight; 50]);
            let passes: Vec<_> = (0..3).map(|_| indices(&mut sampler, 50)).collect();
            for pass in &passes {
                let mut sorted = pass.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..50).collect::<Vec<_>>());
            }
            assert_ne!(passes[0], passes[1]);
            assert_ne!(passes[1], passes[2]);
        }
    }

    #[test]
    fn the_multiplier_is_how_many_times_as_often() {
        let mut weights = vec![1.0; 80];
        weights.extend([2.5; 20]);
        let frequencies = frequencies(&mut sampler(3, &weights), 100, 13_000);
        for (index, frequency) in frequencies.iter().enumerate() {
            let expected = if index < 80 { 100.0 } else { 250.0 };
            assert!((*frequency as f64 - expected).abs() <= 3.0, "example {index}: {frequency}");
        }
    }

    #[test]
    fn seeds_differ() {
        let draws = |seed| indices(&mut sampler(seed, &[1.0; 20]), 20);
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert_ne!(draws(0), draws(1));
    }

    #[test]
    fn replay_has_its_exact_share_spread_evenly() {
        let replay = Replay { weights: vec![1.0; 10], ratio: 0.15 };
        let mut sampler = Sampler::new(5, &[1.0; 30], Some(replay)).unwrap();
        let draws: Vec<_> = sampler.by_ref().take(2000).collect();
        assert_eq!(draws.iter().filter(|draw| draw.replay).count(), 300);
        for window in draws.chunks(20) {
            assert_eq!(window.iter().filter(|draw| draw.replay).count(), 3);
        }
        let own: Vec<_> = draws.iter().filter(|draw| !draw.replay).map(|draw| draw.index).collect();
        assert_eq!(own[..30], indices(&mut Sampler::new(5, &[1.0; 30], None).unwrap(), 30));
        let mut replayed: Vec<_> =
            draws.iter().filter(|draw| draw.replay).map(|draw| draw.index).take(10).collect();
        replayed.sort_unstable();
        assert_eq!(replayed, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_ratio_of_zero_replays_nothing() {
        let mut sampler = Sampler::new(5, &[1.0; 3], Some(Replay { weights: vec![], ratio: 0.0 })).unwrap();
        assert!(sampler.by_ref().take(100).all(|draw| !draw.replay));
    }

    #[test]
    fn nothing_and_nonsense_are_refused() {
        assert!(matches!(Sampler::new(1, &[], None), Err(DataError::NothingToDraw)));
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert!(
                matches!(Sampler::new(1, &[1.0, weight], None), Err(DataError::Weight { .. })),
                "{weight}"
            );
        }
    }

    proptest! {
        #[test]
        fn resuming_anywhere_draws_the_same(
            seed: u64,
            weights in prop::collection::vec(0.5_f64..4.0, 1..12),
            ratio in 0.0_f64..0.9,
            positions in prop::collection::vec(0_u64..300, 1..5),
        ) {
            let replay = Replay { weights: vec![1.0, 2.5, 1.0], ratio };
            let sampler = Sampler::new(seed, &weights, Some(replay)).unwrap();
            let draws: Vec<_> = sampler.clone().take(320).collect();
            let mut resumed = sampler;
            for position in positions {
                resumed.seek(position);
                let again: Vec<_> = resumed.by_ref().take(20).collect();
                prop_assert_eq!(&again[..], &draws[position as usize..position as usize + 20]);
                prop_assert_eq!(resumed.drawn(), position + 20);
            }
        }

        #[test]
        fn frequencies_follow_any_weights(seed: u64, weights in prop::collection::vec(0.1_f64..5.0, 1..10)) {
            let draws = 5000;
            let total: f64 = weights.iter().sum();
            let least = weights.iter().copied().fold(f64::INFINITY, f64::min);
            let frequencies = frequencies(&mut sampler(seed, &weights), weights.len(), draws);
            for (weight, frequency) in weights.iter().zip(frequencies) {
                let expected = draws as f64 * weight / total;
                // Less than one off at the end of a pass, and within a pass by what it holds of the record.
                prop_assert!((frequency as f64 - expected).abs() <= weight / least + 2.0);
            }
        }
    }
}
