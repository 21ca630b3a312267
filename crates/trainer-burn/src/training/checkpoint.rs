//! Checkpoints: everything that a stage needs to go on exactly where it was.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::optimizer::{Optimizer, OptimizerSettings};
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

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint<B: Backend> {
    /// The numbers.
    pub progress: Progress,
    /// The adapters.
    pub adapters: Adapters<B>,
    /// The optimizer's state.
    pub optimizer: Optimizer<B>,
}

const STATE: &str = "state.json";

/// Writes a checkpoint as `step-{N}`; it appears whole or not at all. Older ones beyond `keep` go.
pub fn save<B: Ops>(
    folder: &Path,
    keep: u64,
    progress: &Progress,
    adapters: &Adapters<B>,
    optimizer: &Optimizer<B>,
    base_model: &str,
) -> Result<PathBuf, TrainError> {
    let target = folder.join(name_of(progress.step));
    let partial = folder.join(format!("{}.partial", name_of(progress.step)));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(TrainError::io(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(TrainError::io(&partial))?;
    adapters.save(&partial, base_model)?;
    let moments: Vec<_> = optimizer.named_moments().map(|(moment, all)| (moment, all.to_host())).collect();
    let tensors = moments.iter().flat_map(|(moment, host)| {
        host.iter().map(move |(name, tensor)| {
            (format!("{moment}.{name}"), tensor.shape.as_slice(), tensor.values.as_slice())
        })
    });
    weights::write_safetensors(&partial.join("optimizer.safetensors"), tensors)?;
    let json = serde_json::to_vec_pretty(progress).map_err(|error| TrainError::Checkpoint {
        path: partial.clone(),
        message: format!("state cannot be written: {error}"),
    })?;
    durable::write(&partial.join(STATE), &json)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(TrainError::io(&target))?;
    }
    fs::rename(&partial, &target).map_err(TrainError::io(&target))?;
    for (_, old) in all(folder)?.into_iter().rev().skip(keep.max(1) as usize) {
        fs::remove_dir_all(&old).map_err(TrainError::io(&old))?;
    }
    Ok(target)
}

/// Reads the newest complete checkpoint in `folder`, if there is one, and checks that it fits.
pub fn latest<B: Ops>(
    folder: &Path,
    decoder: &Decoder<B>,
    lora: &LoraSettings,
    settings: &OptimizerSettings,
    device: &B::Device,
) -> Result<Option<Checkpoint<B>>, TrainError> {
    let Some((_, path)) = all(folder)?.pop() else { return Ok(None) };
    let broken = |message: String| TrainError::Checkpoint { path: path.clone(), message };
    let state = path.join(STATE);
    let text = fs::read_to_string(&state).map_err(TrainError::io(&state))?;
    let progress: Progress =
        serde_json::from_str(&text).map_err(|error| broken(format!("{STATE}: {error}")))?;
    let adapters = Adapters::load(&path, decoder, device)?;
    if &adapters.settings != lora {
        return Err(broken(format!("it was made with {:?}; the run has {lora:?}", adapters.settings)));
    }
    let file = weights::WeightFile::open(&path.join("optimizer.safetensors"))?;
    let moment = |moment: &&str| -> Result<Parameters<B>, TrainError> {
        let mut host = std::collections::BTreeMap::new();
        for (name, _) in adapters.parameters.iter() {
            host.insert(name.clone(), file.matrix(&format!("{moment}.{name}"))?);
        }
        Ok(Parameters::from_host(host, device))
    };
    let moments = settings.moment_names().iter().map(moment).collect::<Result<_, _>>()?;
    let optimizer = Optimizer::resumed(settings.clone(), progress.step, moments);
    Ok(Some(Checkpoint { progress, adapters, optimizer }))
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
