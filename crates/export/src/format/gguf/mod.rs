//! One file for llama.cpp and the programs that are built on it: weights, tokenizer and chat template; for Ollama a
//! Modelfile beside it. Adapters alone become a file that llama.cpp adds to its base model.
//!
//! Names, keys and layouts are those of llama.cpp's own converter (`convert_hf_to_gguf.py` of September 2026). What
//! llama.cpp would compute or tokenise otherwise is refused by name.

mod architecture;
mod block;
mod header;
mod mixture;
mod modelfile;
mod reader;
mod template;
mod tokenizer;
mod weights;
mod written;

use std::path::Path;

use greentune_core_config::model::{ModelConfig, module_path};
use greentune_model_folder::ModelFolder;

use self::{
    architecture::{Architecture, Named, rope_factors, tensors},
    block::TensorType,
    header::{Metadata, Value},
    mixture::Mixture,
};
use super::{Format, Source, folder};
use crate::{
    content::{self, PlannedFile, existing_copies},
    error::ExportError,
    peft::WrittenAdapters,
    quantization::Quantization,
    request::{ExportFormat, ExportRequest},
    rows::{Origin, Weight},
};

const MODEL_FILE: &str = "model.gguf";
const ADAPTER_FILE: &str = "adapter.gguf";
const MODELFILE: &str = "Modelfile";
/// The version of ggml's quantised blocks.
const QUANTIZATION_VERSION: u32 = 2;

/// The format `gguf`.
pub(super) struct Gguf;

impl Format for Gguf {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let folder = ModelFolder::open(&source.request.base_model)?;
        let config = folder.config();
        let architecture = Architecture::of(config)
            .map_err(|reason| refused(format!("llama.cpp cannot compute it: {reason}")))?;
        if !source.request.merge {
            return Ok(vec![adapters(source, architecture, config)?]);
        }
        let mut metadata = general(source, architecture, "model");
        let quantization = source.request.quantization.unwrap_or(Quantization::F16);
        metadata.put("general.file_type", Value::U32(file_type(quantization)));
        metadata.put("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
        architecture.describe(config, &mut metadata);
        let spoken = tokenizer::describe(&source.request.base_model, config.vocab_size, &mut metadata)?;
        let merged = merged(source, architecture, config, quantization)?;
        let modelfile = modelfile::modelfile(MODEL_FILE, &spoken.stops, spoken.has_chat_template);
        let mut files = vec![
            weights::file(MODEL_FILE, metadata, merged, source.adapters),
            content::bytes(MODELFILE, modelfile.into_bytes()),
        ];
        files.extend(existing_copies(&source.request.base_model, folder::LICENCES));
        files.extend(folder::model_card(source.request));
        Ok(files)
    }

    fn quantizations(&self) -> &'static [Quantization] {
        &[
            Quantization::F32,
            Quantization::F16,
            Quantization::Bf16,
            Quantization::Q8_0,
            Quantization::Q6K,
            Quantization::Q5KM,
            Quantization::Q4KM,
            Quantization::Q4_0,
        ]
    }

    fn adapter_type(&self) -> Option<Quantization> {
        Some(Quantization::F32)
    }

    fn written_adapters(
        &self,
        folder: &Path,
        base: &ModelConfig,
    ) -> Result<Option<Box<dyn WrittenAdapters>>, ExportError> {
        Ok(Some(Box::new(written::Written::open(&folder.join(ADAPTER_FILE), base)?)))
    }

    fn usage(&self, request: &ExportRequest, destination: &Path) -> String {
        let folder = destination.display();
        if request.merge {
            format!(
                "Run the merged model with llama.cpp:\n\n```sh\nllama-cli -m \"{folder}/{MODEL_FILE}\"\n```\n\n\
                 Or with Ollama:\n\n```sh\nollama create my-model -f \"{folder}/{MODELFILE}\"\nollama run \
                 my-model\n```\n\nOllama chooses a template of its own that is like the model's: see `ollama show \
                 --template my-model`.\n{}",
                templates_that_fail(&request.base_model)
            )
        } else {
            format!(
                "Run the adapters on their base model, as a GGUF file of its own, with llama.cpp:\n\n```sh\n\
                 llama-cli -m BASE.gguf --lora \"{folder}/{ADAPTER_FILE}\"\n```\n"
            )
        }
    }
}

/// A warning where llama.cpp cannot render the chat template of `base_model`.
fn templates_that_fail(base_model: &Path) -> String {
    // That the templates can be read was found out while the file was made.
    let templates = tokenizer::chat_templates(base_model).unwrap_or_default();
    let default = templates.iter().find(|(name, _)| name == "default");
    let unknown = default.map(|(_, text)| template::unknown_to_llama_cpp(text)).unwrap_or_default();
    if unknown.is_empty() {
        return String::new();
    }
    let unknown: Vec<String> = unknown.into_iter().collect();
    format!(
        "\nWarning: the chat template has what llama.cpp's template engine does not know: {}. Conversations may be \
         refused there. Give llama.cpp another template (`--chat-template-file`).\n",
        unknown.join(", ")
    )
}

