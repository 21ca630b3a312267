//! Corpus BLEU-4 as sacrebleu 2.6 has it by default: 13a tokens, exponential smoothing, one reference.

use std::{collections::HashMap, iter::Sum};

use crate::python;

/// Longest n-grams that are counted.
const ORDER: usize = 4;

/// What BLEU is worked out from. The counts of a corpus are the sum of those of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BleuCounts {
    /// N-grams of the generated text that the reference has too, by length.
    matched: [u64; ORDER],
    /// N-grams of the generated text, by length.
    generated: [u64; ORDER],
    generated_words: u64,
    reference_words: u64,
}

impl BleuCounts {
    /// The counts of one record.
    pub fn of(generated: &str, reference: &str) -> Self {
        let (generated, reference) = (tokenize_13a(generated), tokenize_13a(reference));
        let generated: Vec<&str> = python::words(&generated).collect();
        let reference: Vec<&str> = python::words(&reference).collect();
        let mut counts = Self {
            generated_words: generated.len() as u64,
            reference_words: reference.len() as u64,
            ..Self::default()
        };
        for n in 1..=ORDER {
            let expected = n_grams(&reference, n);
            for (gram, count) in n_grams(&generated, n) {
                counts.generated[n - 1] += count;
                counts.matched[n - 1] += count.min(expected.get(gram).copied().unwrap_or(0));
            }
        }
        counts
    }

    /// BLEU in `[0, 1]`, a hundredth of sacrebleu's score.
    ///
    /// Papineni et al. 2002; where no n-gram of a length matches, the k-th such precision is 1 / (2^k · n-grams)
    /// (Chen and Cherry 2014, method 3). Texts too short for any n-gram of a length score 0.
    pub fn score(&self) -> f64 {
        if self.matched == [0; ORDER] || self.generated.contains(&0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let precision = |(matched, generated): (u64, u64)| {
            if matched == 0 {
                smoothing *= 2.0;
                1.0 / (smoothing * generated as f64)
            } else {
                matched as f64 / generated as f64
            }
        };
        let precisions = self.matched.into_iter().zip(self.generated).map(precision);
        let log_precision = precisions.map(f64::ln).sum::<f64>() / ORDER as f64;
        let brevity = (1.0 - self.reference_words as f64 / self.generated_words as f64).min(0.0);
        (log_precision + brevity).exp()
    }
}

impl<'a> Sum<&'a Self> for BleuCounts {
    fn sum<I: Iterator<Item = &'a Self>>(records: I) -> Self {
        records.fold(Self::default(), |mut sum, record| {
            for n in 0..ORDER {
                sum.matched[n] += record.matched[n];
                sum.generated[n] += record.generated[n];
            }
            sum.generated_words += record.generated_words;
            sum.reference_words += record.reference_words;
            sum
        })
    }
}

fn n_grams<'a, 'b>(words: &'b [&'a str], n: usize) -> HashMap<&'b [&'a str], u64> {
    let mut counts = HashMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// The tokens of mteval-v13a between spaces: punctuation stands alone, but for points and commas between digits.
fn tokenize_13a(text: &str) -> String {
    let text = text.trim_end_matches(python::is_space);
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = if text.contains('&') { unescape(&text) } else { text };
    let text: String = format!(" {text} ").chars().fold(String::new(), |mut spaced, c| {
        if is_symbol(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
        spaced
    });
    let is_mark = |c: char| matches!(c, '.' | ',');
    let is_other = |c: char| !c.is_ascii_digit();
    let text = rewrite(&text, |a, b| is_other(a) && is_mark(b), |a, b| vec![a, ' ', b, ' ']);
    let text = rewrite(&text, |a, b| is_mark(a) && is_other(b), |a, b| vec![' ', a, ' ', b]);
    rewrite(&text, |a, b| a.is_ascii_digit() && b == '-', |a, b| vec![a, ' ', b, ' '])
}

/// The entities that mteval knows, in its order.
fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// ASCII punctuation that stands alone wherever it is; the space is in mteval's ranges too.
const fn is_symbol(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

/// Replaces neighbours that `applies` to, from the left, each character at most once: what a regular expression of two
/// classes replaces.
fn rewrite(
    text: &str,
    applies: impl Fn(char, char) -> bool,
    replacement: impl Fn(char, char) -> Vec<char>,
) -> String {
    let mut written = String::with_capacity(text.len() + text.len() / 4);
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        match chars.next_if(|&second| applies(first, second)) {
            Some(second) => written.extend(replacement(first, second)),
            None => written.push(first),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_stands_alone_but_not_in_numbers() {
        let tokens = |text: &str| python::words(&tokenize_13a(text)).collect::<Vec<_>>().join("|");
        assert_eq!(tokens("It's 3,000.50 (about), no?"), "It's|3,000.50|(|about|)|,|no|?");
        assert_eq!(tokens("a -\nb 5-6 &quot;x&quot; <skipped>"), "a|b|5|-|6|\"|x|\"");
    }

    #[test]
    fn agrees_with_a_value_computed_by_hand() {
        // 1-grams 5/6, 2-grams 3/5, 3-grams 2/4, 4-grams 1/3, no brevity penalty
        let score = BleuCounts::of("the cat sat on a mat", "the cat sat on the mat").score();
        let by_hand = (5.0 / 6.0 * 3.0 / 5.0 * 2.0 / 4.0 * 1.0 / 3.0_f64).powf(0.25);
        assert!((score - by_hand).abs() < 1e-12, "{score} is not {by_hand}");
    }
}
