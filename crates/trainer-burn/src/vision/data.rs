//! The images of a run: which they are, and how they reach the network.

use greentune_core_config::{
    manifest::RunManifest,
    settings::{Augmentation as Kind, VisionSettings},
};
use greentune_image_data::{
    Augmentation, Crop, ImageDataset, Loader, Normalisation, OpenOptions, Part, Pipeline,
};
use serde::{Deserialize, Serialize};

use super::model::{Architecture, Shape};
use crate::error::TrainError;

/// Batches that are rendered ahead.
pub(super) const AHEAD: usize = 2;
/// Images whose headers say how large and how coloured a data set is.
const LOOKED_AT: u32 = 64;
const USUAL_SIDE: u32 = Pipeline::USUAL_SIDE;

/// The data set of a run and what becomes of its images.
pub struct Images {
    /// The data set.
    pub dataset: ImageDataset,
    /// What becomes of pictures.
    pub pipeline: Pipeline,
}

/// What stands beside the weights of a classifier, so that it can be used: `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierConfig {
    /// Architecture, such as `resnet18`.
    pub architecture: String,
    /// In which revision it is drawn ([`Architecture::of_revision`]); the first where the file does not say.
    #[serde(default = "first_revision")]
    pub revision: u32,
    /// Names of the classes, in the order of the logits.
    pub classes: Vec<String>,
    /// What becomes of a picture.
    pub pipeline: Pipeline,
}

const fn first_revision() -> u32 {
    1
}

impl ClassifierConfig {
    /// The network whose weights lie beside it; none of an architecture that is not known.
    pub fn shape(&self) -> Option<Shape> {
        Some(Shape {
            architecture: Architecture::of_revision(&self.architecture, self.revision)?,
            classes: self.classes.len(),
            channels: self.pipeline.channels,
            image_size: self.pipeline.height as usize,
        })
    }
}

impl Images {
    /// Opens the data set of a run.
    pub fn open(manifest: &RunManifest) -> Result<Self, TrainError> {
        let settings = &manifest.settings;
        let (vision, seed) = (&settings.vision, settings.training.seed);
        let options = OpenOptions { held_out: vision.validation_share, seed, ..OpenOptions::default() };
        let dataset = ImageDataset::open(&manifest.data.train, &options)?;
        let is_pretrained = !manifest.base_model_path.as_os_str().is_empty();
        let (side, channels) = looked_at(&dataset.train);
        let side = vision.image_size.map_or(side, |side| side as u32);
        // Weights that were trained on colours want them.
        let channels = if is_pretrained { 3 } else { channels };
        let mut pipeline = Pipeline {
            height: side,
            width: side,
            channels,
            crop_fraction: if side >= USUAL_SIDE { 0.875 } else { 1.0 },
            augmentation: augmentation(vision, side),
            normalisation: Normalisation::none(channels),
            seed,
        };
        pipeline.normalisation = if is_pretrained {
            Normalisation::imagenet()
        } else {
            Normalisation::of(&dataset.train, &pipeline)?
        };
        Ok(Self { dataset, pipeline })
    }

    /// The network that a run trains on these images.
    pub fn shape(&self, settings: &VisionSettings) -> Result<Shape, TrainError> {
        let name = settings.model.as_deref().unwrap_or_default();
        let shape = self.config(settings).shape().ok_or_else(|| TrainError::Setting {
            key: String::from("vision.model"),
            message: format!("found {name}, which is no image classifier"),
        })?;
        if shape.image_size < shape.least_image_size() {
            return Err(TrainError::Setting {
                key: String::from("vision.image_size"),
                message: format!(
                    "found {}; {name} needs at least {} pixels a side",
                    shape.image_size,
                    shape.least_image_size()
                ),
            });
        }
        Ok(shape)
    }

    /// What stands beside the weights.
    pub fn config(&self, settings: &VisionSettings) -> ClassifierConfig {
        let architecture = settings.model.clone().unwrap_or_default();
        ClassifierConfig {
            revision: Architecture::named(&architecture).map_or_else(first_revision, Architecture::revision),
            architecture,
            classes: self.dataset.classes.clone(),
            pipeline: self.pipeline.clone(),
        }
    }

    /// A loader of `part`'s images.
    pub fn loader(&self, part: &Part, settings: &VisionSettings) -> Result<Loader, TrainError> {
        Ok(Loader::new(part, &self.pipeline, settings.loader_threads as usize, AHEAD)?)
    }
}

/// Side and channels of the first images: their own where all of them agree.
fn looked_at(part: &Part) -> (u32, usize) {
    let headers: Vec<_> =
        (0..LOOKED_AT.min(part.len() as u32)).filter_map(|id| part.header(id).ok()).collect();
    let side = headers.first().map_or(USUAL_SIDE, |first| first.width);
    let agree = headers.iter().all(|header| header.width == side && header.height == side);
    let is_grey = !headers.is_empty() && headers.iter().all(|header| header.channels == 1);
    (if agree { side } else { USUAL_SIDE }, if is_grey { 1 } else { 3 })
}

fn augmentation(settings: &VisionSettings, side: u32) -> Augmentation {
    let shifted = Crop::Padded { padding: side / 8 };
    match settings.augmentation {
        Kind::None => Augmentation::NONE,
        Kind::Flip => Augmentation { horizontal_flip: true, ..Augmentation::NONE },
        Kind::Crop => Augmentation { crop: shifted, horizontal_flip: false },
        Kind::CropFlip => Augmentation { crop: shifted, horizontal_flip: true },
        Kind::ResizedCrop => Augmentation::IMAGENET,
    }
}
