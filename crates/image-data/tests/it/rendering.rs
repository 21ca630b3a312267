//! Geometry, augmentation and normalisation of single pictures.

use std::fs;

use greentune_core_config::Diagnostic;
use greentune_image_data::{Augmentation, Crop, Image, Normalisation, Pipeline, Renderer, View, decode};
use proptest::prelude::*;

use crate::data::{difference, fixture, folders, open, picture, pipeline, pixels};

fn image(width: u32, height: u32, seed: u32) -> Image<'static> {
    Image { width, height, channels: 3, pixels: picture(width, height, seed).into_raw().into() }
}

fn render(pipeline: &Pipeline, image: &Image<'_>, view: View, epoch: u64, id: u32) -> Vec<f32> {
    let mut out = vec![f32::NAN; pipeline.values()];
    Renderer::new(pipeline).unwrap().render(image, view, epoch, id, &mut out).unwrap();
    out
}

fn levels(values: &[f32]) -> Vec<u8> {
    values.iter().map(|value| (value * 255.0).round() as u8).collect()
}

fn mirrored(values: &[f32], width: usize) -> Vec<f32> {
    values.chunks(width * 3).flat_map(|row| row.chunks(3).rev().flatten().copied()).collect()
}

/// The window of `image` at (`left`, `top`), black where there is no image.
fn window(image: &Image<'_>, left: i64, top: i64, width: i64, height: i64) -> Vec<f32> {
    let mut values = Vec::new();
    for y in top..top + height {
        for x in left..left + width {
            let is_within =
                (0..i64::from(image.width)).contains(&x) && (0..i64::from(image.height)).contains(&y);
            let at = (y * i64::from(image.width) + x) as usize * 3;
            values.extend(
                (0..3).map(|c| if is_within { f32::from(image.pixels[at + c]) / 255.0 } else { 0.0 }),
            );
        }
    }
    values
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

#[test]
fn evaluation_resizes_and_crops_as_torchvision_does() {
    let picture = decode(&fs::read(fixture("images/picture.png")).unwrap()).unwrap();
    let pil = pixels("images/picture-24.png");
    // Resize(24) makes 36 × 24 of 96 × 64, CenterCrop(24) takes columns 6 to 29.
    let expected: Vec<u8> = pil.chunks(36 * 3).flat_map(|row| &row[6 * 3..30 * 3]).copied().collect();
    let ours = levels(&render(&pipeline(24, 24, 3, Augmentation::NONE), &picture, View::Evaluate, 0, 0));
    let (largest, mean) = difference(&ours, &expected);
    assert!(largest <= 1 && mean < 0.25, "{largest} {mean}");
    // Resize(24) and CenterCrop(21) by a fraction.
    let cropped = Pipeline { crop_fraction: 0.875, ..pipeline(21, 21, 3, Augmentation::NONE) };
    let ours = levels(&render(&cropped, &picture, View::Evaluate, 0, 0));
    // (36 − 21) / 2 = 7.5 and (24 − 21) / 2 = 1.5 are rounded to even: 8 and 2.
    let rows = pil.chunks(36 * 3).skip(2).take(21);
    let expected: Vec<u8> = rows.flat_map(|row| &row[8 * 3..29 * 3]).copied().collect();
    assert!(difference(&ours, &expected).0 <= 1);
}

#[test]
fn enlarging_a_part_is_what_pil_makes_of_it() {
    let picture = decode(&fs::read(fixture("images/picture.png")).unwrap()).unwrap();
    let rows = picture.pixels.chunks(96 * 3).skip(7).take(53);
    let part: Vec<u8> = rows.flat_map(|row| &row[5 * 3..70 * 3]).copied().collect();
    let part = Image { width: 65, height: 53, channels: 3, pixels: part.into() };
    // A scale of exactly 1 and the part's own ratio: all of it, resized.
    let whole = Crop::Resized { scale: (1.0, 1.0), ratio: (65.0 / 53.0, 65.0 / 53.0) };
    let augmentation = Augmentation { crop: whole, horizontal_flip: false };
    let ours = levels(&render(&pipeline(80, 80, 3, augmentation), &part, View::Augment, 0, 0));
    let (largest, mean) = difference(&ours, &pixels("images/picture-crop-80.png"));
    assert!(largest <= 1 && mean < 0.25, "{largest} {mean}");
}

#[test]
fn values_are_normalised_by_channel() {
    let mut pipeline = pipeline(4, 4, 3, Augmentation::NONE);
    pipeline.normalisation = Normalisation::imagenet();
    let image = image(4, 4, 3);
    let values = render(&pipeline, &image, View::Evaluate, 0, 0);
    let Normalisation { mean, std } = pipeline.normalisation;
    for (at, (value, &level)) in values.iter().zip(&*image.pixels).enumerate() {
        let expected = (f64::from(level) / 255.0 - mean[at % 3]) / std[at % 3];
        assert!((f64::from(*value) - expected).abs() < 1e-6);
    }
}

#[test]
fn computed_mean_and_deviation_make_values_standard() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("a", 20), ("b", 20)]);
    let train = open(root.path()).unwrap().train;
    let plain = pipeline(8, 6, 3, Augmentation::CIFAR);
    let normalisation = Normalisation::of(&train, &plain).unwrap();
    let standard = Pipeline { normalisation, ..plain };
    let values: Vec<Vec<f32>> = (0..train.len() as u32)
        .map(|id| render(&standard, &train.image(id).unwrap(), View::Evaluate, 0, id))
        .collect();
    for channel in 0..3 {
        let of_channel = || values.iter().flatten().skip(channel).step_by(3).map(|&value| f64::from(value));
        let n = of_channel().count() as f64;
        let mean = of_channel().sum::<f64>() / n;
        let variance = of_channel().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
}

