//! Every form of data set, and what is wrong with some.

use std::{fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};
use greentune_core_config::Diagnostic;
use greentune_image_data::{ImageDataset, Kind, OpenOptions, TestSet, ValidationFrom};

use crate::data::{cifar_record, fixture, folders, idx, open, png, refusal, write};

fn shape(dataset: &ImageDataset) -> (Kind, usize, usize, Option<usize>, ValidationFrom) {
    let test = dataset.test.as_ref().map(greentune_image_data::Part::len);
    (dataset.kind, dataset.train.len(), dataset.validation.len(), test, dataset.validation_from)
}

#[test]
fn folders_with_parts() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("train/cat", 3), ("train/ant/deep", 2), ("valid/cat", 1), ("test/ant", 2)]);
    write(&root.path().join("train/cat/notes.txt"), "no picture");
    write(&root.path().join("train/.hidden/x.png"), png(2, 2, 0));
    let dataset = open(root.path()).unwrap();
    assert_eq!(shape(&dataset), (Kind::ImageFolder, 5, 1, Some(2), ValidationFrom::Own));
    assert_eq!(dataset.classes, ["ant", "cat"]);
    assert_eq!(dataset.train.labels(), [0, 0, 1, 1, 1]);
    assert_eq!(dataset.validation.labels(), [1]);
    assert_eq!(dataset.train.name(0), "train/ant/deep/000.png");
    assert_eq!(dataset.warnings.len(), 2, "{:?}", dataset.warnings);
    assert!(dataset.warnings[0].starts_with("1 files are ignored"));
    assert_eq!(dataset.warnings[1], "1 of 2 classes have no validation images: ant");
    fs::remove_dir_all(root.path().join("valid")).unwrap();
    assert_eq!(shape(&open(root.path()).unwrap()), (Kind::ImageFolder, 5, 2, None, ValidationFrom::Test));
}

#[test]
fn a_classifier_is_tested_on_the_part_for_it_by_its_own_classes() {
    let root = tempfile::tempdir().unwrap();
    folders(
        root.path(),
        &[("train/cat", 3), ("train/ant", 2), ("valid/cat", 1), ("test/ant", 2), ("test/cat", 1)],
    );
    let classes = ["bee", "cat", "ant"].map(String::from);
    let tested = |path: &Path, classes: &[String]| TestSet::open(path, classes, u64::MAX);
    let test = tested(root.path(), &classes).unwrap();
    assert_eq!((test.part.labels(), test.is_all), (&[2, 2, 1][..], false));
    let alone = tested(&root.path().join("test"), &classes).unwrap();
    assert_eq!((alone.part.labels(), alone.is_all), (&[2, 2, 1][..], true));
    let problem = tested(root.path(), &classes[..2]).unwrap_err().problem();
    assert_eq!(problem.code, "images.unknown_class");
    assert!(
        problem.message.contains("\"ant\"") && problem.message.contains("bee, cat"),
        "{}",
        problem.message
    );
}

#[test]
fn what_is_held_out_is_a_share_of_every_class_and_a_function_of_the_seed() {
    let root = tempfile::tempdir().unwrap();
    folders(root.path(), &[("a", 20), ("b", 41), ("c", 1)]);
    let names = |seed| {
        let options = OpenOptions { held_out: 0.2, seed, ..OpenOptions::default() };
        let dataset = ImageDataset::open(root.path(), &options).unwrap();
        assert_eq!(dataset.validation_from, ValidationFrom::HeldOut);
        assert_eq!(dataset.validation.counts(3), [4, 8, 0]);
        assert_eq!(dataset.train.counts(3), [16, 33, 1]);
        let part =
            |part: &greentune_image_data::Part| (0..part.len() as u32).map(|id| part.name(id)).collect();
        let (train, validation): (Vec<String>, Vec<String>) =
            (part(&dataset.train), part(&dataset.validation));
        assert!(validation.iter().all(|name| !train.contains(name)));
        validation
    };
    assert_eq!(names(1), names(1));
    assert_ne!(names(1), names(2));
}

