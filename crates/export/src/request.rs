//! What is to be exported.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantization::Quantization;

/// What to export, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// Folder of the base model, with safetensors weights.
    pub base_model: PathBuf,
    /// What adapters are to state as their base model: a folder or an id that PEFT opens. As they were trained when
    /// `None`.
    pub base_model_name: Option<String>,
    /// Folder of the adapters, in PEFT's layout.
    pub adapters: PathBuf,
    /// The form of the export.
    pub format: ExportFormat,
    /// Folder to make; it must not exist, or be empty, unless it is replaced.
    pub destination: PathBuf,
    /// Whether a folder that is there is replaced, in one step, whatever it holds.
    pub replace: bool,
    /// Whether the adapters are merged into the base model; else they are exported as they are.
    pub merge: bool,
    /// How weights are packed, which the format `gguf` can say: f16 when `None`.
    pub quantization: Option<Quantization>,
    /// Markdown for `README.md`, which the format `huggingface` has.
    pub model_card: Option<String>,
}

/// The form that an export takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("x-not-available-yet" = ["mlx"]))]
pub enum ExportFormat {
    /// Weights and configuration alone; a merged model is one file, with its tokenizer.
    Safetensors,
    /// A complete folder for transformers or PEFT, with a model card; shards stay as the base model has them.
    #[default]
    Huggingface,
    /// For Apple's MLX; not available yet.
    Mlx,
    /// One file for llama.cpp and Ollama, its tokenizer and chat template in it; with `quantization`.
    Gguf,
}
