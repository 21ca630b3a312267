//! Whether mirror images still show their class.

use greentune_image_data::{ImageDataset, OpenOptions, reason_against_mirroring, test_mirroring};
use image::{GrayImage, ImageFormat};

use crate::data::{encoded, fixture, open, write};

fn set(draw: impl Fn(u32, u32, u32, bool) -> u8) -> (tempfile::TempDir, ImageDataset) {
    let root = tempfile::tempdir().unwrap();
    for n in 0..60 {
        for (class, is_first) in [("here", true), ("there", false)] {
            let picture = GrayImage::from_fn(20, 20, |x, y| image::Luma([draw(n, x, y, is_first)]));
            write(&root.path().join(class).join(format!("{n}.png")), encoded(picture, ImageFormat::Png));
        }
    }
    let dataset = ImageDataset::open(root.path(), &OpenOptions::default()).unwrap();
    (root, dataset)
}

#[test]
fn digits_and_arrows_do_not_survive_a_mirror() {
    let digits = open(&fixture("digits")).unwrap();
    let test = test_mirroring(&digits.train, 10, 0).unwrap().unwrap();
    assert!(test.changes_classes && test.accuracy > 0.8 && test.mirrored_accuracy < 0.7, "{test:?}");
    // A bright half on the left or on the right.
    let (_root, arrows) = set(|n, x, _, is_first| if (x < 10) == is_first { 180 + n as u8 } else { 20 });
    assert!(test_mirroring(&arrows.train, 2, 0).unwrap().unwrap().changes_classes);
    let reason = |dataset| reason_against_mirroring(dataset, 0).unwrap().unwrap();
    assert!(reason(&digits).contains("digits or letters"), "{}", reason(&digits));
    assert!(reason(&arrows).starts_with("mirror images are told"), "{}", reason(&arrows));
}

#[test]
fn what_is_the_same_from_both_sides_does() {
    // A bright half above or below.
    let (_root, upright) = set(|n, _, y, is_first| if (y < 10) == is_first { 180 + n as u8 } else { 20 });
    let test = test_mirroring(&upright.train, 2, 0).unwrap().unwrap();
    assert!(!test.changes_classes && test.accuracy > 0.9, "{test:?}");
    assert_eq!(reason_against_mirroring(&upright, 0).unwrap(), None);
}

#[test]
fn few_pictures_say_nothing() {
    let root = tempfile::tempdir().unwrap();
    crate::data::folders(root.path(), &[("a", 10), ("b", 10)]);
    assert_eq!(test_mirroring(&open(root.path()).unwrap().train, 2, 0).unwrap(), None);
}
