//! Training: the loop over stages and steps.

pub mod checkpoint;
pub(crate) mod feed;
pub(crate) mod metering;
pub mod optimizer;
pub mod plan;
pub mod schedule;
pub(crate) mod selection;
mod stage;
pub mod step;

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::Surroundings;
use greentune_core_config::{
    event::EventKind, layout::RunLayout, manifest::RunManifest, port::RunReporter, settings::Settings,
};
use greentune_text_data::Encoder;

use crate::{
    error::TrainError,
    model::{Adapters, Decoder, LoraSettings, config, weights},
    ops::{Ops, Packing},
};

/// How training ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every stage that was asked for is trained.
    Finished,
    /// Ended on request, with a checkpoint.
    Cancelled {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer steps done in it.
        step: u64,
    },
}

/// A run on one backend: what all its stages share.
struct Run<'a, A: AutodiffBackend<InnerBackend: Ops>> {
    manifest: &'a RunManifest,
    layout: &'a RunLayout,
    surroundings: &'a Surroundings,
    encoder: Encoder,
    decoder: Decoder<A::InnerBackend>,
    lora: LoraSettings,
    device: A::Device,
}

/// Trains `stages` of a run on the backend `A`, taking up the newest checkpoints.
pub fn run<A>(
    manifest: &RunManifest,
    layout: &RunLayout,
    stages: &[u8],
    surroundings: &Surroundings,
    reporter: &mut dyn RunReporter,
    device: A::Device,
    device_name: &str,
) -> Result<Outcome, TrainError>
where
    A: Ops + AutodiffBackend<InnerBackend: Ops>,
{
    let settings = &manifest.settings;
    report_start(layout, stages, reporter, device_name)?;
    let (encoder, decoder) = open::<A>(&manifest.base_model_path, settings, manifest.created_at, &device)?;
    let lora = LoraSettings::from(&settings.lora);
    let run = Run::<A> { manifest, layout, surroundings, encoder, decoder, lora, device };
    for stage in stages {
        if let Some(step) = run.train_stage(*stage, reporter)? {
            return Ok(Outcome::Cancelled { stage: *stage, step });
        }
    }
    Ok(Outcome::Finished)
}

/// Says that a worker begins, or goes on.
pub(crate) fn report_start(
    layout: &RunLayout,
    stages: &[u8],
    reporter: &mut dyn RunReporter,
    device_name: &str,
) -> Result<(), TrainError> {
    let resumed = stages.iter().any(|stage| layout.checkpoints(*stage).exists());
    let started = EventKind::Started { pid: std::process::id(), device: device_name.to_owned(), resumed };
    reporter.report(started).map_err(TrainError::Reporter)
}

/// The base model of a run and the encoder of its data.
pub fn open<A>(
    folder: &Path,
    settings: &Settings,
    at: jiff::Timestamp,
    device: &A::Device,
) -> Result<(Encoder, Decoder<A::InnerBackend>), TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let config = config::read(folder)?;
    let encoder = Encoder::new(folder, settings, at)?;
    let packing = Packing::of(settings.base_model.quantization, settings.training.precision);
    let weights = weights::load(folder, &config, packing, device)?;
    Ok((encoder, Decoder::new(config, weights)))
}

impl<A: AutodiffBackend<InnerBackend: Ops>> Run<'_, A> {
    /// The adapters that `stage` left.
    fn adapters_of(&self, stage: u8) -> Result<Adapters<A::InnerBackend>, TrainError> {
        Adapters::load(&self.layout.adapters(stage), &self.decoder, &self.device)
    }

    /// Name of the base model as adapters state it.
    fn base_model_name(&self) -> String {
        let base = &self.manifest.settings.base_model;
        if base.model_id.is_empty() {
            self.manifest.base_model_path.display().to_string()
        } else {
            base.model_id.clone()
        }
    }
}
