//! A base model's `config.json`, read from its folder.

use std::path::Path;

pub use greentune_core_config::model::{ModelConfig, Norm, NormPlacement, QueryKeyNorm, module_path};

use super::weights;
use crate::error::TrainError;

/// Reads `config.json` in the model's folder.
///
/// # Errors
/// No such folder or file; what [`ModelConfig::parse`] refuses.
pub fn read(folder: &Path) -> Result<ModelConfig, TrainError> {
    if !folder.is_dir() {
        return Err(TrainError::Model {
            code: "model.not_found",
            path: folder.to_path_buf(),
            message: String::from("the base model's folder does not exist"),
            hint: "Set base_model.local_path to a folder with config.json, *.safetensors and tokenizer.json.",
        });
    }
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let parsed = ModelConfig::parse(&text, None).or_else(|error| match weights::shapes(folder) {
        Ok(tensors) if error.is_unsupported() => ModelConfig::parse(&text, Some(&tensors)),
        _ => Err(error),
    });
    parsed.map_err(|error| TrainError::Model {
        code: error.code,
        path,
        message: error.message,
        hint: "Use a base model of a supported architecture, with its unchanged config.json.",
    })
}