#[test]
fn folders_that_cannot_be_learnt_from() {
    let root = tempfile::tempdir().unwrap();
    let set = |name: &str, counts: &[(&str, u32)]| {
        let path = root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        folders(&path, counts);
        path
    };
    let (code, message) = refusal(&set("empty", &[]));
    assert_eq!(code, "images.not_recognised", "{message}");
    let (code, message) = refusal(&set("one", &[("cat", 5)]));
    assert_eq!(code, "images.too_few_classes");
    assert!(message.contains("images of one class (\"cat\")"), "{message}");
    let (code, message) = refusal(&set("hollow", &[("cat", 5), ("dog", 0)]));
    assert_eq!(code, "images.empty_class");
    assert!(message.contains("\"dog\""), "{message}");
    let (code, message) = refusal(&set("other", &[("train/a", 2), ("train/b", 2), ("val/c", 1)]));
    assert_eq!(code, "images.label");
    assert!(message.contains("val/c") && message.contains("2 classes of the training"), "{message}");
    let (code, _) = refusal(&set("no-validation", &[("train/a", 2), ("train/b", 2), ("val/a", 0)]));
    assert_eq!(code, "images.empty_part");
    let (code, _) = refusal(&set("both", &[("train/a", 2), ("train/b", 2), ("val/a", 1), ("valid/a", 1)]));
    assert_eq!(code, "images.not_recognised");
    assert_eq!(refusal(Path::new("/no/such/folder")).0, "images.not_found");
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_are_refused() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let (set, outside) = (root.path().join("set"), root.path().join("secret.png"));
    folders(&set, &[("a", 2), ("b", 2)]);
    fs::write(&outside, png(4, 4, 0)).unwrap();
    symlink("000.png", set.join("a/again.png")).unwrap();
    assert_eq!(open(&set).unwrap().train.len() + open(&set).unwrap().validation.len(), 5);
    symlink(&outside, set.join("a/out.png")).unwrap();
    let (code, message) = refusal(&set);
    assert_eq!(code, "images.link");
    assert!(message.contains("out.png") && message.contains("secret.png"), "{message}");
    fs::remove_file(set.join("a/out.png")).unwrap();
    symlink(root.path(), set.join("c")).unwrap();
    assert_eq!(refusal(&set).0, "images.link");
}

#[cfg(unix)]
#[test]
fn the_links_of_the_hubs_cache_are_followed() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (root.path().join("blobs"), root.path().join("snapshots/abc/data"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    let name = "train-00000-of-00001.parquet";
    fs::copy(fixture("images/hub/data").join(name), blobs.join("0123")).unwrap();
    symlink("../../../blobs/0123", snapshot.join(name)).unwrap();
    let dataset = open(&root.path().join("snapshots/abc")).unwrap();
    assert_eq!(shape(&dataset), (Kind::Parquet, 6, 3, None, ValidationFrom::HeldOut));
}

#[test]
fn cifar_10_as_its_archive_unpacks() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cifar-10-batches-bin");
    for batch in 1..=5 {
        let records: Vec<u8> =
            [2 * batch - 2, 2 * batch - 1].iter().flat_map(|&l| cifar_record(&[l])).collect();
        write(&folder.join(format!("data_batch_{batch}.bin")), records);
    }
    write(&folder.join("test_batch.bin"), cifar_record(&[3]));
    let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    write(&folder.join("batches.meta.txt"), names);
    let dataset = open(root.path()).unwrap();
    assert_eq!(shape(&dataset), (Kind::Cifar10, 10, 1, None, ValidationFrom::Test));
    assert_eq!((dataset.classes[3].as_str(), dataset.validation.labels()), ("cat", &[3][..]));
    assert_eq!(dataset.train.name(3), "data_batch_2.bin image 1");
    let image = dataset.train.image(3).unwrap();
    assert_eq!((image.width, image.height, image.channels), (32, 32, 3));
    // Planes become pixels: column 5 of row 1.
    assert_eq!(image.pixels[(32 + 5) * 3..(32 + 6) * 3], [10 + 5 + 1, 20 + 5 + 1, 30 + 5 + 1]);
    // A file of the set stands for the folder.
    assert_eq!(shape(&open(&folder.join("data_batch_3.bin")).unwrap()), shape(&dataset));

    write(&folder.join("data_batch_4.bin"), &cifar_record(&[1])[..3000]);
    let (code, message) = refusal(root.path());
    assert_eq!(code, "images.broken_file");
    assert!(message.contains("3000 bytes") && message.contains("data_batch_4.bin"), "{message}");
    write(&folder.join("data_batch_4.bin"), cifar_record(&[10]));
    let (code, message) = refusal(root.path());
    assert_eq!(code, "images.label");
    assert!(message.contains("the label 10; allowed are 0 to 9"), "{message}");
}

