//! Evaluation of a classifier on a set of images.

use std::{fs, path::PathBuf};

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    evaluation::ClassificationReport, layout::RunLayout, manifest::RunManifest, task::EvaluateTask,
};
use greentune_image_data::{Loader, OpenOptions, Part, TestSet, View};

use super::{
    data::{AHEAD, ClassifierConfig},
    model::Network,
    step::{self, Batch},
    weights,
};
use crate::{error::TrainError, ops::image::ImageOps};

/// Images that go through the network at once.
const AT_ONCE: usize = 128;

/// Evaluates the classifier that a run left on the images of the task.
pub fn of_run<A>(
    task: &EvaluateTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    device: &A::Device,
) -> Result<ClassificationReport, TrainError>
where
    A: AutodiffBackend<InnerBackend: ImageOps>,
{
    let folder = layout.final_model();
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let unfit = |message: String| TrainError::Model {
        code: "model.config_invalid",
        path: path.clone(),
        message,
        hint: "Train the run again: its classifier is not as it was left.",
    };
    let config: ClassifierConfig = serde_json::from_str(&text).map_err(|error| unfit(error.to_string()))?;
    let shape = config.shape().ok_or_else(|| unfit(format!("{} is no architecture", config.architecture)))?;
    let network = weights::load::<A::InnerBackend>(&folder.join("model.safetensors"), shape, device)?;
    let memory = OpenOptions::default().max_memory_bytes;
    let TestSet { part, is_all } = TestSet::open(&task.dataset, &config.classes, memory)?;
    if is_all && task.dataset == manifest.data.train {
        return Err(TrainError::Setting {
            key: String::from("test_dataset"),
            message: format!(
                "found {}, which has no test part: most of its images were trained on; name other images",
                task.dataset.display()
            ),
        });
    }
    let threads = manifest.settings.vision.loader_threads as usize;
    let mut loader = Loader::new(&part, &config.pipeline, threads, AHEAD)?;
    report(&network, &config.classes, &part, &mut loader, "test", task.dataset.clone(), device)
}

/// Evaluates `network` on all images of `part`.
pub fn report<B: ImageOps>(
    network: &Network<B>,
    names: &[String],
    part: &Part,
    loader: &mut Loader,
    role: &str,
    dataset: PathBuf,
    device: &B::Device,
) -> Result<ClassificationReport, TrainError> {
    let classes = names.len();
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
        classes: names.to_vec(),
        confusion,
    })
}
