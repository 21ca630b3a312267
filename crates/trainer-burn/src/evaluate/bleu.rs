//! Corpus BLEU-4 (Papineni et al. 2002) over words, without smoothing.

use std::collections::HashMap;

/// BLEU-4 of `(generated, expected)` pairs, in `[0, 1]`; words are what lies between white space.
pub fn bleu(pairs: &[(&str, &str)]) -> f64 {
    let (mut matched, mut proposed) = ([0usize; 4], [0usize; 4]);
    let (mut generated_words, mut expected_words) = (0, 0);
    for (generated, expected) in pairs {
        let generated: Vec<&str> = generated.split_whitespace().collect();
        let expected: Vec<&str> = expected.split_whitespace().collect();
        generated_words += generated.len();
        expected_words += expected.len();
        for n in 1..=4 {
            let reference = counts(&expected, n);
            for (gram, count) in counts(&generated, n) {
                proposed[n - 1] += count;
                matched[n - 1] += count.min(reference.get(gram).copied().unwrap_or(0));
            }
        }
    }
    if matched.contains(&0) {
        return 0.0;
    }
    let log_precision: f64 =
        matched.iter().zip(proposed).map(|(m, p)| (*m as f64 / p as f64).ln()).sum::<f64>() / 4.0;
    let brevity = (1.0 - expected_words as f64 / generated_words as f64).min(0.0);
    (log_precision + brevity).exp()
}

fn counts<'a, 'b>(words: &'b [&'a str], n: usize) -> HashMap<&'b [&'a str], usize> {
    let mut counts = HashMap::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::bleu;

    #[test]
    fn equal_texts_score_one_and_strangers_zero() {
        let text = "Sleep was short and activity was low";
        assert!((bleu(&[(text, text)]) - 1.0).abs() < 1e-12);
        assert!(bleu(&[("entirely other words than those here", text)]).abs() < 1e-12);
    }

    #[test]
    fn agrees_with_a_value_computed_by_hand() {
        // 1-grams 5/6, 2-grams 3/5, 3-grams 2/4, 4-grams 1/3, no brevity penalty
        let score = bleu(&[("the cat sat on a mat", "the cat sat on the mat")]);
        let by_hand = (5.0 / 6.0 * 3.0 / 5.0 * 2.0 / 4.0 * 1.0 / 3.0_f64).powf(0.25);
        assert!((score - by_hand).abs() < 1e-12, "{score} is not {by_hand}");
    }
}
