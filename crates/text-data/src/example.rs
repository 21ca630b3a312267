//! A record as the model sees it.

use std::ops::Range;

/// Token ids of a record, and which of them the loss is computed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// All of its text.
    pub tokens: Vec<u32>,
    /// What the loss is computed on: every response with what ends it. In ascending order, apart, none empty, and
    /// never the first token, which has nothing to be predicted from.
    pub labels: Vec<Range<usize>>,
    /// How many times as often it is drawn as a record of weight 1.
    pub weight: f64,
    /// Whether the quality weighting favours it.
    pub high_quality: bool,
    /// Line in the file, or number of the row; from 1.
    pub line: u64,
    /// Whether its end was cut off.
    pub truncated: bool,
    /// What a generation starts from and what it should give; `None` for plain text.
    pub text: Option<ExampleText>,
    /// Control tokens, such as `<|endoftext|>`, that its contents spell out; known when it is made, not stored. They are
    /// encoded as the text that they are, but in plain text.
    pub control_tokens: u64,
    /// Answers to learn that the chat template writes otherwise than they are generated, so that they are read and not
    /// learnt; known when it is made, not stored.
    pub unlearnt_answers: u64,
}

/// The text of an example's last response and of all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleText {
    /// All before the response.
    pub prompt: String,
    /// The response in full and without what ends it.
    pub response: String,
}

impl Example {
    /// An example of weight 1 that is made of nothing but tokens. Labels beyond them and on the first one are left
    /// out.
    pub fn new(tokens: Vec<u32>, labels: impl IntoIterator<Item = Range<usize>>) -> Self {
        let within = |range: Range<usize>| range.start.max(1)..range.end.min(tokens.len());
        let labels = labels.into_iter().map(within).filter(|range| !range.is_empty()).collect();
        Self {
            tokens,
            labels,
            weight: 1.0,
            high_quality: false,
            line: 0,
            truncated: false,
            text: None,
            control_tokens: 0,
            unlearnt_answers: 0,
        }
    }

    /// Positions of the tokens that the loss is computed on, in ascending order.
    pub fn labelled_positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.labels.iter().cloned().flatten()
    }

    /// Tokens that the loss is computed on.
    pub fn labelled_tokens(&self) -> usize {
        self.labels.iter().map(ExactSizeIterator::len).sum()
    }

    /// What a generation starts from: all before the last response.
    pub fn prompt_tokens(&self) -> &[u32] {
        &self.tokens[..self.last_response().start]
    }

    /// Tokens of the last response and of what ends it.
    pub fn response_tokens(&self) -> &[u32] {
        &self.tokens[self.last_response()]
    }

    /// Cuts off what lies beyond `length` tokens, and with it what nothing labelled follows any more.
    pub(super) fn cut(&mut self, length: usize) {
        self.labels.retain_mut(|range| {
            range.end = range.end.min(length);
            range.start < range.end
        });
        if self.tokens.len() > length {
            self.tokens.truncate(self.labels.last().map_or(length, |range| range.end));
        }
    }

    /// Leaves of the labels those at these `positions`, which ascend, and cuts off what nothing labelled follows.
    pub fn relabel(&mut self, positions: &[usize]) {
        self.labels.clear();
        for &position in positions {
            match self.labels.last_mut() {
                Some(range) if range.end == position => range.end += 1,
                _ => self.labels.push(position..position + 1),
            }
        }
        self.tokens.truncate(self.labels.last().map_or(0, |range| range.end));
    }

    fn last_response(&self) -> Range<usize> {
        self.labels.last().cloned().unwrap_or(self.tokens.len()..self.tokens.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_never_labelled_and_nothing_beyond_the_last() {
        let example = Example::new(vec![5, 6, 7, 8], [0..2, 3..9, 7..9]);
        assert_eq!(example.labels, [1..2, 3..4]);
        assert_eq!(example.labelled_positions().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(example.labelled_tokens(), 2);
        assert_eq!((example.prompt_tokens(), example.response_tokens()), (&[5, 6, 7][..], &[8][..]));
        assert!(Example::new(vec![5], [0..1]).labels.is_empty());
    }

    #[test]
    fn what_follows_no_label_is_cut_off() {
        let mut example = Example::new(vec![5, 6, 7, 8, 9, 10], [1..6]);
        example.relabel(&[1, 2, 4]);
        assert_eq!((example.tokens, example.labels), (vec![5, 6, 7, 8, 9], vec![1..3, 4..5]));
    }
}
