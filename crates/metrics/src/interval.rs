//! In which interval a figure lies, with 95 % confidence.

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1000;
/// Seed of a bootstrap: the same records have the same interval.
const SEED: u64 = 0x6772_6565_6e74_756e;
/// Share of resamples beyond each end of the interval.
const TAIL: f64 = 0.025;
/// Two-sided quantile of the normal distribution at 95 %.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// Ends of a 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The percentile bootstrap over records (Efron 1979): `score` of 1000 draws of as many records, with replacement and
/// with a fixed seed; their 2.5th and 97.5th percentiles. `None` with fewer than two records.
///
/// It says how the figure would vary with other records of the same kind, and nothing of other seeds in training.
pub fn bootstrap<T>(records: &[T], score: impl Fn(&[&T]) -> f64) -> Option<Interval> {
    if records.len() < 2 {
        return None;
    }
    let mut random = SplitMix64(SEED);
    let mut drawn = Vec::with_capacity(records.len());
    let mut scores = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        drawn.clear();
        drawn.extend((0..records.len()).map(|_| &records[random.below(records.len())]));
        scores.push(score(&drawn));
    }
    scores.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&scores, TAIL), high: quantile(&scores, 1.0 - TAIL) })
}

/// Wilson's score interval of a share (Wilson 1927): `right` of `trials` independent draws. `None` without trials.
pub fn wilson(right: u64, trials: u64) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let (n, share) = (trials as f64, right as f64 / trials as f64);
    let square = NORMAL_QUANTILE * NORMAL_QUANTILE;
    let center = share + square / (2.0 * n);
    let half = NORMAL_QUANTILE * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    let scale = 1.0 + square / n;
    // Rounding must leave neither the share outside nor an end beyond 0 or 1.
    Some(Interval {
        low: ((center - half) / scale).clamp(0.0, share),
        high: ((center + half) / scale).clamp(share, 1.0),
    })
}

/// Between the two nearest values, as numpy's `percentile` does it. `sorted` is not empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let (below, part) = (position.floor() as usize, position.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    // Equal ends may be infinite, whose difference is no number.
    if part == 0.0 || above.total_cmp(&sorted[below]).is_eq() {
        sorted[below]
    } else {
        sorted[below] + (above - sorted[below]) * part
    }
}

/// Steele, Lea and Flood 2014.
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, by the upper half of a product (Lemire 2019).
    const fn below(&mut self, limit: usize) -> usize {
        ((self.next() as u128 * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_has_no_interval_and_equal_ones_have_none_to_speak_of() {
        let mean = |drawn: &[&f64]| drawn.iter().copied().sum::<f64>() / drawn.len() as f64;
        assert_eq!(bootstrap(&[0.5], mean), None);
        assert_eq!(bootstrap(&[0.5; 9], mean), Some(Interval { low: 0.5, high: 0.5 }));
        assert_eq!(
            bootstrap(&[f64::INFINITY; 3], mean),
            Some(Interval { low: f64::INFINITY, high: f64::INFINITY })
        );
    }

    #[test]
    fn a_share_of_few_records_is_uncertain_also_at_its_ends() {
        assert_eq!(wilson(0, 0), None);
        let none = wilson(0, 10).unwrap();
        assert!(none.low.abs() < 1e-12 && (none.high - 0.277_53).abs() < 1e-4, "{none:?}");
        let all = wilson(3, 3).unwrap();
        assert!(all.low < 0.5 && (all.high - 1.0).abs() < 1e-12, "{all:?}");
    }
}
