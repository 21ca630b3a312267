//! The order of the samples in an epoch.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The samples in the order of an epoch (Fisher & Yates), a function of seed and epoch alone: a run that selects and
/// its baseline meet them in the same order.
pub fn order(samples: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    let mut order: Vec<u32> = (0..samples as u32).collect();
    for last in (1..samples).rev() {
        let other = ((u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_that_differs_by_epoch() {
        let first = order(1000, 1, 0);
        assert_ne!(first, order(1000, 1, 1));
        assert_eq!(first, order(1000, 1, 0));
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
    }
}
