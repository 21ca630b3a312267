//! Means, intervals and differences of a few runs, and shares of a few thousand images.

use std::f64::consts::FRAC_PI_2;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Confidence of every interval that is not the meter's.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Two-sided quantile of the normal distribution at [`CONFIDENCE`].
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// Where an interval comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalSource {
    /// 95 % by Student's t over the seeds of one group.
    Seeds,
    /// 95 % by the paired t over seeds that both groups have.
    PairedSeeds,
    /// 95 % by Welch's t over seeds that differ.
    WelchSeeds,
    /// 95 % by Wilson's score over the validation records; of a difference by Newcombe's method.
    Records,
    /// Between what the meters' intervals allow.
    Meter,
}

impl IntervalSource {
    /// In words, for a table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seeds => "t",
            Self::PairedSeeds => "paired t",
            Self::WelchSeeds => "Welch t",
            Self::Records => "Wilson",
            Self::Meter => "meter",
        }
    }
}

/// One value per seed, of one group of runs.
pub(crate) type PerSeed = [(u64, f64)];

/// A difference or a ratio with its interval, which a single pair of runs does not give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub value: f64,
    pub interval: Option<([f64; 2], IntervalSource)>,
}

/// Mean of `values`; `None` when there is none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample (n − 1); `None` below two values.
pub(crate) fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// 95 % interval of the mean of `values` by Student's t; `None` below two values.
pub(crate) fn interval_of_mean(values: &[f64]) -> Option<[f64; 2]> {
    let (mean, deviation) = (mean(values)?, standard_deviation(values)?);
    let half = t_quantile((values.len() - 1) as f64) * deviation / (values.len() as f64).sqrt();
    Some([mean - half, mean + half])
}

/// The values of `a` less those of `b`: paired where both have the same seeds, by Welch's method else.
pub(crate) fn difference(a: &PerSeed, b: &PerSeed) -> Option<Estimate> {
    if let Some(pairs) = paired(a, b) {
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
        let interval = interval_of_mean(&differences);
        return Some(Estimate {
            value: mean(&differences)?,
            interval: interval.map(|interval| (interval, IntervalSource::PairedSeeds)),
        });
    }
    let (a, b) = (values(a), values(b));
    let value = mean(&a)? - mean(&b)?;
    Some(Estimate {
        value,
        interval: welch_half_width(&a, &b)
            .map(|half| ([value - half, value + half], IntervalSource::WelchSeeds)),
    })
}

/// The values of `a` over those of `b`, as the geometric mean: its interval is that of the difference of logarithms.
///
/// `None` where a value is not above 0.
pub(crate) fn ratio(a: &PerSeed, b: &PerSeed) -> Option<Estimate> {
    let logarithms = |group: &PerSeed| -> Option<Vec<(u64, f64)>> {
        group.iter().map(|(seed, value)| (*value > 0.0).then(|| (*seed, value.ln()))).collect()
    };
    let Estimate { value, interval } = difference(&logarithms(a)?, &logarithms(b)?)?;
    Some(Estimate {
        value: value.exp(),
        interval: interval.map(|(interval, source)| (interval.map(f64::exp), source)),
    })
}

/// The values of `a` and `b` seed by seed; `None` unless both have the same seeds, each once.
pub(crate) fn paired(a: &PerSeed, b: &PerSeed) -> Option<Vec<(f64, f64)>> {
    let sorted = |group: &PerSeed| {
        let mut group = group.to_vec();
        group.sort_by_key(|(seed, _)| *seed);
        group
    };
    let (a, b) = (sorted(a), sorted(b));
    let same = a.len() == b.len()
        && a.iter().zip(&b).all(|(a, b)| a.0 == b.0)
        && a.windows(2).all(|two| two[0].0 != two[1].0);
    (same && !a.is_empty()).then(|| a.iter().zip(&b).map(|(a, b)| (a.1, b.1)).collect())
}

