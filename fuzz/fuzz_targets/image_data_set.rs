//! Image data sets in one file: IDX, CIFAR's binary, Parquet; and the labels of IDX.
#![no_main]

use std::sync::LazyLock;

use greentune_fuzz::{Scratch, allow_caught_panics, fixture};
use greentune_image_data::{ImageDataset, OpenOptions, TestSet, inspect};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        for folder in ["images", "labels"] {
            scratch.write(
                &format!("{folder}/{name}"),
                &std::fs::read(fixture("digits").join(name)).expect("a fixture"),
            );
        }
    }
    scratch.copy("digits/t10k-images-idx3-ubyte", "labels/train-images-idx3-ubyte");
    scratch.copy("digits/t10k-labels-idx1-ubyte", "images/train-labels-idx1-ubyte");
    scratch
});

fuzz_target!(init: allow_caught_panics(), |data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let (folder, name) = match form % 5 {
        0 => ("images", "train-images-idx3-ubyte"),
        1 => ("labels", "train-labels-idx1-ubyte"),
        2 => ("cifar10", "data_batch_1.bin"),
        3 => ("cifar100", "train.bin"),
        _ => ("parquet", "train-00000-of-00001.parquet"),
    };
    SCRATCH.write(&format!("{folder}/{name}"), data);
    let options = OpenOptions { max_memory_bytes: 64 << 20, ..OpenOptions::default() };
    let folder = SCRATCH.path(folder);
    let _ = inspect(&folder, &options);
    let _ = TestSet::open(&folder, &[String::from("0"), String::from("1")], options.max_memory_bytes);
    let Ok(dataset) = ImageDataset::open(&folder, &options) else { return };
    assert!(dataset.train.labels().iter().all(|label| (*label as usize) < dataset.classes.len()));
    for id in 0..dataset.train.len().min(4) as u32 {
        let _ = dataset.train.header(id);
        let _ = dataset.train.image(id);
    }
});
