//! A base model's `config.json`, read from its folder.

use std::path::Path;

pub use greentune_core_config::model::{ModelConfig, Norm, NormPlacement, QueryKeyNorm, module_path};

use crate::error::TrainError;

/// What the model in `folder` is.
///
/// # Errors
/// As [`greentune_model_folder::read_config`].
pub fn read(folder: &Path) -> Result<ModelConfig, TrainError> {
    Ok(greentune_model_folder::read_config(folder)?)
}
