//! Randomness as a function of seed, purpose, epoch and position: nothing of it is state.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of random numbers with random access.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The numbers of an `epoch`, other for each `seed`, from `position` on.
    pub(crate) fn new(seed: u64, epoch: usize, position: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(epoch as u64);
        random.set_word_pos(u128::from(position));
        Self(random)
    }

    /// 32 random bits: one position.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻²⁴: one position.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 24) as f32
    }
}
