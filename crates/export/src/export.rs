//! The export itself: plan, write, prove, publish.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::ExportError,
    merge::{check_fit, merged_bytes},
    peft::Adapters,
    plan::{Content, PlannedFile, adapter_files, merged_files},
    staging::{Staging, sha256_of},
    verify::Verification,
    weights::ModelWeights,
};

/// The form that an export takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Weights and configuration alone; a merged model is one file, with its tokenizer.
    Safetensors,
    /// A complete folder for transformers or PEFT, with a model card; shards stay as the base model has them.
    #[default]
    Huggingface,
    /// For Apple's MLX; not available yet.
    Mlx,
    /// For llama.cpp; not available yet.
    Gguf,
}

impl ExportFormat {
    /// The words for all formats.
    pub const WORDS: &'static [&'static str] = &["safetensors", "huggingface", "mlx", "gguf"];
    /// The words for the formats that can be written, in a sentence.
    pub const AVAILABLE: &'static str = "safetensors, huggingface";

    /// The word for this format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Huggingface => "huggingface",
            Self::Mlx => "mlx",
            Self::Gguf => "gguf",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ExportFormat {
    type Err = ExportError;

    fn from_str(word: &str) -> Result<Self, ExportError> {
        [Self::Safetensors, Self::Huggingface, Self::Mlx, Self::Gguf]
            .into_iter()
            .find(|format| format.as_str() == word)
            .ok_or_else(|| ExportError::UnknownFormat(word.into()))
    }
}

/// What to export, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// Folder of the base model, with safetensors weights.
    pub base_model: PathBuf,
    /// Folder of the adapters, in PEFT's layout.
    pub adapters: PathBuf,
    /// The form of the export.
    pub format: ExportFormat,
    /// Folder to make; it must not exist, or be empty.
    pub destination: PathBuf,
    /// Whether the adapters are merged into the base model; else they are exported as they are.
    pub merge: bool,
    /// Markdown for `README.md`, which the format `huggingface` has.
    pub model_card: Option<String>,
}

/// What an export wrote and proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportReport {
    /// The folder.
    pub destination: PathBuf,
    /// The files in it.
    pub files: Vec<ExportedFile>,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// What was proven after reading everything back.
    pub verification: Verification,
    /// How to load it, in Markdown.
    pub usage_instructions: String,
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedFile {
    /// Its name in the destination.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of what is on the disk, in hexadecimal.
    pub sha256: String,
}

/// Exports adapters, or the base model with the adapters merged into it.
///
/// A merged weight is W' = W + (`lora_alpha` / r) · B · A, computed in f32 and rounded to the base's type. The
/// destination appears in one step once everything is written and proven; until then, and after any error, it is
/// as it was before.
pub fn export(request: &ExportRequest) -> Result<ExportReport, ExportError> {
    if let ExportFormat::Mlx | ExportFormat::Gguf = request.format {
        return Err(ExportError::NotAvailableYet(request.format));
    }
    let base = ModelWeights::open(&request.base_model)?;
    let adapters = Adapters::open(&request.adapters)?;
    check_fit(&adapters, &base)?;
    let plan = if request.merge { merged_files(request, &base, &adapters)? } else { adapter_files(request) };
    let needed_bytes = plan.iter().map(PlannedFile::bytes).sum::<Result<u64, _>>()?;
    let staging = Staging::begin(&request.destination, needed_bytes)?;
    let mut verification = Verification::default();
    for file in &plan {
        let largest_rounding = write(file, &staging, &adapters).map_err(|error| staging.explain(error))?;
        verification.largest_rounding = verification.largest_rounding.max(largest_rounding.into());
    }
    let mut files = Vec::with_capacity(plan.len());
    for file in &plan {
        let path = staging.path(&file.name);
        let (sha256, bytes) = sha256_of(&path)?;
        verification.prove(file, &path, &sha256, &adapters)?;
        files.push(ExportedFile { name: file.name.clone(), bytes, sha256 });
    }
    let destination = staging.publish()?;
    Ok(ExportReport {
        total_bytes: files.iter().map(|file| file.bytes).sum(),
        usage_instructions: usage_instructions(request, &destination),
        destination,
        files,
        verification,
    })
}

/// Writes `file` and says by how much rounding changed a merged value at most.
fn write(file: &PlannedFile, staging: &Staging, adapters: &Adapters) -> Result<f32, ExportError> {
    let mut largest_rounding = 0f32;
    staging.write(&file.name, |output| match &file.content {
        Content::Copy(source) => output.append_file(source),
        Content::Bytes(bytes) => output.append(bytes),
        Content::Weights { header, tensors } => {
            output.append(header)?;
            for tensor in tensors {
                if let Some(module) = adapters.module_of_weight(&tensor.name) {
                    let (bytes, rounding) =
                        merged_bytes(tensor, &adapters.pair(module)?, adapters.config().scale())?;
                    output.append(&bytes)?;
                    largest_rounding = largest_rounding.max(rounding);
                } else {
                    tensor.stream(|bytes| output.append(bytes))?;
                }
            }
            Ok(())
        }
    })?;
    Ok(largest_rounding)
}

fn usage_instructions(request: &ExportRequest, destination: &Path) -> String {
    let (base, folder) = (request.base_model.display(), destination.display());
    if request.merge {
        format!(
            "Load the merged model with transformers:\n\n```python\n\
             from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             model = AutoModelForCausalLM.from_pretrained(r\"{folder}\")\n\
             tokenizer = AutoTokenizer.from_pretrained(r\"{folder}\")\n```\n"
        )
    } else {
        format!(
            "Load the adapters on their base model with PEFT:\n\n```python\n\
             from peft import PeftModel\n\
             from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             base = AutoModelForCausalLM.from_pretrained(r\"{base}\")\n\
             model = PeftModel.from_pretrained(base, r\"{folder}\")\n\
             tokenizer = AutoTokenizer.from_pretrained(r\"{base}\")\n```\n"
        )
    }
}
