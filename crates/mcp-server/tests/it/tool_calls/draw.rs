//! Random choices that follow from a seed.

/// A stream of random numbers: SplitMix64 (Steele, Lea and Flood 2014).
pub struct Draw(u64);

impl Draw {
    /// The stream of the call `index`, so that calls can be told apart by their number.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut draw = Self(seed);
        let of_seed = draw.next();
        Self(of_seed ^ index.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `end`, which is not reached.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
