//! Folders as people lay them out: parts by many names, folders that systems leave behind, and what cannot be told.

use greentune_image_data::{TestSet, ValidationFrom};
use image::ImageFormat;

use crate::data::{encoded, folders, open, picture, png, refusal, write};

/// Counts of training, validation and test images, and where validation comes from.
fn parts(counts: &[(&str, u32)]) -> (Vec<String>, [usize; 3], ValidationFrom) {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), counts);
    let dataset = open(root.path()).unwrap();
    let test = dataset.test.map_or(0, |test| test.len());
    (dataset.classes, [dataset.train.len(), dataset.validation.len(), test], dataset.validation_from)
}

fn refused(counts: &[(&str, u32)]) -> String {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), counts);
    let (code, message) = refusal(root.path());
    assert_eq!(code, "images.not_recognised", "{message}");
    message
}

#[test]
fn the_hubs_words_for_parts_are_parts_in_any_case() {
    let classes = || vec!["blue".to_owned(), "red".to_owned()];
    let two = |train: &str, other: &str| {
        parts(&[
            (&format!("{train}/blue"), 6),
            (&format!("{train}/red"), 6),
            (&format!("{other}/blue"), 3),
            (&format!("{other}/red"), 3),
        ])
    };
    for (train, test) in [
        ("Training", "Testing"),
        ("TRAIN", "TEST"),
        ("train", "eval"),
        ("training", "Evaluation"),
        ("seg_train", "seg_test"),
        ("train-images", "test-images"),
        ("data/train", "data/test"),
        ("archive/Train", "archive/Test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
    ] {
        assert_eq!(two(train, test), (classes(), [12, 6, 0], ValidationFrom::Test), "{train}, {test}");
    }
    for (train, validation) in
        [("Train", "Val"), ("train", "dev"), ("Training", "VALID"), ("train", "Validation")]
    {
        let expected = (classes(), [12, 6, 0], ValidationFrom::Own);
        assert_eq!(two(train, validation), expected, "{train}, {validation}");
    }
    let three = parts(&[
        ("Train/a", 4),
        ("Train/b", 4),
        ("Val/a", 2),
        ("Val/b", 2),
        ("Test/a", 1),
        ("Test/b", 1),
        ("annotations", 0),
    ]);
    assert_eq!((three.1, three.2), ([8, 4, 2], ValidationFrom::Own));
}

#[test]
fn classes_may_be_called_like_parts_where_it_can_be_told() {
    // Vehicles: the images lie in `train` itself.
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("bus", 10), ("car", 10), ("train", 10)]);
    let dataset = open(root.path()).unwrap();
    assert_eq!(dataset.classes, ["bus", "car", "train"]);
    assert_eq!((dataset.train.len(), dataset.validation.len()), (27, 3));
    assert!(dataset.warnings[0].starts_with("train are taken for classes"), "{:?}", dataset.warnings);
    // Below a part every name is a class.
    let below = parts(&[("train/train", 4), ("train/test", 4), ("val/train", 2), ("val/test", 2)]);
    assert_eq!((below.0, below.1), (vec!["test".to_owned(), "train".to_owned()], [8, 4, 0]));
    // Two classes that are called like parts, and nothing else, could be either.
    let message = refused(&[("train", 5), ("test", 5)]);
    assert!(message.contains("test, train have no sub-folder per class"), "{message}");
}

#[test]
fn layouts_that_cannot_be_told_are_refused_by_name() {
    let message = refused(&[("train/a", 2), ("train/b", 2), ("cat", 3)]);
    assert!(message.contains("train are parts") && message.contains("cat beside them"), "{message}");
    let message = refused(&[("a/train", 2), ("a/test", 2), ("b/train", 2), ("b/test", 2)]);
    assert!(message.contains("a/test; parts belong above the classes: test/a"), "{message}");
    let message = refused(&[("train/a/test", 2), ("train/a/x", 2), ("train/b", 2)]);
    assert!(message.contains("a/test"), "{message}");
    let message = refused(&[("Train/a", 2), ("Train/b", 2), ("training/a", 2), ("training/b", 2)]);
    assert!(message.contains("Train, training are both there"), "{message}");
    let message = refused(&[("train/a", 2), ("train/b", 2), ("test1/a", 2), ("test2/a", 2)]);
    assert!(message.contains("test1, test2 are both there"), "{message}");
}

#[test]
fn a_part_without_a_folder_per_class_is_left_out_and_said() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 10), ("train/b", 10), ("test", 5)]);
    let dataset = open(root.path()).unwrap();
    assert_eq!((dataset.train.len(), dataset.validation.len()), (18, 2));
    assert_eq!(dataset.warnings, ["test holds images without a folder per class: they are not used"]);
}

#[test]
fn a_part_to_test_on_needs_no_training_part() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("Testing/ant", 2), ("Testing/bee", 1)]);
    let classes = ["ant", "bee"].map(String::from);
    let test = TestSet::open(root.path(), &classes, u64::MAX).unwrap();
    assert_eq!((test.part.labels(), test.is_all), (&[0, 0, 1][..], false));
    assert_eq!(refusal(root.path()).0, "images.empty_part");
}

#[test]
fn what_systems_leave_behind_is_ignored_and_counted() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 4), ("train/b", 4), ("val/a", 1), ("val/b", 1)]);
    for left in [
        "__MACOSX/train/a/x.png",
        ".DS_Store",
        "train/a/._000.png",
        "train/a/Thumbs.db",
        "train/b/desktop.ini",
        "train/b/@eaDir/000.png",
    ] {
        write(&root.path().join(left), png(4, 4, 0));
    }
    for (name, other) in [("x.heic", "y.HEIC"), ("labels.csv", "notes")] {
        write(&root.path().join("train/a").join(name), "?");
        write(&root.path().join("train/a").join(other), "?");
    }
    let dataset = open(root.path()).unwrap();
    assert_eq!((dataset.classes.len(), dataset.train.len(), dataset.validation.len()), (2, 8, 2));
    let [warning] = dataset.warnings.as_slice() else { panic!("{:?}", dataset.warnings) };
    assert!(warning.starts_with("4 files are ignored (1 without an ending, 1 .csv, 2 .heic)"), "{warning}");
    assert!(warning.contains("6 hidden or system entries are ignored"), "{warning}");
}

#[test]
fn every_ending_of_a_known_format_is_a_picture_by_its_content() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = encoded(picture(8, 6, 1), ImageFormat::Jpeg);
    let grey = b"P5 2 2 255\n\x01\x02\x03\x04";
    for class in ["a", "b"] {
        let file = |name: &str| root.path().join(class).join(name);
        for name in ["1.jpe", "2.jfif", "3.JPG", "4.png", "5.JFIF"] {
            write(&file(name), &jpeg);
        }
        write(&file("6.pgm"), grey);
        write(&file("7.PPM"), encoded(picture(3, 3, 1), ImageFormat::Pnm));
    }
    let dataset = open(root.path()).unwrap();
    assert_eq!(dataset.train.len() + dataset.validation.len(), 14);
    assert!(dataset.warnings.is_empty(), "{:?}", dataset.warnings);
    for id in 0..dataset.train.len() as u32 {
        dataset.train.image(id).unwrap();
    }
}
