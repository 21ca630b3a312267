//! Images per second of the loader: CIFAR-like raw data with crop and flip, and JPEGs of 256 pixels at 224 with random
//! resized crops. `cargo run --release -p greentune-image-data --example loader_speed [threads]`
#![allow(clippy::disallowed_methods, reason = "a program of its own")]
#![expect(clippy::print_stdout, reason = "an example that measures")]

use std::{error::Error, fs, path::Path, time::Instant};

use greentune_image_data::{Augmentation, ImageDataset, Loader, Normalisation, OpenOptions, Pipeline, View};
use image::{ImageFormat, Rgb, RgbImage};

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |threads| threads.parse())?;
    let root = tempfile::tempdir()?;
    let (cifar, folder) = (root.path().join("cifar"), root.path().join("folder"));
    fs::create_dir_all(&cifar)?;
    for batch in 1..=5 {
        let records = (0..10_000_u32)
            .flat_map(|n| (0..3073).map(move |at| if at == 0 { n % 10 } else { n * at } as u8));
        fs::write(cifar.join(format!("data_batch_{batch}.bin")), records.collect::<Vec<u8>>())?;
    }
    for n in 0..200_u32 {
        // Waves and an edge: about 25 kB, as photos of this size have.
        let picture = RgbImage::from_fn(256, 256, |x, y| {
            let wave = |a: u32, b: u32| (f64::from(a * x + b * y + n) / 17.0).sin() * 90.0 + 128.0;
            let grain = f64::from((x * 7919 + y * 104_729 + n) % 23);
            Rgb([wave(1, 2) + grain, wave(3, 1) - grain, wave(2, 5)].map(|value| value as u8))
        });
        let class = folder.join((n % 2).to_string());
        fs::create_dir_all(&class)?;
        picture.save_with_format(class.join(format!("{n}.jpg")), ImageFormat::Jpeg)?;
    }
    measure("CIFAR, 32 px, padded crop and flip", &cifar, 32, Augmentation::CIFAR, threads)?;
    measure("JPEG, 256 px, random resized crop to 224", &folder, 224, Augmentation::IMAGENET, threads)
}

fn measure(
    name: &str,
    path: &Path,
    side: u32,
    augmentation: Augmentation,
    threads: usize,
) -> Result<(), Box<dyn Error>> {
    let train = ImageDataset::open(path, &OpenOptions::default())?.train;
    let (height, width, normalisation) = (side, side, Normalisation::imagenet());
    let pipeline =
        Pipeline { height, width, channels: 3, crop_fraction: 1.0, augmentation, normalisation, seed: 1 };
    let mut loader = Loader::new(&train, &pipeline, threads, 4)?;
    let ids: Vec<u32> = (0..train.len() as u32).collect();
    let (start, mut images) = (Instant::now(), 0);
    for epoch in 0.. {
        ids.chunks(64).try_for_each(|ids| loader.request(ids.to_vec(), epoch, View::Augment))?;
        while let Some(batch) = loader.next_batch()? {
            images += batch.ids.len();
        }
        if start.elapsed().as_secs() >= 3 {
            break;
        }
    }
    let rate = images as f64 / start.elapsed().as_secs_f64();
    println!("{name}: {rate:.0} images/s on {threads} thread(s)");
    Ok(())
}
