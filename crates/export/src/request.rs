//! What is to be exported.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{quantization::Quantization, shard_size::ShardSize};

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
    /// How the weights of a merged model are stored: f16 in the format `gguf` when `None`, else in the base's types.
    pub quantization: Option<Quantization>,
    /// How large a file of a merged model's weights may get.
    pub max_shard_size: Option<ShardSize>,
    /// Whether a copy is made that greentune reads, with the values that a reader of the format has: of a whole model, or of
    /// adapters that are not in PEFT's layout. It is for comparisons: it lies beside the unpublished export and vanishes with it.
    pub readable_copy: bool,
    /// Markdown for `README.md`, which complete folders have.
    pub model_card: Option<String>,
}

/// The form that an export takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Weights and configuration alone; a merged model is one file unless `max_shard_size` is given, with its tokenizer.
    Safetensors,
    /// A complete folder for transformers or PEFT, with a model card; shards stay as the base model has them unless
    /// `max_shard_size` is given.
    #[default]
    Huggingface,
    /// A folder for mlx-lm, in its names and keys; adapters in its layout.
    Mlx,
    /// One file for llama.cpp and Ollama, its tokenizer and chat template in it.
    Gguf,
}
