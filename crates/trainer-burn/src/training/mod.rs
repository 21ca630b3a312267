//! Training: the loop over stages and steps.

mod checkpoint;
mod feed;
pub mod optimizer;
pub mod plan;
pub mod schedule;
mod stage;
mod stage_data;
pub mod step;
pub mod tune;

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    layout::RunLayout, manifest::RunManifest, model::ModelConfig, port::RunReporter, settings::Settings,
};
use greentune_text_data::Encoder;

use crate::{
    error::TrainError,
    model::{Adapters, Decoder, LoraSettings, Weights, config, weights},
    ops::{Ops, Packing},
    stage::{Outcome, in_turn, report_start},
};

/// A run on one backend: what all its stages share.
struct Run<'a, A: AutodiffBackend<InnerBackend: Ops>> {
    manifest: &'a RunManifest,
    layout: &'a RunLayout,
    surroundings: &'a MeterEnvironment,
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
    surroundings: &MeterEnvironment,
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
    in_turn(stages, |stage| run.train_stage(stage, reporter))
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
    opened(folder, settings, at, |config| weights::load(folder, config, packing(settings), device))
}

/// The same for a model that writes text and learns nothing: weights that its files hold in 16 bits stay so where the
/// device reads them, which is faster, because each token reads all of them.
pub fn open_to_write<A>(
    folder: &Path,
    settings: &Settings,
    at: jiff::Timestamp,
    device: &A::Device,
) -> Result<(Encoder, Decoder<A::InnerBackend>), TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    if packing(settings).is_some() || !A::InnerBackend::READS_HALVES {
        return open::<A>(folder, settings, at, device);
    }
    opened(folder, settings, at, |config| weights::load_as_stored(folder, config, device))
}

fn opened<B: Ops>(
    folder: &Path,
    settings: &Settings,
    at: jiff::Timestamp,
    load: impl FnOnce(&ModelConfig) -> Result<Weights<B>, TrainError>,
) -> Result<(Encoder, Decoder<B>), TrainError> {
    let config = config::read(folder)?;
    let encoder = Encoder::new(folder, settings, at)?;
    let weights = load(&config)?;
    Ok((encoder, Decoder::new(config, weights)))
}

fn packing(settings: &Settings) -> Option<Packing> {
    Packing::of(settings.base_model.quantization, settings.training.precision)
}

impl<A: AutodiffBackend<InnerBackend: Ops>> Run<'_, A> {
    /// The adapters that `stage` left.
    fn adapters_of(&self, stage: u8) -> Result<Adapters<A::InnerBackend>, TrainError> {
        Adapters::load(&self.layout.adapters(stage), &self.decoder, &self.device)
    }
}