/// That the format cannot hold the model, and why.
fn refused(reason: impl Into<String>) -> ExportError {
    let format = ExportFormat::Gguf;
    ExportError::NotRepresentable { format: format.as_str(), reason: reason.into(), others: format.others() }
}

fn general(source: Source<'_>, architecture: &Architecture, kind: &str) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.put_text("general.architecture", architecture.name);
    metadata.put_text("general.type", kind);
    // An id of the Hub is a name; of a folder, the last part is.
    let request = source.request;
    let named = request.base_model_name.as_deref().filter(|name| !Path::new(name).is_absolute());
    let folder = request.base_model.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = named.map(str::to_owned).or(folder);
    metadata.put_text("general.name", name.unwrap_or_else(|| architecture.name.to_owned()));
    metadata
}

/// The number of a mixture in llama.cpp; MLX's words have none, and are refused before.
const fn file_type(quantization: Quantization) -> u32 {
    match quantization {
        Quantization::F32 => 0,
        Quantization::F16 | Quantization::Bits8 | Quantization::Bits4 => 1,
        Quantization::Q4_0 => 2,
        Quantization::Q8_0 => 7,
        Quantization::Q4KM => 15,
        Quantization::Q5KM => 17,
        Quantization::Q6K => 18,
        Quantization::Bf16 => 32,
    }
}

/// All tensors of the merged model with their types.
fn merged<'a>(
    source: Source<'a>,
    architecture: &Architecture,
    config: &ModelConfig,
    quantization: Quantization,
) -> Result<Vec<(Weight<'a>, TensorType)>, ExportError> {
    let mixture = Mixture::new(quantization, config, !architecture.has_head(config));
    let mut merged = Vec::new();
    if let Some(factors) = rope_factors(config) {
        let shape = vec![factors.len()];
        let name = String::from("rope_freqs.weight");
        let weight = Weight { name, shape, origin: Origin::Made(factors), reordered_heads: None };
        merged.push((weight, TensorType::F32));
    }
    let mut left: Vec<&str> = source.adapters.modules().collect();
    for Named { source: from, name, layer, projection } in tensors(architecture, config).map_err(refused)? {
        let tensor = source.base.tensor_of(config, &from)?;
        let module = source.adapters.module_of_weight(&tensor.name);
        left.retain(|adapted| Some(*adapted) != module);
        let shape = tensor.shape().to_vec();
        let kind = mixture.kind(&name, &shape, layer);
        let reordered_heads = projection.and_then(|name| architecture.reordered_heads(name, config));
        let weight = Weight { name, shape, origin: Origin::Base(tensor), reordered_heads };
        merged.push((weight, kind));
    }
    match left.first() {
        None => Ok(merged),
        Some(module) => Err(ExportError::UnsupportedAdapter {
            folder: source.adapters.folder().into(),
            reason: format!("it adapts {module}, which is no tensor of its own in this model"),
        }),
    }
}

/// The adapters alone, as llama.cpp adds them to a base model.
fn adapters<'a>(
    source: Source<'a>,
    architecture: &Architecture,
    config: &ModelConfig,
) -> Result<PlannedFile<'a>, ExportError> {
    let of_folder =
        |reason: String| ExportError::UnsupportedAdapter { folder: source.adapters.folder().into(), reason };
    if source.adapters.config().use_dora {
        return Err(of_folder("llama.cpp has no DoRA; merge the adapters into the base model".into()));
    }
    let mut metadata = general(source, architecture, "adapter");
    metadata.put_text("adapter.type", "lora");
    // llama.cpp scales by alpha / rank, whatever the adapters were trained with.
    let trained = source.adapters.config();
    metadata.put("adapter.lora.alpha", Value::F32((trained.scale() * trained.r as f64) as f32));
    metadata.put("general.file_type", Value::U32(file_type(Quantization::F32)));
    metadata.put("general.quantization_version", Value::U32(QUANTIZATION_VERSION));
    let named = tensors(architecture, config).map_err(refused)?;
    let mut weights = Vec::new();
    for module in source.adapters.modules() {
        let place = named.iter().find(|named| named.source.strip_suffix(".weight") == Some(module));
        let Some(Named { name, projection: Some(projection), .. }) = place else {
            return Err(of_folder(format!("it adapts {module}, which is no projection of a layer")));
        };
        debug_assert!(module.ends_with(&module_path(projection)));
        let [out_features, in_features] = source.adapters.shape(module)?;
        let rank = trained.r;
        let reordered_heads = architecture.reordered_heads(projection, config);
        let a = Weight {
            name: format!("{name}.lora_a"),
            shape: vec![rank, in_features],
            origin: Origin::LoraA(module.into()),
            reordered_heads: None,
        };
        let b = Weight {
            name: format!("{name}.lora_b"),
            shape: vec![out_features, rank],
            origin: Origin::LoraB(module.into()),
            reordered_heads,
        };
        weights.extend([(a, TensorType::F32), (b, TensorType::F32)]);
    }
    Ok(weights::file(ADAPTER_FILE, metadata, weights, source.adapters))
}

#[cfg(test)]
mod tests;