/// Half of the 95 % interval of a difference of means with unequal variances (Welch 1947), with Satterthwaite's degrees of
/// freedom; `None` below two values on a side.
fn welch_half_width(a: &[f64], b: &[f64]) -> Option<f64> {
    let squared_error = |values: &[f64]| Some(standard_deviation(values)?.powi(2) / values.len() as f64);
    let (of_a, of_b) = (squared_error(a)?, squared_error(b)?);
    let sum = of_a + of_b;
    if sum == 0.0 {
        return Some(0.0);
    }
    let degrees = sum.powi(2) / (of_a.powi(2) / (a.len() - 1) as f64 + of_b.powi(2) / (b.len() - 1) as f64);
    Some(t_quantile(degrees) * sum.sqrt())
}

/// Two-sided quantile of Student's t at [`CONFIDENCE`], for `degrees` of freedom from 1, to three decimals.
///
/// With t = √ν · tan θ the density becomes cosᵛ⁻¹ θ on (−π/2, π/2), which is summed by the midpoint rule: no gamma function
/// is needed. From 10 000 degrees on the quantile is taken as there, 0.0003 above the normal distribution's.
pub(crate) fn t_quantile(degrees: f64) -> f64 {
    const STEPS: usize = 5_000;
    let degrees = degrees.clamp(1.0, 1e4);
    let width = FRAC_PI_2 / STEPS as f64;
    let density = |step: usize| ((step as f64 + 0.5) * width).cos().powf(degrees - 1.0);
    let densities: Vec<f64> = (0..STEPS).map(density).collect();
    let wanted = CONFIDENCE * densities.iter().sum::<f64>();
    let (mut step, mut sum) = (0, 0.0);
    while step + 1 < STEPS && sum + densities[step] < wanted {
        sum += densities[step];
        step += 1;
    }
    let angle = (step as f64 + (wanted - sum) / densities[step]) * width;
    degrees.sqrt() * angle.tan()
}

/// A share of independent trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Proportion {
    /// In `[0, 1]`.
    pub share: f64,
    pub trials: u64,
}

