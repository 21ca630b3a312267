//! Which split a record belongs to: a pure function of its text, the seed and the shares.

use std::collections::HashMap;

use crate::sampler::mix;

/// Splits, in the order of their shares.
pub(super) const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// A record as far as the split goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Equal for records that must not be parted.
    pub(super) content: u128,
    /// Each stratum is split by the same shares.
    pub(super) stratum: bool,
}

/// The split of each candidate, as an index into [`SPLITS`].
///
/// Candidates of one content stay together. Within a stratum contents are ordered by a hash of themselves and the
/// seed, whatever their order in the file, and dealt out so that every split has its share of records to within one
/// content.
pub(super) fn assign(candidates: &[Candidate], shares: [f64; 3], seed: u64) -> Vec<usize> {
    let mut groups: HashMap<u128, (bool, Vec<usize>)> = HashMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let group = groups.entry(candidate.content).or_insert_with(|| (candidate.stratum, Vec::new()));
        group.1.push(index);
    }
    let mut order: Vec<(u64, u128)> =
        groups.keys().map(|content| (place(*content, seed), *content)).collect();
    order.sort_unstable();
    let mut splits = vec![0; candidates.len()];
    for stratum in [true, false] {
        let members: Vec<&Vec<usize>> = order
            .iter()
            .filter_map(|(_, content)| groups.get(content))
            .filter(|(of, _)| *of == stratum)
            .map(|(_, members)| members)
            .collect();
        let records = members.iter().map(|members| members.len()).sum();
        let [train, validation, _] = quotas(records, shares);
        let mut dealt = 0;
        for members in members {
            let split = usize::from(dealt >= train) + usize::from(dealt >= train + validation);
            for index in members {
                splits[*index] = split;
            }
            dealt += members.len();
        }
    }
    splits
}

/// Where a content stands in the order.
fn place(content: u128, seed: u64) -> u64 {
    mix(mix(content as u64 ^ mix(seed)) ^ (content >> 64) as u64)
}

/// Records per split: the shares of `records`, rounded by the largest remainder.
fn quotas(records: usize, shares: [f64; 3]) -> [usize; 3] {
    let exact = shares.map(|share| share * records as f64);
    let mut quotas = exact.map(|exact| (exact + 1e-9).floor() as usize);
    let mut by_remainder = [0, 1, 2];
    by_remainder.sort_by(|a, b| (exact[*b] - quotas[*b] as f64).total_cmp(&(exact[*a] - quotas[*a] as f64)));
    let left = records - quotas.iter().sum::<usize>().min(records);
    for split in by_remainder.into_iter().take(left) {
        quotas[split] += 1;
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARES: [f64; 3] = [0.8, 0.1, 0.1];

    fn candidates(contents: impl IntoIterator<Item = u128>, high: usize) -> Vec<Candidate> {
        let contents = contents.into_iter().enumerate();
        contents.map(|(index, content)| Candidate { content, stratum: index < high }).collect()
    }

    fn sizes(splits: &[usize]) -> [usize; 3] {
        [0, 1, 2].map(|split| splits.iter().filter(|of| **of == split).count())
    }

    #[test]
    fn shares_are_exact_in_each_stratum() {
        let candidates = candidates(0..100, 20);
        let splits = assign(&candidates, SHARES, 42);
        assert_eq!((sizes(&splits[..20]), sizes(&splits[20..])), ([16, 2, 2], [64, 8, 8]));
        assert_eq!(sizes(&assign(&candidates, [1.0, 0.0, 0.0], 42)), [100, 0, 0]);
        assert_eq!(quotas(5, SHARES), [4, 1, 0]);
        assert_eq!(quotas(10, [0.7, 0.2, 0.1]), [7, 2, 1]);
    }

    #[test]
    fn the_seed_decides_and_the_files_order_does_not() {
        let forward = candidates(0..50, 0);
        let backward: Vec<_> = forward.iter().rev().copied().collect();
        let (a, mut b) = (assign(&forward, SHARES, 1), assign(&backward, SHARES, 1));
        b.reverse();
        assert_eq!(a, b);
        assert_ne!(a, assign(&forward, SHARES, 2));
    }

    proptest! {
        #[test]
        fn equal_contents_are_never_parted_and_sizes_are_close(
            contents in prop::collection::vec(0_u128..40, 1..120),
            seed: u64,
        ) {
            let candidates = candidates(contents.iter().copied(), 0);
            let splits = assign(&candidates, SHARES, seed);
            let mut of: HashMap<u128, usize> = HashMap::new();
            for (content, split) in contents.iter().zip(&splits) {
                prop_assert_eq!(of.entry(*content).or_insert(*split), split);
            }
            let mut sizes_of: HashMap<u128, usize> = HashMap::new();
            for content in &contents {
                *sizes_of.entry(*content).or_default() += 1;
            }
            let largest = sizes_of.values().max().copied().unwrap_or(0);
            let train = sizes(&splits)[0] as f64;
            prop_assert!((train - 0.8 * contents.len() as f64).abs() <= largest as f64);
        }
    }
}
