//! How a training image is varied: random crops and flips, as torchvision's recipes for CIFAR and ImageNet do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, Random};

/// How training images are varied. Evaluation varies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Which part of the image is seen.
    pub crop: Crop,
    /// Whether every second image, at random, is mirrored left to right.
    pub horizontal_flip: bool,
}

/// Which part of an image is seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Crop {
    /// The centre, as in evaluation.
    Center,
    /// A random place, after `padding` black pixels were added on each side (torchvision's `RandomCrop`).
    Padded {
        /// Pixels on each side.
        padding: u32,
    },
    /// A random part of random shape, resized to the target (torchvision's `RandomResizedCrop`).
    Resized {
        /// Least and largest share of the image's area.
        scale: (f64, f64),
        /// Least and largest ratio of width to height.
        ratio: (f64, f64),
    },
}

impl Augmentation {
    /// Nothing is varied.
    pub const NONE: Self = Self { crop: Crop::Center, horizontal_flip: false };
    /// The recipe of CIFAR since He et al. 2015 (arXiv:1512.03385, 4.2): 4 pixels of padding, random crop, flip.
    pub const CIFAR: Self = Self { crop: Crop::Padded { padding: 4 }, horizontal_flip: true };
    /// The recipe of ImageNet since Szegedy et al. 2014 (arXiv:1409.4842, 6): 8 to 100 % of the area, 3:4 to 4:3, flip.
    pub const IMAGENET: Self = Self {
        crop: Crop::Resized { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) },
        horizontal_flip: true,
    };
}

/// The choices for one sample in one epoch; drawn in a fixed order, crop first.
pub(crate) struct Draw {
    random: Random,
}

impl Draw {
    pub(crate) fn new(seed: u64, epoch: u64, id: u32) -> Self {
        Self { random: Random::new(Purpose::Augment, seed, epoch, u64::from(id)) }
    }

    /// Whether the image is mirrored.
    pub(crate) fn flip(&mut self) -> bool {
        self.random.below(2) == 1
    }

    /// Where a window of `inner` pixels begins in `outer` pixels, which are as many or more.
    pub(crate) fn offset(&mut self, outer: u32, inner: u32) -> u32 {
        self.random.below(outer - inner + 1)
    }

    /// The part of an image of `width` × `height` that `RandomResizedCrop` sees: ten tries, then the largest part in
    /// the centre whose ratio is allowed (torchvision 0.20, `RandomResizedCrop.get_params`).
    pub(crate) fn window(&mut self, width: u32, height: u32, scale: (f64, f64), ratio: (f64, f64)) -> Window {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..10 {
            let target = area * self.random.uniform(scale.0, scale.1);
            let aspect = self.random.uniform(ratio.0.ln(), ratio.1.ln()).exp();
            let w = (target * aspect).sqrt().round_ties_even() as u32;
            let h = (target / aspect).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = self.offset(height, h);
                return Window { left: self.offset(width, w), top, width: w, height: h };
            }
        }
        let aspect = f64::from(width) / f64::from(height);
        let (w, h) = if aspect < ratio.0 {
            (width, (f64::from(width) / ratio.0).round_ties_even() as u32)
        } else if aspect > ratio.1 {
            ((f64::from(height) * ratio.1).round_ties_even() as u32, height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Window { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_lies_within_its_image_and_has_an_allowed_shape(
            width in 1..400_u32, height in 1..400_u32, seed: u64, epoch in 0..9_u64, id: u32,
        ) {
            let (scale, ratio) = ((0.08, 1.0), (0.75, 4.0 / 3.0));
            let window = Draw::new(seed, epoch, id).window(width, height, scale, ratio);
            prop_assert!(window.width >= 1 && window.left + window.width <= width);
            prop_assert!(window.height >= 1 && window.top + window.height <= height);
            // Sides are rounded to whole pixels: half a pixel of tolerance on each.
            let (w, h) = (f64::from(window.width), f64::from(window.height));
            prop_assert!((w + 0.5) / (h - 0.5) >= ratio.0 && (w - 0.5) / (h + 0.5) <= ratio.1, "{window:?}");
            prop_assert_eq!(window, Draw::new(seed, epoch, id).window(width, height, scale, ratio));
        }
    }

    #[test]
    fn choices_are_spread_as_they_should_be() {
        let draws = 20_000;
        let flips = (0..draws).filter(|&id| Draw::new(1, 2, id).flip()).count();
        assert!((9_700..10_300).contains(&flips), "{flips}");
        let mut places = [0; 9];
        (0..draws).for_each(|id| places[Draw::new(1, 3, id).offset(40, 32) as usize] += 1);
        assert!(places.iter().all(|n| (2_000..2_450).contains(n)), "{places:?}");
        let areas = (0..draws).map(|id| {
            let window = Draw::new(1, 4, id).window(1000, 1000, (0.08, 1.0), (0.75, 4.0 / 3.0));
            f64::from(window.width * window.height) / 1e6
        });
        // Evenly from 0.08 to 1, where an area a above 3/4 fits with probability −ln a / ln(4/3) and is drawn again
        // otherwise: 0.377 / 0.789.
        let mean = areas.sum::<f64>() / f64::from(draws);
        assert!((mean - 0.478).abs() < 0.01, "{mean}");
    }

    #[test]
    fn epochs_seeds_and_samples_choose_independently() {
        let offsets =
            |seed, epoch| (0..64).map(|id| Draw::new(seed, epoch, id).offset(40, 32)).collect::<Vec<_>>();
        assert_ne!(offsets(1, 0), offsets(1, 1));
        assert_ne!(offsets(1, 0), offsets(0, 1));
        assert_eq!(offsets(7, 7), offsets(7, 7));
    }
}
