//! Checkpoints: everything that a stage needs to go on exactly where it was.

use std::path::Path;

use burn::tensor::backend::Backend;
use greentune_ast_sparsity::Snapshot;
use serde::{Deserialize, Serialize};

use super::{
    feed::{Feed, Offered, Selection},
    optimizer::{Optimizer, OptimizerSettings},
};
use crate::{
    error::TrainError,
    model::{Adapters, Decoder, LoraSettings},
    ops::Ops,
    stage::{
        checkpoint::{Newest, OPTIMIZER, newest, read_moment, read_state, write_moments, write_state},
        selection,
    },
};

/// The numbers beside the tensors. The schedule and all randomness are functions of the step, the draws and the
/// run's seed, so these are all of the scheduler's, sampler's and dropout's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Records drawn by the sampler.
    pub draws: u64,
    /// Seconds trained, over all attempts.
    pub duration_seconds: f64,
    /// Losses of the steps that count for the stage's final loss.
    pub recent_losses: Vec<f64>,
}

/// The state of selection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelectionState {
    /// The candidates on which it has decided.
    pub offered: Offered,
    /// The selector's state. Its arrays are stored beside it in the checkpoint.
    pub selector: Snapshot,
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
struct Numbers {
    #[serde(flatten)]
    progress: Progress,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    selection: Option<SelectionState>,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint<B: Backend> {
    /// The numbers.
    pub progress: Progress,
    /// Where records are selected, where selection stands.
    pub selection: Option<SelectionState>,
    /// The adapters.
    pub adapters: Adapters<B>,
    /// The optimizer's state.
    pub optimizer: Optimizer<B>,
}

/// Writes a checkpoint into `partial`.
pub fn write<B: Ops>(
    partial: &Path,
    state: &Checkpoint<B>,
    feed: &Feed,
    base_model: &str,
) -> Result<(), TrainError> {
    state.adapters.save(partial, base_model)?;
    write_moments(&partial.join(OPTIMIZER), state.optimizer.named_moments())?;
    let of = |selection: &Selection| {
        let selector = selection::write(partial, selection.selector())?;
        Ok::<_, TrainError>(SelectionState { offered: selection.offered().clone(), selector })
    };
    let selection = feed.selection().map(of).transpose()?;
    write_state(partial, &Numbers { progress: state.progress.clone(), selection })
}

/// Reads the newest complete checkpoint in `folder`, if there is one, and checks that it fits; what is said of broken ones.
pub fn latest<B: Ops>(
    folder: &Path,
    decoder: &Decoder<B>,
    lora: &LoraSettings,
    settings: &OptimizerSettings,
    device: &B::Device,
) -> Result<(Option<Checkpoint<B>>, Vec<String>), TrainError> {
    let Newest { found, broken } = newest(folder, |path| read(path, decoder, settings, device))?;
    let Some((path, checkpoint)) = found else { return Ok((None, broken)) };
    let made_with = &checkpoint.adapters.settings;
    if made_with != lora {
        let message = format!("it was made with {made_with:?}; the run has {lora:?}");
        return Err(TrainError::Checkpoint { path, message });
    }
    Ok((Some(checkpoint), broken))
}

fn read<B: Ops>(
    path: &Path,
    decoder: &Decoder<B>,
    settings: &OptimizerSettings,
    device: &B::Device,
) -> Result<Checkpoint<B>, TrainError> {
    let Numbers { progress, mut selection } = read_state(path)?;
    if let Some(selection) = &mut selection {
        selection::read(path, &mut selection.selector)?;
    }
    let adapters = Adapters::load(path, decoder, device)?;
    let moment = |moment: &&str| read_moment(&path.join(OPTIMIZER), moment, &adapters.parameters, device);
    let moments = settings.kind.moments().iter().map(moment).collect::<Result<_, _>>()?;
    let optimizer = Optimizer::resumed(settings.clone(), progress.step, moments);
    Ok(Checkpoint { progress, selection, adapters, optimizer })
}
