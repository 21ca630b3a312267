//! ROUGE-L as rouge-score 0.1.2 has it without a stemmer (Lin 2004).

/// F-measure of the longest common subsequence of words, in `[0, 1]`; a corpus has the mean of its records.
///
/// Words are runs of ASCII letters and digits in lower case, as rouge-score takes them: a text in another script has
/// none, and scores 0.
pub fn rouge_l(generated: &str, reference: &str) -> f64 {
    let (generated, reference) = (generated.to_lowercase(), reference.to_lowercase());
    let (generated, reference) = (words(&generated), words(&reference));
    let common = longest_common_subsequence(&generated, &reference) as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / generated.len() as f64, common / reference.len() as f64);
    2.0 * precision * recall / (precision + recall)
}

fn words(text: &str) -> Vec<&str> {
    let is_between = |c: char| !matches!(c, 'a'..='z' | '0'..='9');
    text.split(is_between).filter(|word| !word.is_empty()).collect()
}

/// Its length, with one row of the usual table at a time.
fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (column, other) in b.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if word == other { diagonal + 1 } else { above.max(row[column]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
