//! The data sets of a stage, and how they are drawn from.

use std::path::{Path, PathBuf};

use greentune_core_config::{
    manifest::RunManifest,
    settings::{Settings, Stage2Settings},
};
use greentune_text_data::{DataError, Dataset, Draw, Encoder, Example, Replay, Sampler};

use crate::error::TrainError;

/// The data sets of a stage.
pub(super) struct StageData {
    /// The stage's own records.
    pub train: Dataset,
    /// Stage 1's records, when they are replayed.
    pub replay: Option<Dataset>,
    /// The stage's own validation records.
    pub validation: Dataset,
    /// Stage 1's validation records, when they are others: what could be forgotten.
    pub earlier_validation: Option<Dataset>,
}

impl StageData {
    /// Reads them and hands each to `each`. `spill` names the file for the records of a role that are too many for
    /// memory.
    pub fn load(
        manifest: &RunManifest,
        encoder: &Encoder,
        stage: u8,
        spill: impl Fn(&str) -> PathBuf,
        mut each: impl FnMut(&Dataset) -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        let mut load = |path: &Path, role: &str| -> Result<Dataset, TrainError> {
            let dataset = Dataset::load(path, &manifest.settings, encoder, &spill(role))?;
            each(&dataset)?;
            Ok(dataset)
        };
        let paths = &manifest.data;
        let train = load(paths.train_of(stage), "train")?;
        let validation = load(paths.validation_of(stage), "validation")?;
        let is_other = |path: &Path, of_stage: &Path| stage > 1 && path != of_stage;
        let has_replay = manifest.settings.training.stage(stage).replay_ratio > 0.0;
        let replays = has_replay && is_other(&paths.train, paths.train_of(stage));
        let replay = if replays { Some(load(&paths.train, "replay")?) } else { None };
        let forgets = is_other(&paths.validation, paths.validation_of(stage));
        let earlier_validation =
            if forgets { Some(load(&paths.validation, "earlier-validation")?) } else { None };
        Ok(Self { train, replay, validation, earlier_validation })
    }

    /// Draws the records of `stage` in the order of its seed.
    pub fn sampler(&self, settings: &Settings, stage: u8) -> Result<Sampler, DataError> {
        let Stage2Settings { replay_ratio: ratio, .. } = settings.training.stage(stage);
        let replay = self
            .replay
            .as_ref()
            .map(|dataset| Replay { weights: dataset.examples.weights().to_vec(), ratio });
        Sampler::new(seed(settings, stage), self.train.examples.weights(), replay)
    }

    /// As [`sampler`](Self::sampler), were nothing replayed.
    pub fn own_sampler(&self, settings: &Settings, stage: u8) -> Result<Sampler, DataError> {
        Sampler::new(seed(settings, stage), self.train.examples.weights(), None)
    }

    /// The record that was drawn.
    pub fn read(&self, draw: Draw) -> Result<Example, DataError> {
        match &self.replay {
            Some(replayed) if draw.replay => replayed.examples.get(draw.index),
            _ => self.train.examples.get(draw.index),
        }
    }

    /// What the stage evaluates on: its own validation records, then stage 1's when they are others.
    pub fn validations(&self) -> impl Iterator<Item = &Dataset> {
        [&self.validation].into_iter().chain(&self.earlier_validation)
    }

    /// What the stage draws from: its own records, then those that are replayed.
    pub fn drawn_from(&self) -> impl Iterator<Item = &Dataset> {
        [&self.train].into_iter().chain(&self.replay)
    }
}

fn seed(settings: &Settings, stage: u8) -> u64 {
    settings.training.seed ^ u64::from(stage)
}
