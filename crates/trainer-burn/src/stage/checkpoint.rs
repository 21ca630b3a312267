//! The folders of checkpoints, and the files that checkpoints of both kinds of model have.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;
use greentune_core_config::layout::CHECKPOINTING;
use greentune_durable::{Staging, publish, sweep_abandoned};
use serde::{Deserialize, Serialize};

use crate::{
    durable,
    error::TrainError,
    model::{Parameters, weights},
};

/// What an optimizer keeps for every parameter.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// The numbers beside the tensors.
const STATE: &str = "state.json";

/// Writes a checkpoint as `step-{N}` in `folder`, whole or not at all, by calling the given function. Older ones beyond
/// `keep` are removed.
pub fn write_folder(
    folder: &Path,
    keep: u64,
    step: u64,
    write: impl FnOnce(&Path) -> Result<(), TrainError>,
) -> Result<PathBuf, TrainError> {
    fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
    sweep_abandoned(folder, CHECKPOINTING);
    let staging = Staging::new(folder, CHECKPOINTING).map_err(TrainError::io(folder))?;
    let target = folder.join(name_of(step));
    let made = staging.path().join("new");
    fs::create_dir(&made).map_err(TrainError::io(&made))?;
    write(&made)?;
    if target.exists() {
        discard(&target, &staging)?;
    }
    publish(&made, &target).map_err(TrainError::io(&target))?;
    for (_, old) in all(folder)?.into_iter().rev().skip(keep.max(1) as usize) {
        discard(&old, &staging)?;
    }
    Ok(target)
}

/// Moves a checkpoint into `staging`, with which it is removed. Under its name it is whole or not there, also when this
/// process is killed meanwhile.
fn discard(checkpoint: &Path, staging: &Staging) -> Result<(), TrainError> {
    let name = checkpoint.file_name().unwrap_or_default();
    fs::rename(checkpoint, staging.path().join(name)).map_err(TrainError::io(checkpoint))
}

/// The newest checkpoint in a folder that `read` could read, and what is said of broken ones.
#[derive(Debug)]
pub struct Newest<T> {
    /// Its folder and what was read.
    pub found: Option<(PathBuf, T)>,
    /// A sentence for each newer one that is broken.
    pub broken: Vec<String>,
}

/// Reads the newest checkpoint in `folder`. One that is broken is passed over where an older one can be read, and set aside
/// under another name. What a killed process left there is removed.
///
/// # Errors
/// None can be read: why the newest one cannot.
pub fn newest<T>(
    folder: &Path,
    mut read: impl FnMut(&Path) -> Result<T, TrainError>,
) -> Result<Newest<T>, TrainError> {
    sweep_abandoned(folder, CHECKPOINTING);
    let mut passed_over: Vec<(PathBuf, TrainError)> = Vec::new();
    for (_, path) in all(folder)?.into_iter().rev() {
        match read(&path) {
            Ok(found) => {
                let broken = passed_over.iter().map(|(broken, error)| set_aside(broken, error, &path));
                return Ok(Newest { broken: broken.collect::<Result<_, _>>()?, found: Some((path, found)) });
            }
            Err(error) if is_broken(&error) => passed_over.push((path, error)),
            Err(error) => return Err(error),
        }
    }
    match passed_over.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(Newest { found: None, broken: Vec::new() }),
    }
}

/// Renames a broken checkpoint, so that it is neither read nor counted any more; what is said of it.
fn set_aside(broken: &Path, error: &TrainError, instead: &Path) -> Result<String, TrainError> {
    let aside = broken.with_added_extension("broken");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(TrainError::io(&aside))?;
    }
    fs::rename(broken, &aside).map_err(TrainError::io(broken))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!(
        "the checkpoint {} is broken ({error}); training goes on from {}, and the broken one is called {} now",
        name(broken),
        name(instead),
        name(&aside)
    ))
}

/// Whether the files are to blame, not the machine.
fn is_broken(error: &TrainError) -> bool {
    use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    match error {
        TrainError::Io { source, .. } => matches!(source.kind(), NotFound | InvalidData | UnexpectedEof),
        TrainError::Memory(_) | TrainError::Reporter(_) => false,
        _ => true,
    }
}

/// Writes what an optimizer keeps for every parameter, by its name and the parameter's.
pub fn write_moments<'a, B: Backend>(
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
pub fn read_moment<B: Backend>(
    path: &Path,
    moment: &str,
    parameters: &Parameters<B>,
    device: &B::Device,
) -> Result<Parameters<B>, TrainError> {
    let file = weights::WeightFile::open(path)?;
    let mut host = BTreeMap::new();
    for (name, _) in parameters.iter() {
        host.insert(name.clone(), file.matrix(&format!("{moment}.{name}"))?);
    }
    Ok(Parameters::from_host(host, device))
}

/// Writes the numbers of a checkpoint.
pub fn write_state(folder: &Path, state: &impl Serialize) -> Result<(), TrainError> {
    let json = serde_json::to_vec_pretty(state).map_err(|error| TrainError::Checkpoint {
        path: folder.to_path_buf(),
        message: format!("state cannot be written: {error}"),
    })?;
    durable::write(&folder.join(STATE), &json)
}

/// Reads what [`write_state`] wrote.
pub fn read_state<T: for<'de> Deserialize<'de>>(folder: &Path) -> Result<T, TrainError> {
    let state = folder.join(STATE);
    let text = fs::read_to_string(&state).map_err(TrainError::io(&state))?;
    serde_json::from_str(&text).map_err(|error| TrainError::Checkpoint {
        path: folder.to_path_buf(),
        message: format!("{STATE}: {error}"),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_no_checkpoint_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let written = |step| write_folder(folder.path(), 2, step, |at| write_state(at, &step)).unwrap();
        written(2);
        let killed = || {
            let left = folder.path().join(format!("{CHECKPOINTING}killed"));
            fs::create_dir_all(left.join("new")).unwrap();
        };
        killed();
        let newest = newest(folder.path(), read_state::<u64>).unwrap();
        assert_eq!((newest.found.map(|(_, step)| step), newest.broken.len()), (Some(2), 0));
        assert_eq!(names(folder.path()), ["step-000002"]);
        killed();
        written(4);
        written(6);
        assert_eq!(names(folder.path()), ["step-000004", "step-000006"]);
        written(6);
        assert_eq!(names(folder.path()), ["step-000004", "step-000006"]);
    }
}
