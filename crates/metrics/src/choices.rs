//! Multiple choice by likelihood, decided as lm-evaluation-harness 0.4.13 decides it.

/// A choice with how likely the model thinks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored<'a> {
    /// The choice's text, without what stands between prompt and choice.
    pub text: &'a str,
    /// Summed log-likelihood of its tokens behind the prompt, in nats.
    pub log_likelihood: f64,
}

/// Which choice each rule takes, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The largest log-likelihood: `acc`.
    pub likeliest: usize,
    /// The largest log-likelihood per character: `acc_norm`.
    pub per_character: usize,
    /// The largest log-likelihood per byte of UTF-8: `acc_bytes`.
    pub per_byte: usize,
}

impl Choices {
    /// Of equal choices the first is taken. `choices` is not empty; an empty one has no length to divide by, and is never
    /// taken by the rules that divide.
    pub fn of(choices: &[Scored<'_>]) -> Self {
        let best = |score: fn(&Scored<'_>) -> f64| {
            let mut best = (0, f64::NEG_INFINITY);
            for (index, choice) in choices.iter().enumerate() {
                let score = score(choice);
                if score > best.1 {
                    best = (index, score);
                }
            }
            best.0
        };
        Self {
            likeliest: best(|choice| choice.log_likelihood),
            per_character: best(|choice| choice.log_likelihood / choice.text.chars().count() as f64),
            per_byte: best(|choice| choice.log_likelihood / choice.text.len() as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters_or_in_bytes() {
        let scored = |text, log_likelihood| Scored { text, log_likelihood };
        let found = Choices::of(&[scored("no", -3.0), scored("certainly", -9.5), scored("ééééé", -7.0)]);
        assert_eq!(found, Choices { likeliest: 0, per_character: 1, per_byte: 2 });
        let equal = Choices::of(&[scored("a", -1.0), scored("b", -1.0)]);
        assert_eq!(equal, Choices { likeliest: 0, per_character: 0, per_byte: 0 });
    }
}
