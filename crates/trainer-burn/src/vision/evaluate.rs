//! How good a classifier is on a set of images.

use std::path::PathBuf;

use greentune_core_config::evaluation::ClassificationReport;
use greentune_image_data::{Loader, Part, View};

use super::{
    data::Images,
    model::Network,
    step::{self, Batch},
};
use crate::{error::TrainError, ops::image::ImageOps};

/// Images that go through the network at once.
const AT_ONCE: usize = 128;

/// Evaluates `network` on all images of `part`.
pub fn report<B: ImageOps>(
    network: &Network<B>,
    images: &Images,
    part: &Part,
    loader: &mut Loader,
    role: &str,
    dataset: PathBuf,
    device: &B::Device,
) -> Result<ClassificationReport, TrainError> {
    let classes = images.dataset.classes.len();
    let ids: Vec<u32> = (0..part.len() as u32).collect();
    for chunk in ids.chunks(AT_ONCE) {
        loader.request(chunk.to_vec(), 0, View::Evaluate)?;
    }
    let mut confusion = vec![vec![0u64; classes]; classes];
    let (mut count, mut loss, mut right, mut within_five) = (0u64, 0.0, 0u64, 0u64);
    while let Some(rendered) = loader.next_batch()? {
        if rendered.labels.is_empty() {
            continue;
        }
        let labels = rendered.labels;
        let batch =
            Batch { pixels: rendered.pixels, weights: vec![1.0; labels.len()], labels: labels.clone() };
        for (score, label) in step::score(network, batch, device).into_iter().zip(labels) {
            count += 1;
            loss += f64::from(score.loss);
            right += u64::from(score.predicted == label);
            within_five += u64::from(score.rank < 5);
            confusion[label as usize][score.predicted as usize] += 1;
        }
    }
    let share = |part: u64| part as f64 / count.max(1) as f64;
    Ok(ClassificationReport {
        dataset_role: role.to_owned(),
        dataset,
        images: count,
        skipped: part.len() as u64 - count,
        loss: loss / count.max(1) as f64,
        accuracy: share(right),
        top5_accuracy: (classes > 5).then(|| share(within_five)),
        classes: images.dataset.classes.clone(),
        confusion,
    })
}