#[test]
fn cifar_100_has_its_fine_labels() {
    let root = tempfile::tempdir().unwrap();
    let records: Vec<u8> = (0..100).flat_map(|fine| cifar_record(&[fine / 5, fine])).collect();
    write(&root.path().join("train.bin"), records);
    write(&root.path().join("test.bin"), cifar_record(&[3, 17]));
    let dataset = open(root.path()).unwrap();
    assert_eq!(shape(&dataset), (Kind::Cifar100, 100, 1, None, ValidationFrom::Test));
    assert_eq!((dataset.classes.len(), dataset.validation.labels()), (100, &[17][..]));
    write(&root.path().join("fine_label_names.txt"), "apple\nbee\n");
    assert!(refusal(root.path()).1.contains("it names 2 classes; 100 are expected"));
}

#[test]
fn the_optical_digits() {
    let dataset = open(&fixture("digits")).unwrap();
    assert_eq!(shape(&dataset), (Kind::Idx, 1437, 360, None, ValidationFrom::Test));
    assert_eq!(dataset.classes.len(), 10);
    let counts = dataset.train.counts(10).into_iter().zip(dataset.validation.counts(10));
    // The published counts of all 1797 digits.
    let totals = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
    assert_eq!(counts.map(|(train, test)| train + test).collect::<Vec<_>>(), totals);
    let image = dataset.train.image(0).unwrap();
    assert_eq!((image.width, image.height, image.channels), (8, 8, 1));
    let levels: Vec<u8> =
        (0..=16_u16).map(|level| (f64::from(level) * 255.0 / 16.0).round_ties_even() as u8).collect();
    let pixels = (0..1437).flat_map(|id| dataset.train.image(id).unwrap().pixels.into_owned());
    assert!(pixels.into_iter().all(|value| levels.contains(&value)));
}

#[test]
fn idx_plain_and_gzipped_are_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (images, labels) = (idx(&[4, 2, 3], &(0..24).collect::<Vec<_>>()), idx(&[4], &[0, 1, 1, 0]));
    let gzipped = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let folder = root.path().join("MNIST/raw");
    write(&folder.join("train-images-idx3-ubyte.gz"), gzipped(&images));
    write(&folder.join("train-labels-idx1-ubyte"), &labels);
    let dataset = open(root.path()).unwrap();
    assert_eq!(shape(&dataset), (Kind::Idx, 2, 2, None, ValidationFrom::HeldOut));
    let image = dataset.train.image(1).unwrap();
    assert_eq!((image.width, image.height, image.pixels.len()), (3, 2, 6));
    write(&folder.join("train-images-idx3-ubyte.gz"), &gzipped(&images)[..30]);
    assert_eq!(refusal(root.path()).0, "images.broken_file");
}

#[test]
fn idx_files_that_contradict_themselves_or_each_other() {
    let root = tempfile::tempdir().unwrap();
    let write_pair = |images: Vec<u8>, labels: Vec<u8>| {
        write(&root.path().join("train-images-idx3-ubyte"), images);
        write(&root.path().join("train-labels-idx1-ubyte"), labels);
        refusal(root.path())
    };
    let good = || idx(&[3, 1, 2], &[0; 6]);
    let (code, message) = write_pair(good(), idx(&[2], &[0, 1]));
    assert_eq!(code, "images.broken_file");
    assert!(message.contains("labels of sizes [2] for 3 images"), "{message}");
    assert!(write_pair(idx(&[3, 1, 2], &[0; 5]), idx(&[3], &[0; 3])).1.contains("it has only 5"));
    assert!(write_pair(idx(&[3, 1, 2], &[0; 7]), idx(&[3], &[0; 3])).1.contains("it has more"));
    assert!(
        write_pair(b"\0\0\x0d\x03".to_vec(), idx(&[3], &[0; 3])).1.contains("does not begin like an IDX")
    );
    assert!(write_pair(idx(&[3, 6], &[0; 18]), idx(&[3], &[0; 3])).1.contains("images × height × width"));
    // A header that announces more than may be held is believed, and refused before anything is read.
    let (code, _) = write_pair(idx(&[u32::MAX, 60_000, 60_000], &[]), idx(&[3], &[0; 3]));
    assert_eq!(code, "images.too_large");
    assert_eq!(write_pair(good(), idx(&[3], &[0; 3])).0, "images.too_few_classes");
    // Numbers that do not occur are no classes: EMNIST's letters begin at 1.
    write(&root.path().join("train-labels-idx1-ubyte"), idx(&[3], &[9, 4, 9]));
    write(&root.path().join("t10k-images-idx3-ubyte"), idx(&[1, 1, 2], &[0; 2]));
    write(&root.path().join("t10k-labels-idx1-ubyte"), idx(&[1], &[4]));
    let dataset = open(root.path()).unwrap();
    assert_eq!(
        (dataset.classes, dataset.train.labels()),
        (vec!["4".to_owned(), "9".to_owned()], &[1, 0, 1][..])
    );
    write(&root.path().join("t10k-labels-idx1-ubyte"), idx(&[1], &[5]));
    let (code, message) = refusal(root.path());
    assert_eq!(code, "images.label");
    assert!(message.contains("the label 5; allowed are 4, 9"), "{message}");
    fs::remove_file(root.path().join("train-labels-idx1-ubyte")).unwrap();
    let (code, message) = refusal(root.path());
    assert_eq!(code, "images.not_recognised");
    assert!(message.contains("there is no train-labels-idx1-ubyte"), "{message}");
}

