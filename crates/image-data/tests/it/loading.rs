//! Batches out of threads.

use std::fs;

use greentune_core_config::Diagnostic;
use greentune_image_data::{Augmentation, Batch, Loader, Part, Pipeline, View};
use proptest::prelude::*;

use crate::data::{fixture, folders, open, pipeline, write};

/// All batches of `requests`, asked for at once.
fn load(part: &Part, pipeline: &Pipeline, threads: usize, requests: &[(Vec<u32>, u64)]) -> Vec<Batch> {
    let mut loader = Loader::new(part, pipeline, threads, 2).unwrap();
    for (ids, epoch) in requests {
        loader.request(ids.clone(), *epoch, View::Augment).unwrap();
    }
    std::iter::from_fn(|| loader.next_batch().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn order_and_contents_do_not_depend_on_the_number_of_threads(
        requests in prop::collection::vec((prop::collection::vec(0..360_u32, 0..20), 0..3_u64), 1..20),
        threads in 2..5_usize,
    ) {
        let digits = open(&fixture("digits")).unwrap();
        let pipeline = pipeline(8, 8, 1, Augmentation::CIFAR);
        let one = load(&digits.validation, &pipeline, 1, &requests);
        prop_assert_eq!(one.len(), requests.len());
        for (batch, (ids, _)) in one.iter().zip(&requests) {
            prop_assert_eq!(&batch.ids, ids);
            prop_assert_eq!(batch.pixels.len(), ids.len() * 64);
            prop_assert!(batch.ids.iter().zip(&batch.labels).all(|(&id, &label)| digits.validation.labels()[id as usize] == label));
        }
        prop_assert_eq!(load(&digits.validation, &pipeline, threads, &requests), one);
    }
}

#[test]
fn batches_can_be_decided_on_one_by_one_and_given_up() {
    let digits = open(&fixture("digits")).unwrap();
    let mut loader = Loader::new(&digits.train, &pipeline(8, 8, 1, Augmentation::NONE), 2, 1).unwrap();
    assert_eq!(loader.next_batch().unwrap(), None);
    for id in [5, 1, 5] {
        loader.request(vec![id], 0, View::Evaluate).unwrap();
        assert_eq!(loader.next_batch().unwrap().unwrap().ids, [id]);
    }
    let problem = loader.request(vec![0, 1437], 0, View::Evaluate).unwrap_err().problem();
    assert_eq!(problem.code, "images.unknown_sample");
    // Many wait, none is fetched: dropping the loader ends its threads.
    (0..500).for_each(|_| loader.request((0..100).collect(), 0, View::Evaluate).unwrap());
    drop(loader);
}

#[test]
fn grey_pictures_are_repeated_for_a_model_of_three_channels() {
    let digits = open(&fixture("digits")).unwrap();
    let batch = &load(&digits.train, &pipeline(8, 8, 3, Augmentation::NONE), 1, &[(vec![0, 9], 0)])[0];
    assert_eq!(batch.pixels.len(), 2 * 64 * 3);
    assert!(
        batch
            .pixels
            .chunks(3)
            .all(|rgb| rgb[0].to_bits() == rgb[1].to_bits() && rgb[1].to_bits() == rgb[2].to_bits())
    );
    let grey = &load(&digits.train, &pipeline(8, 8, 1, Augmentation::NONE), 1, &[(vec![0, 9], 0)])[0];
    assert!(batch.pixels.chunks(3).zip(&grey.pixels).all(|(rgb, grey)| rgb[0].to_bits() == grey.to_bits()));
}

#[test]
fn a_picture_that_cannot_be_read_is_left_out_and_told_once() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 30), ("train/b", 30), ("val/a", 2), ("val/b", 2)]);
    write(&root.path().join("train/a/003.png"), b"no picture");
    fs::write(root.path().join("train/b/002.png"), b"").unwrap();
    let train = open(root.path()).unwrap().train;
    let mut loader = Loader::new(&train, &pipeline(8, 6, 3, Augmentation::NONE), 2, 2).unwrap();
    for epoch in 0..3 {
        for batch in (0..60).collect::<Vec<_>>().chunks(10) {
            loader.request(batch.to_vec(), epoch, View::Augment).unwrap();
        }
    }
    let batches: Vec<Batch> = std::iter::from_fn(|| loader.next_batch().unwrap()).collect();
    assert_eq!(batches[0].ids, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(batches[0].pixels.len(), 9 * 8 * 6 * 3);
    let told: Vec<String> =
        batches.iter().flat_map(|batch| &batch.unreadable).map(|(id, what)| format!("{id} {what}")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("3 train/a/003.png: neither JPEG"), "{told:?}");
    assert_eq!(told[1], "32 train/b/002.png: the file is empty");
    assert_eq!(loader.unreadable(), 2);
}

#[test]
fn too_many_unreadable_pictures_end_loading() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/a", 30), ("train/b", 30), ("val/a", 2), ("val/b", 2)]);
    (0..7).for_each(|n| write(&root.path().join(format!("train/a/{n:03}.png")), b"no picture"));
    let train = open(root.path()).unwrap().train;
    let mut loader = Loader::new(&train, &pipeline(8, 6, 3, Augmentation::NONE), 1, 2).unwrap();
    (0..2).for_each(|epoch| loader.request((0..60).collect(), epoch, View::Augment).unwrap());
    // Sixty samples are too few to judge by.
    assert_eq!(loader.next_batch().unwrap().unwrap().unreadable.len(), 7);
    let problem = loader.next_batch().unwrap_err().problem();
    assert_eq!(problem.code, "images.too_many_unreadable");
    assert!(problem.message.starts_with("14 of 120 images could not be read"), "{problem}");
}