#[test]
fn pipelines_that_make_no_sense_are_refused_by_key() {
    let good = pipeline(8, 8, 3, Augmentation::IMAGENET);
    let crop = |scale, ratio| Augmentation { crop: Crop::Resized { scale, ratio }, horizontal_flip: true };
    let bad = [
        (Pipeline { width: 0, ..good.clone() }, "image size"),
        (Pipeline { channels: 4, ..good.clone() }, "channels"),
        (Pipeline { crop_fraction: 0.0, ..good.clone() }, "crop_fraction"),
        (Pipeline { normalisation: Normalisation::none(1), ..good.clone() }, "normalisation"),
        (Pipeline { augmentation: crop((0.5, 0.1), (1.0, 1.0)), ..good.clone() }, "augmentation.crop.scale"),
        (Pipeline { augmentation: crop((0.1, 1.0), (2.0, 1.0)), ..good.clone() }, "augmentation.crop.ratio"),
    ];
    for (pipeline, key) in bad {
        let problem = Renderer::new(&pipeline).err().unwrap().problem();
        assert_eq!(
            (problem.code.as_str(), problem.location.unwrap().key.unwrap().as_str()),
            ("images.setting", key)
        );
    }
    assert!(Renderer::new(&good).is_ok());
}

#[test]
fn a_strip_that_would_fill_the_memory_is_refused() {
    let strip = Image { width: 1, height: 60_000, channels: 1, pixels: vec![0; 60_000].into() };
    let pipeline = pipeline(224, 224, 3, Augmentation::NONE);
    let mut out = vec![0.0; pipeline.values()];
    let reason =
        Renderer::new(&pipeline).unwrap().render(&strip, View::Evaluate, 0, 0, &mut out).unwrap_err();
    assert!(reason.contains("too elongated"), "{reason}");
}

fn any_augmentation() -> impl Strategy<Value = Augmentation> {
    prop_oneof![
        Just(Augmentation::NONE),
        Just(Augmentation::CIFAR),
        Just(Augmentation::IMAGENET),
        Just(Augmentation { crop: Crop::Center, horizontal_flip: true }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn augmentation_is_a_function_of_seed_epoch_and_id(
        augmentation in any_augmentation(), width in 1..40_u32, height in 1..40_u32, seed: u64, epoch: u64, id: u32,
    ) {
        let pipeline = Pipeline { seed, ..pipeline(12, 10, 3, augmentation) };
        let image = image(width, height, 5);
        let expected = render(&pipeline, &image, View::Augment, epoch, id);
        prop_assert!(expected.iter().all(|value| (0.0..=1.0).contains(value)));
        // What a renderer did before does not matter.
        let mut used = Renderer::new(&pipeline).unwrap();
        let mut out = vec![0.0; pipeline.values()];
        used.render(&self::image(9, 30, 1), View::Augment, 3, 3, &mut out).unwrap();
        used.render(&image, View::Augment, epoch, id, &mut out).unwrap();
        prop_assert_eq!(&out, &expected);
        // Evaluation knows neither.
        let evaluated = render(&pipeline, &image, View::Evaluate, epoch, id);
        prop_assert_eq!(evaluated, render(&pipeline, &image, View::Evaluate, 0, 0));
    }

    #[test]
    fn a_flip_mirrors_or_does_nothing(id: u32, seed: u64) {
        let flip = Augmentation { crop: Crop::Center, horizontal_flip: true };
        let pipeline = Pipeline { seed, ..pipeline(9, 7, 3, flip) };
        let image = image(9, 7, 2);
        let plain = render(&pipeline, &image, View::Evaluate, 0, id);
        let seen = render(&pipeline, &image, View::Augment, 0, id);
        prop_assert!(seen == plain || seen == mirrored(&plain, 9));
    }

    #[test]
    fn a_padded_crop_is_a_window_of_the_padded_image(id: u32, epoch in 0..5_u64, padding in 0..14_u32) {
        let augmentation = Augmentation { crop: Crop::Padded { padding }, horizontal_flip: true };
        let image = image(10, 8, 4);
        let seen = render(&pipeline(10, 8, 3, augmentation), &image, View::Augment, epoch, id);
        let reach = i64::from(padding);
        let is_window = (-reach..=reach).any(|top| (-reach..=reach).any(|left| {
            let window = window(&image, left, top, 10, 8);
            close(&seen, &window) || close(&seen, &mirrored(&window, 10))
        }));
        prop_assert!(is_window);
    }
}
