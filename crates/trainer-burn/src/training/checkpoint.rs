//! Checkpoints: everything that a stage needs to go on exactly where it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use greentune_ast_sparsity::Snapshot;
use serde::{Deserialize, Serialize};

use super::{
    feed::{Feed, Offered, Selection},
    optimizer::{Optimizer, OptimizerSettings},
    selection,
};
use crate::{
    durable,
    error::TrainError,
    model::{Adapters, Decoder, LoraSettings, Parameters, weights},
    ops::Ops,
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

/// Where selection stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelectionState {
    /// What it has decided on.
    pub offered: Offered,
    /// What it decides by; arrays are beside it while it is in a file.
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

const STATE: &str = "state.json";
/// What an optimizer keeps for every parameter.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";

/// Writes a checkpoint as `step-{N}`; it appears whole or not at all. Older ones beyond `keep` go.
pub fn save<B: Ops>(
    folder: &Path,
    keep: u64,
    state: &Checkpoint<B>,
    feed: &Feed,
    base_model: &str,
) -> Result<PathBuf, TrainError> {
    write_folder(folder, keep, state.progress.step, |partial| {
        state.adapters.save(partial, base_model)?;
        write_moments(&partial.join(OPTIMIZER), state.optimizer.named_moments())?;
        let of = |selection: &Selection| {
            let selector = selection::write(partial, selection.selector())?;
            Ok::<_, TrainError>(SelectionState { offered: selection.offered().clone(), selector })
        };
        let selection = feed.selection().map(of).transpose()?;
        write_state(partial, &Numbers { progress: state.progress.clone(), selection })
    })
}

/// Has a checkpoint written as `step-{N}` in `folder`, whole or not at all. Older ones beyond `keep` go.
pub(crate) fn write_folder(
    folder: &Path,
    keep: u64,
    step: u64,
    write: impl FnOnce(&Path) -> Result<(), TrainError>,
) -> Result<PathBuf, TrainError> {
    let target = folder.join(name_of(step));
    let partial = folder.join(format!("{}.partial", name_of(step)));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(TrainError::io(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(TrainError::io(&partial))?;
    write(&partial)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(TrainError::io(&target))?;
    }
    fs::rename(&partial, &target).map_err(TrainError::io(&target))?;
    for (_, old) in all(folder)?.into_iter().rev().skip(keep.max(1) as usize) {
        fs::remove_dir_all(&old).map_err(TrainError::io(&old))?;
    }
    Ok(target)
}

/// Writes what an optimizer keeps for every parameter, by its name and the parameter's.
pub(crate) fn write_moments<'a, B: Backend>(
    path: &Path,
    moments: impl Iterator<Item = (&'static str, &'a Parameters<B>)>,
) -> Result<(), TrainError> {
    let moments: Vec<_> = moments.map(|(moment, all)| (moment, all.to_host())).collect();
    let tensors = moments.iter().flat_map(|(moment, host)| {
        host.iter().map(move |(name, tensor)| {
            (format!("{moment}.{name}"), tensor.shape.as_slice(), tensor.values.as_slice())
        })
    });
    weights::write_safetensors(path, tensors)
}

/// Reads what [`write_moments`] wrote of one moment, for each of `parameters`.
pub(crate) fn read_moment<B: Backend>(
    path: &Path,
    moment: &str,
    parameters: &Parameters<B>,
    device: &B::Device,
) -> Result<Parameters<B>, TrainError> {
    let file = weights::WeightFile::open(path)?;
    let mut host = std::collections::BTreeMap::new();
    for (name, _) in parameters.iter() {
        host.insert(name.clone(), file.matrix(&format!("{moment}.{name}"))?);
    }
    Ok(Parameters::from_host(host, device))
}

/// Writes the numbers of a checkpoint.
pub(crate) fn write_state(folder: &Path, state: &impl Serialize) -> Result<(), TrainError> {
    let json = serde_json::to_vec_pretty(state).map_err(|error| TrainError::Checkpoint {
        path: folder.to_path_buf(),
        message: format!("state cannot be written: {error}"),
    })?;
    durable::write(&folder.join(STATE), &json)
}

/// Reads what [`write_state`] wrote.
pub(crate) fn read_state<T: for<'de> Deserialize<'de>>(folder: &Path) -> Result<T, TrainError> {
    let state = folder.join(STATE);
    let text = fs::read_to_string(&state).map_err(TrainError::io(&state))?;
    serde_json::from_str(&text).map_err(|error| TrainError::Checkpoint {
        path: folder.to_path_buf(),
        message: format!("{STATE}: {error}"),
    })
}

/// The newest complete checkpoint in `folder`.
pub(crate) fn newest(folder: &Path) -> Result<Option<PathBuf>, TrainError> {
    Ok(all(folder)?.pop().map(|(_, path)| path))
}

/// Reads the newest complete checkpoint in `folder`, if there is one, and checks that it fits.
pub fn latest<B: Ops>(
    folder: &Path,
    decoder: &Decoder<B>,
    lora: &LoraSettings,
    settings: &OptimizerSettings,
    device: &B::Device,
) -> Result<Option<Checkpoint<B>>, TrainError> {
    let Some(path) = newest(folder)? else { return Ok(None) };
    let Numbers { progress, mut selection } = read_state(&path)?;
    if let Some(selection) = &mut selection {
        selection::read(&path, &mut selection.selector)?;
    }
    let adapters = Adapters::load(&path, decoder, device)?;
    if &adapters.settings != lora {
        let message = format!("it was made with {:?}; the run has {lora:?}", adapters.settings);
        return Err(TrainError::Checkpoint { path, message });
    }
    let moment = |moment: &&str| read_moment(&path.join(OPTIMIZER), moment, &adapters.parameters, device);
    let moments = settings.moment_names().iter().map(moment).collect::<Result<_, _>>()?;
    let optimizer = Optimizer::resumed(settings.clone(), progress.step, moments);
    Ok(Some(Checkpoint { progress, selection, adapters, optimizer }))
}

fn name_of(step: u64) -> String {
    format!("step-{step:06}")
}

/// Complete checkpoints by step.
fn all(folder: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainError::io(folder)(error)),
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found)
}