#[test]
fn parquet_as_the_hub_has_it() {
    let dataset = open(&fixture("images/hub")).unwrap();
    assert_eq!(shape(&dataset), (Kind::Parquet, 9, 4, None, ValidationFrom::Test));
    assert_eq!(dataset.classes, ["cat", "dog", "owl"]);
    assert_eq!(dataset.train.labels(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    // Backwards over the row groups of four.
    for id in (0..9).rev() {
        let image = dataset.train.image(id).unwrap();
        assert_eq!((image.width, image.height, image.channels), (9 + id % 2, 8, 3));
        let header = dataset.train.header(id).unwrap();
        assert_eq!((header.width, header.height, header.channels), (9 + id % 2, 8, 3));
    }
    assert_ne!(dataset.train.image(0).unwrap(), dataset.train.image(2).unwrap());
    let unreadable = dataset.validation.image(3).unwrap_err();
    assert_eq!(unreadable.name, "test-00000-of-00001.parquet row 3");
    assert!(unreadable.reason.contains("neither JPEG"), "{unreadable}");
    // One file is its own data set.
    let file = open(&fixture("images/hub/data/train-00000-of-00001.parquet")).unwrap();
    assert_eq!(shape(&file), (Kind::Parquet, 6, 3, None, ValidationFrom::HeldOut));
}

#[test]
fn parquet_that_unpacks_without_measure_is_refused() {
    let open = |max_memory_bytes| {
        ImageDataset::open(
            &fixture("images/repeated.parquet"),
            &OpenOptions { max_memory_bytes, ..OpenOptions::default() },
        )
    };
    // One picture of a megabyte in three thousand rows.
    let dataset = open(64 << 20).unwrap();
    let unreadable = dataset.train.image(0).unwrap_err();
    assert!(unreadable.reason.contains("take more than 67108864 bytes"), "{unreadable}");
    assert!(open(1 << 20).unwrap_err().to_string().contains("the limit is 1048576"));
}

#[test]
fn parquet_without_images_or_too_large_or_broken() {
    let (code, message) = refusal(&fixture("data/messages.parquet"));
    assert_eq!(code, "images.broken_file");
    assert!(message.contains("no column of images") && message.contains("id, messages"), "{message}");
    let small = OpenOptions { max_memory_bytes: 1000, ..OpenOptions::default() };
    let error = ImageDataset::open(&fixture("images/hub"), &small).unwrap_err();
    assert!(error.to_string().contains("the limit is 1000"), "{error}");
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("train.parquet");
    let good = fs::read(fixture("images/hub/data/train-00000-of-00001.parquet")).unwrap();
    for at in (4..good.len() - 8).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        fs::write(&path, &bytes).unwrap();
        // An error or samples that cannot be read, never the end of the program.
        if let Ok(dataset) = open(&path) {
            (0..dataset.train.len() as u32).for_each(|id| drop(dataset.train.image(id)));
        }
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert_eq!(refusal(&path).0, "images.broken_file");
}
