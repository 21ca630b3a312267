//! chrF as sacrebleu 2.6 has it by default: characters without white space, n-grams up to 6, recall counting twice
//! (Popović 2015).

use std::{collections::HashMap, iter::Sum};

use crate::python;

/// Longest n-grams that are counted.
const ORDER: usize = 6;
/// Square of how much more recall weighs than precision.
const BETA_SQUARED: f64 = 4.0;

/// What chrF is worked out from. The counts of a corpus are the sum of those of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChrfCounts {
    /// N-grams of the generated text, of the reference, and in both, by length.
    grams: [[u64; 3]; ORDER],
}

impl ChrfCounts {
    /// The counts of one record.
    pub fn of(generated: &str, reference: &str) -> Self {
        let characters = |text: &str| text.chars().filter(|c| !python::is_space(*c)).collect::<Vec<_>>();
        let (generated, reference) = (characters(generated), characters(reference));
        let mut counts = Self::default();
        for (n, grams) in (1..).zip(&mut counts.grams) {
            let (written, expected) = (n_grams(&generated, n), n_grams(&reference, n));
            let matched = written.iter().map(|(gram, count)| expected.get(gram).map_or(0, |e| *e.min(count)));
            // Without n-grams in the reference, those of the text count for nothing.
            let hypothesis = if expected.is_empty() { 0 } else { written.values().sum() };
            *grams = [hypothesis, expected.values().sum(), matched.sum()];
        }
        counts
    }

    /// chrF2 in `[0, 1]`, a hundredth of sacrebleu's score: the F-score of mean precision and mean recall over the
    /// lengths of n-grams that both texts have.
    pub fn score(&self) -> f64 {
        let counted = self.grams.iter().filter(|[generated, expected, _]| *generated > 0 && *expected > 0);
        let (mut precision, mut recall, mut lengths) = (0.0, 0.0, 0.0);
        for [generated, expected, matched] in counted {
            precision += *matched as f64 / *generated as f64;
            recall += *matched as f64 / *expected as f64;
            lengths += 1.0;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / lengths, recall / lengths);
        (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    }
}

impl<'a> Sum<&'a Self> for ChrfCounts {
    fn sum<I: Iterator<Item = &'a Self>>(records: I) -> Self {
        records.fold(Self::default(), |mut sum, record| {
            let counts = sum.grams.iter_mut().flatten().zip(record.grams.iter().flatten());
            counts.for_each(|(sum, count)| *sum += count);
            sum
        })
    }
}

fn n_grams(characters: &[char], n: usize) -> HashMap<&[char], u64> {
    let mut counts = HashMap::new();
    for gram in characters.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}
