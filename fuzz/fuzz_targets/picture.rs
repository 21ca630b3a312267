//! A picture of any format, decoded and rendered as training sees it.
#![no_main]

use std::io::Cursor;

use greentune_fuzz::allow_caught_panics;
use greentune_image_data::{Augmentation, Normalisation, Pipeline, Renderer, View, decode};
use libfuzzer_sys::{Corpus, fuzz_target};

/// Pixels of pictures that are decoded. The product's limit is higher; with it most of the time would go into large and
/// empty pictures.
const MAX_PIXELS: u64 = 1 << 20;

fuzz_target!(init: allow_caught_panics(), |data: &[u8]| -> Corpus {
    let size = || image::ImageReader::new(Cursor::new(data)).with_guessed_format().ok()?.into_dimensions().ok();
    let size = std::panic::catch_unwind(size).ok().flatten();
    if size.is_some_and(|(width, height)| u64::from(width) * u64::from(height) > MAX_PIXELS) {
        return Corpus::Reject;
    }
    let Ok(image) = decode(data) else { return Corpus::Keep };
    assert_eq!(image.pixels.len(), image.width as usize * image.height as usize * image.channels);
    for (channels, augmentation) in [(1, Augmentation::IMAGENET), (3, Augmentation::CIFAR)] {
        let normalisation = Normalisation { mean: vec![0.5; channels], std: vec![0.25; channels] };
        let pipeline =
            Pipeline { height: 16, width: 12, channels, crop_fraction: 0.875, augmentation, normalisation, seed: 7 };
        let mut values = vec![0.0; pipeline.values()];
        let mut renderer = Renderer::new(&pipeline).expect("a pipeline that makes sense");
        for view in [View::Augment, View::Evaluate] {
            let _ = renderer.render(&image, view, 1, 2, &mut values);
        }
    }
    Corpus::Keep
});
