//! Examples side by side, padded to one length.

use super::encode::Example;

/// Rows are padded to a multiple of this, so that kernels see few different shapes.
const LENGTH_MULTIPLE: usize = 8;

/// Examples as one array for next-token prediction. All arrays are row-major.
///
/// The input of an example is all of its tokens but the last, which nothing follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Examples.
    pub rows: usize,
    /// Positions per row: the longest input, rounded up to a multiple of 8.
    pub sequence_length: usize,
    /// Input token ids, `[rows, sequence_length]`, padded on the right.
    pub tokens: Vec<i32>,
    /// Positions of each row that are no padding, `[rows]`.
    pub lengths: Vec<usize>,
    /// Positions whose next token is labelled, in ascending order, as indices into `tokens`; `[labels]`.
    pub positions: Vec<i32>,
    /// The token that follows at each of `positions`; `[labels]`.
    pub targets: Vec<i32>,
}

impl Batch {
    /// Puts `examples` side by side in their order.
    pub fn assemble(examples: &[&Example], pad_id: u32) -> Self {
        let lengths: Vec<_> = examples.iter().map(|example| example.tokens.len().saturating_sub(1)).collect();
        let sequence_length = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(LENGTH_MULTIPLE);
        let mut batch = Self {
            rows: examples.len(),
            sequence_length,
            tokens: vec![pad_id.cast_signed(); examples.len() * sequence_length],
            lengths,
            positions: Vec::new(),
            targets: Vec::new(),
        };
        for (row, example) in examples.iter().enumerate() {
            batch.fill(row, example);
        }
        batch
    }

    /// Positions that are no padding.
    pub fn valid_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn fill(&mut self, row: usize, example: &Example) {
        let start = row * self.sequence_length;
        for (position, token) in example.tokens[..self.lengths[row]].iter().enumerate() {
            self.tokens[start + position] = token.cast_signed();
        }
        for labelled in example.labels_from.max(1)..example.tokens.len() {
            self.positions.push(((start + labelled - 1) as u32).cast_signed());
            self.targets.push(example.tokens[labelled].cast_signed());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(tokens: Vec<u32>, labels_from: usize) -> Example {
        Example {
            tokens,
            labels_from,
            weight: 1.0,
            high_quality: false,
            line: 1,
            truncated: false,
            prompt: String::new(),
            response: String::new(),
        }
    }

    #[test]
    fn pads_and_shifts() {
        let (a, b) = (example(vec![1, 2, 3, 4], 2), example(vec![5, 6], 1));
        let batch = Batch::assemble(&[&a, &b], 9);
        assert_eq!((batch.rows, batch.sequence_length), (2, 8));
        assert_eq!(batch.tokens, [1, 2, 3, 9, 9, 9, 9, 9, 5, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(batch.lengths, [3, 1]);
        assert_eq!(batch.positions, [1, 2, 8]);
        assert_eq!(batch.targets, [3, 4, 6]);
        assert_eq!(batch.valid_tokens(), 4);
    }

    #[test]
    fn a_length_that_fits_is_not_padded() {
        let nine = example((0..9).collect(), 3);
        assert_eq!(Batch::assemble(&[&nine], 0).sequence_length, 8);
    }

    proptest! {
        #[test]
        fn every_labelled_token_is_predicted_from_the_one_before(
            rows in prop::collection::vec((prop::collection::vec(0_u32..50_000, 2..40), 1_usize..40), 1..6),
        ) {
            let examples: Vec<_> = rows
                .into_iter()
                .map(|(tokens, from)| { let from = from.min(tokens.len() - 1); example(tokens, from) })
                .collect();
            let batch = Batch::assemble(&examples.iter().collect::<Vec<_>>(), 0);
            let labels: usize = examples.iter().map(Example::labelled_tokens).sum();
            prop_assert_eq!(batch.positions.len(), labels);
            prop_assert!(batch.positions.is_sorted());
            for (position, target) in batch.positions.iter().zip(&batch.targets) {
                let (row, column) =
                    (*position as usize / batch.sequence_length, *position as usize % batch.sequence_length);
                prop_assert!(column < batch.lengths[row]);
                prop_assert_eq!(batch.tokens[*position as usize] as u32, examples[row].tokens[column]);
                prop_assert_eq!(*target as u32, examples[row].tokens[column + 1]);
                prop_assert!(column + 1 >= examples[row].labels_from);
            }
        }
    }
}