impl Proportion {
    /// 95 % interval by Wilson's score (1927), which stays in `[0, 1]`; everything without trials.
    pub fn interval(&self) -> [f64; 2] {
        let (share, trials) = (self.share, self.trials as f64);
        if self.trials == 0 {
            return [0.0, 1.0];
        }
        let squared = NORMAL_QUANTILE * NORMAL_QUANTILE;
        let centre = share + squared / (2.0 * trials);
        let half =
            NORMAL_QUANTILE * (share * (1.0 - share) / trials + squared / (4.0 * trials * trials)).sqrt();
        let scale = 1.0 + squared / trials;
        [((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)]
    }

    /// 95 % interval of this share less `other`, as of separate trials, from both Wilson intervals (Newcombe 1998, method
    /// 10).
    pub fn interval_of_difference(&self, other: &Self) -> [f64; 2] {
        let difference = self.share - other.share;
        let ([low, high], [other_low, other_high]) = (self.interval(), other.interval());
        [
            difference - (self.share - low).hypot(other_high - other.share),
            difference + (high - self.share).hypot(other.share - other_low),
        ]
    }
}

fn values(group: &PerSeed) -> Vec<f64> {
    group.iter().map(|(_, value)| *value).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seeds(values: &[f64]) -> Vec<(u64, f64)> {
        (0..).zip(values.iter().copied()).collect()
    }

    fn close(a: [f64; 2], b: [f64; 2], within: f64) {
        assert!((a[0] - b[0]).abs() < within && (a[1] - b[1]).abs() < within, "{a:?} {b:?}");
    }

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, column 0.975.
        for (degrees, tabulated) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (3.0, 3.182),
            (4.0, 2.776),
            (5.0, 2.571),
            (7.0, 2.365),
            (10.0, 2.228),
            (20.0, 2.086),
            (30.0, 2.042),
            (60.0, 2.000),
            (100.0, 1.984),
        ] {
            assert!((t_quantile(degrees) - tabulated).abs() < 5.1e-4, "{degrees}: {}", t_quantile(degrees));
        }
        assert!((t_quantile(1e9) - NORMAL_QUANTILE).abs() < 5e-4);
    }

    #[test]
    fn a_paired_interval_is_narrower_where_seeds_go_together() {
        // Sleep data of Student (1908): R's t.test(extra ~ group, paired = TRUE) gives [-2.4598858, -0.7001142], Welch's
        // [-3.3654832, 0.2054832].
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let paired = difference(&seeds(&first), &seeds(&second)).unwrap();
        assert!((paired.value + 1.58).abs() < 1e-12);
        let (interval, source) = paired.interval.unwrap();
        close(interval, [-2.459_885_8, -0.700_114_2], 1e-4);
        assert_eq!(source, IntervalSource::PairedSeeds);

        let others: Vec<_> = seeds(&second).into_iter().map(|(seed, value)| (seed + 100, value)).collect();
        let welch = difference(&seeds(&first), &others).unwrap();
        let (interval, source) = welch.interval.unwrap();
        close(interval, [-3.365_483_2, 0.205_483_2], 1e-4);
        assert_eq!(source, IntervalSource::WelchSeeds);
    }

    #[test]
    fn one_pair_says_nothing_of_seeds() {
        let one = difference(&[(1, 2.0)], &[(1, 3.0)]).unwrap();
        assert_eq!(one, Estimate { value: -1.0, interval: None });
        assert_eq!(difference(&[(1, 2.0)], &[(2, 3.0), (3, 3.0)]).unwrap().interval, None);
        assert_eq!(difference(&[], &[(2, 3.0)]), None);
        assert_eq!(ratio(&[(1, 0.0)], &[(1, 3.0)]), None);
    }

    #[test]
    fn a_ratio_is_the_mean_of_logarithms() {
        let ratio = ratio(&seeds(&[1.0, 2.0]), &seeds(&[2.0, 4.0])).unwrap();
        assert!((ratio.value - 0.5).abs() < 1e-12);
        close(ratio.interval.unwrap().0, [0.5, 0.5], 1e-12);
    }

    #[test]
    fn shares_have_the_intervals_of_wilson_and_newcombe() {
        // Newcombe 1998 (Statistics in Medicine 17:857 and 17:873): 81/263 by Wilson's score; 56/70 less 48/80 by method 10.
        close(Proportion { share: 81.0 / 263.0, trials: 263 }.interval(), [0.2553, 0.3662], 5e-5);
        let (a, b) = (Proportion { share: 0.8, trials: 70 }, Proportion { share: 0.6, trials: 80 });
        close(a.interval_of_difference(&b), [0.0524, 0.3339], 5e-5);
        close(Proportion { share: 1.0, trials: 0 }.interval(), [0.0, 1.0], 1e-12);
    }

    proptest! {
        #[test]
        fn a_difference_lies_in_its_interval_and_turns_its_sign(
            values in prop::collection::vec((0.1f64..10.0, 0.1f64..10.0), 2..9),
            shift in 0u64..2,
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = values.into_iter().unzip();
            let (a, b) = (seeds(&a), seeds(&b).into_iter().map(|(seed, v)| (seed + shift, v)).collect::<Vec<_>>());
            let (there, back) = (difference(&a, &b).unwrap(), difference(&b, &a).unwrap());
            let (([low, high], _), ([back_low, back_high], _)) = (there.interval.unwrap(), back.interval.unwrap());
            prop_assert!(low <= there.value && there.value <= high);
            prop_assert!((there.value + back.value).abs() < 1e-9);
            prop_assert!((low + back_high).abs() < 1e-6 && (high + back_low).abs() < 1e-6);
        }

        #[test]
        fn more_trials_know_a_share_better(right in 0u64..=50, more in 2u64..20) {
            let few = Proportion { share: right as f64 / 50.0, trials: 50 };
            let many = Proportion { trials: 50 * more, ..few };
            let width = |[low, high]: [f64; 2]| high - low;
            prop_assert!(few.interval()[0] <= few.share + 1e-12 && few.share <= few.interval()[1] + 1e-12);
            prop_assert!(width(many.interval()) < width(few.interval()));
        }
    }
}
