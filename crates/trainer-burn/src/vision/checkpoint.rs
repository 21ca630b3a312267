//! Checkpoints of an image classifier: network, optimizer, selection and where the epoch stands.

use std::path::Path;

use burn::tensor::backend::Backend;
use greentune_ast_sparsity::{Accounting, Selected, Selector, Snapshot};
use greentune_core_config::settings::VisionSettings;
use serde::{Deserialize, Serialize};

use super::{
    model::{Network, Shape},
    optimizer::Optimizer,
    weights,
};
use crate::{
    error::TrainError,
    ops::image::ImageOps,
    stage::{
        checkpoint::{self, OPTIMIZER},
        selection,
    },
};

const MODEL: &str = "model.safetensors";

/// The numbers beside the tensors. Order, augmentation, dropout and schedule are functions of them and the seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps done in the stage.
    pub step: u64,
    /// Optimizer steps done in both stages.
    pub steps_of_run: u64,
    /// Epochs done in the stage.
    pub epoch: u64,
    /// Candidates of the epoch under way that selection has decided on; none when it has not begun.
    pub offered: Option<usize>,
    /// Selected and not trained on: id, weight, whether it was forced.
    pub waiting: Vec<(usize, f32, bool)>,
    /// Sum of the losses of the epoch's trained images.
    pub epoch_loss: f64,
    /// Images that the epoch trained on.
    pub epoch_images: u64,
    /// Mean loss of the last whole epoch.
    pub last_epoch_loss: f64,
    /// What had been selected when the epoch began.
    pub before_epoch: Accounting,
    /// Seconds of the stage, over all attempts.
    pub duration_seconds: f64,
}

impl Progress {
    /// What is selected and not trained on.
    pub fn waiting(&self) -> Vec<Selected> {
        self.waiting
            .iter()
            .map(|(id, weight, forced)| Selected { id: *id, weight: *weight, forced: *forced })
            .collect()
    }
}

/// Everything that training goes on from.
pub struct State<B: Backend> {
    /// The numbers.
    pub progress: Progress,
    /// The network.
    pub network: Network<B>,
    /// The optimizer.
    pub optimizer: Optimizer<B>,
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    progress: Progress,
    selection: Snapshot,
}

/// Writes a checkpoint into `partial`.
pub fn write<B: ImageOps>(partial: &Path, state: &State<B>, selector: &Selector) -> Result<(), TrainError> {
    weights::save(&state.network, &partial.join(MODEL))?;
    state.optimizer.write(&partial.join(OPTIMIZER))?;
    let selection = selection::write(partial, selector)?;
    checkpoint::write_state(partial, &Numbers { progress: state.progress.clone(), selection })
}

/// Reads the newest checkpoint in `folder`, if there is one; `selector` goes on from it. Also what is said of broken ones.
pub fn latest<B: ImageOps>(
    folder: &Path,
    shape: Shape,
    settings: &VisionSettings,
    selector: &mut Selector,
    device: &B::Device,
) -> Result<(Option<State<B>>, Vec<String>), TrainError> {
    let newest = checkpoint::newest(folder, |path| {
        let Numbers { progress, mut selection } = checkpoint::read_state(path)?;
        let network = weights::load(&path.join(MODEL), shape, device)?;
        let (file, steps) = (path.join(OPTIMIZER), progress.steps_of_run);
        let optimizer = Optimizer::read(&file, steps, &network.weights, settings, device)?;
        selection::read(path, &mut selection)?;
        Ok((State { progress, network, optimizer }, selection))
    })?;
    let Some((_, (state, selection))) = newest.found else { return Ok((None, newest.broken)) };
    selector.restore(&selection)?;
    Ok((Some(state), newest.broken))
}
