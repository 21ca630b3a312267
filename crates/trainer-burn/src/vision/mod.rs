//! Training of image classifiers on the samples that matter.
//!
//! Stage 1 is the warm-up on all images, stage 2 the sparse phase; without adaptive sparse training stage 2 trains on
//! all images too, in the same order and along the same learning rates, so that the two can be compared.

mod checkpoint;
pub mod data;
pub(crate) mod evaluate;
mod feed;
mod mixing;
pub mod model;
pub mod optimizer;
mod order;
mod schedule;
mod stage;
mod start;
pub mod step;
pub mod weights;

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::MeterEnvironment;
use greentune_core_config::{event::EventKind, layout::RunLayout, manifest::RunManifest, port::RunReporter};

use self::{data::Images, model::Shape};
use crate::{
    error::TrainError,
    ops::image::ImageOps,
    stage::{Outcome, in_turn, report_start},
};

/// A run on one backend: what its stages share.
struct Run<'a, A: AutodiffBackend> {
    manifest: &'a RunManifest,
    layout: &'a RunLayout,
    surroundings: &'a MeterEnvironment,
    images: Images,
    shape: Shape,
    device: A::Device,
}

/// Trains `stages` of a run on the backend `A`, taking up the newest checkpoints.
pub fn run<A>(
    manifest: &RunManifest,
    layout: &RunLayout,
    stages: &[u8],
    surroundings: &MeterEnvironment,
    reporter: &mut dyn RunReporter,
    device: A::Device,
    device_name: &str,
) -> Result<Outcome, TrainError>
where
    A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>,
{
    report_start(layout, stages, reporter, device_name)?;
    let images = Images::open(manifest)?;
    for warning in &images.dataset.warnings {
        let warning = EventKind::Warning { code: String::from("images.odd"), message: warning.clone() };
        reporter.report(warning).map_err(TrainError::Reporter)?;
    }
    let shape = images.shape(&manifest.settings.vision)?;
    let run = Run::<A> { manifest, layout, surroundings, images, shape, device };
    in_turn(stages, |stage| run.train_stage(stage, reporter))
}

impl<A: AutodiffBackend> Run<'_, A> {
    /// Epochs of `stage`.
    fn epochs(&self, stage: u8) -> u64 {
        self.manifest.settings.image_epochs(stage)
    }
}
