//! Random choices as functions of what they are for: no state is carried from one sample to the next.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What a choice is for; choices for different purposes are independent.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// How a sample is augmented in an epoch.
    Augment,
    /// Which samples are held out for validation.
    HoldOut,
    /// Which samples mean and standard deviation are computed from.
    Statistics,
}

/// The choices for one sample in one epoch.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64, id: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([purpose as u64, seed, epoch, id]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// A number in `low..high`, evenly distributed.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// A whole number below `count`, which is not 0 (Lemire's product; its bias is below 2⁻³²).
    pub(crate) fn below(&mut self, count: u32) -> u32 {
        ((u128::from(self.0.next_u64()) * u128::from(count)) >> 64) as u32
    }

    /// `count` of `items` at random places in front, in random order (Fisher and Yates).
    pub(crate) fn choose<T>(&mut self, items: &mut [T], count: usize) {
        for at in 0..count.min(items.len()) {
            let other = at + self.below((items.len() - at) as u32) as usize;
            items.swap(at, other);
        }
    }
}
