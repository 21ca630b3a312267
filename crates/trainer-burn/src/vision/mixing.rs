//! Images of a batch mixed with one another.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::order::order;

/// Two images in one, each a share of it (mixup; Zhang et al. 2018).
#[derive(Clone, Debug, PartialEq)]
pub struct Mixing {
    /// Share of the image itself, in `[0, 1]`.
    pub share: f32,
    /// For each image the one that it is mixed with.
    pub with: Vec<usize>,
}

impl Mixing {
    /// How the images of a batch are mixed: a share from Beta(α, α) and a partner for each. None with an α of 0.
    pub fn draw(alpha: f64, images: usize, seed: u64) -> Option<Self> {
        if alpha <= 0.0 {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
        // Jöhnk 1964: accepted often for α of at most 1, which is what mixup takes.
        let share = loop {
            let (x, y) = (uniform().powf(1.0 / alpha), uniform().powf(1.0 / alpha));
            if x + y > 0.0 && x + y <= 1.0 {
                break x / (x + y);
            }
        };
        Some(Self {
            share: share as f32,
            with: order(images, seed, 0).into_iter().map(|id| id as usize).collect(),
        })
    }

    /// Mixes the images of a batch, which follow one another in `pixels`.
    pub fn mix(&self, pixels: &mut [f32]) {
        let originals = pixels.to_vec();
        let per_image = pixels.len() / self.with.len().max(1);
        for (pixels, with) in pixels.chunks_mut(per_image.max(1)).zip(&self.with) {
            let other = &originals[with * per_image..(with + 1) * per_image];
            for (pixel, other) in pixels.iter_mut().zip(other) {
                *pixel = self.share * *pixel + (1.0 - self.share) * other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_mixed_with_what_others_were_before() {
        let mut pixels = vec![0.0, 0.0, 8.0, 8.0, 4.0, 4.0];
        Mixing { share: 0.75, with: vec![1, 2, 0] }.mix(&mut pixels);
        assert_eq!(pixels, [2.0, 2.0, 7.0, 7.0, 3.0, 3.0]);
    }
}
