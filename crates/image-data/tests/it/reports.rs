//! What is said of a data set before a run.

use greentune_core_config::Diagnostic;
use greentune_image_data::{Kind, OpenOptions, Report, ValidationFrom, inspect};

use crate::data::{fixture, folders, png, write};

#[test]
fn a_report_counts_classes_and_sizes_and_names_what_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 40), ("train/b", 3), ("val/a", 2), ("val/b", 1)]);
    write(&root.path().join("train/a/wide.jpg"), png(50, 4, 1));
    write(&root.path().join("train/a/bad.png"), b"");
    let report = inspect(root.path(), &OpenOptions::default()).unwrap();
    assert_eq!((report.kind, report.train, report.validation, report.test), (Kind::ImageFolder, 45, 3, 0));
    let of_a = &report.classes[0];
    assert_eq!((of_a.name.as_str(), of_a.train, of_a.validation, of_a.test), ("a", 42, 2, 0));
    let sizes =
        (report.sizes.min_width, report.sizes.max_width, report.sizes.min_height, report.sizes.max_height);
    assert_eq!((sizes, report.sizes.is_uniform(), report.channels), ((8, 50, 4, 6), false, 3));
    assert_eq!((report.sampled, report.unreadable.len()), (48, 1));
    assert_eq!(report.unreadable[0].to_string(), "train/a/bad.png: the file is empty");
    assert!((report.imbalance - 14.0).abs() < 1e-9);
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    assert!(text.contains(r#""validation_from":"own""#), "{text}");
}

#[test]
fn a_grey_data_set_of_one_size_is_told() {
    let report = inspect(&fixture("digits"), &OpenOptions::default()).unwrap();
    assert_eq!((report.channels, report.sizes.is_uniform()), (1, true));
    assert_eq!((report.validation_from, report.sampled), (ValidationFrom::Test, 128));
    assert!(report.warnings.is_empty() && report.imbalance < 1.2);
}

#[test]
fn a_data_set_that_is_mostly_unreadable_is_refused() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 8), ("train/b", 8), ("val/a", 1), ("val/b", 1)]);
    (0..3).for_each(|n| write(&root.path().join(format!("train/b/{n:03}.png")), b"<html>404</html>"));
    let problem = inspect(root.path(), &OpenOptions::default()).unwrap_err().problem();
    assert_eq!(problem.code, "images.too_many_unreadable");
    assert!(problem.message.contains("3 of 18") && problem.message.contains("train/b/000.png"), "{problem}");
}
