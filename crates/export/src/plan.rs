//! Which files an export consists of, before any of them is written.

use std::{fs, path::Path, path::PathBuf};

use serde_json::{Map, Value};

use crate::{
    error::ExportError,
    export::{ExportFormat, ExportRequest},
    peft::{self, Adapters},
    weights::{INDEX_FILE, ModelWeights, SINGLE_FILE, Tensor, encode_header, read_json},
};

/// The model's configuration.
const CONFIG_FILE: &str = "config.json";
/// Files of a tokenizer, in any of the forms that model folders have; those that are there are copied.
const TOKENIZER_FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
];
/// What a complete folder also has; the licence's terms travel with the weights.
const FURTHER_FILES: &[&str] = &["generation_config.json", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"];

/// A file of the export.
pub(crate) struct PlannedFile<'a> {
    /// Its name in the destination.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) content: Content<'a>,
}

/// What a file of the export is made of.
pub(crate) enum Content<'a> {
    /// The bytes of another file.
    Copy(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A safetensors file: the base model's tensors, adapted ones merged.
    Weights {
        /// Everything before the first tensor.
        header: Vec<u8>,
        /// The base model's tensors.
        tensors: Vec<Tensor<'a>>,
    },
}

impl PlannedFile<'_> {
    /// How long it will be.
    pub(crate) fn bytes(&self) -> Result<u64, ExportError> {
        match &self.content {
            Content::Copy(source) => {
                Ok(fs::metadata(source).map_err(ExportError::io("read", source.as_path()))?.len())
            }
            Content::Bytes(bytes) => Ok(bytes.len() as u64),
            Content::Weights { header, tensors } => {
                Ok(header.len() as u64 + tensors.iter().map(Tensor::byte_len).sum::<u64>())
            }
        }
    }
}

/// The files of the adapters alone.
pub(crate) fn adapter_files<'a>(request: &ExportRequest) -> Vec<PlannedFile<'a>> {
    let mut files = existing_copies(&request.adapters, &[peft::CONFIG_FILE, peft::WEIGHTS_FILE]);
    files.extend(model_card(request));
    files
}

/// The files of the base model with the adapters merged into it.
pub(crate) fn merged_files<'a>(
    request: &ExportRequest,
    base: &'a ModelWeights,
    adapters: &Adapters,
) -> Result<Vec<PlannedFile<'a>>, ExportError> {
    let mut files = vec![model_config(&request.base_model, base, adapters)?];
    files.extend(existing_copies(&request.base_model, TOKENIZER_FILES));
    if request.format == ExportFormat::Huggingface {
        files.extend(existing_copies(&request.base_model, FURTHER_FILES));
        files.extend(model_card(request));
        files.extend(base.index().map(|index| copy(index, INDEX_FILE)));
        for (name, tensors) in base.files()? {
            files.push(weights(name, tensors)?);
        }
    } else {
        let mut tensors: Vec<Tensor> = base.files()?.into_iter().flat_map(|(_, tensors)| tensors).collect();
        // Widest first, as the safetensors library does: every tensor stays aligned to its type.
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype().bitsize()));
        files.push(weights(SINGLE_FILE.into(), tensors)?);
    }
    Ok(files)
}

fn weights(name: String, tensors: Vec<Tensor>) -> Result<PlannedFile, ExportError> {
    let header = encode_header(tensors.iter().map(|t| (t.name.as_str(), t.dtype(), t.shape())))
        .map_err(|reason| ExportError::Broken { path: name.clone().into(), reason })?;
    Ok(PlannedFile { name, content: Content::Weights { header, tensors } })
}

fn model_card<'a>(request: &ExportRequest) -> Option<PlannedFile<'a>> {
    let card = request.model_card.as_ref().filter(|_| request.format == ExportFormat::Huggingface)?;
    Some(PlannedFile { name: "README.md".into(), content: Content::Bytes(card.clone().into_bytes()) })
}

fn existing_copies<'a>(folder: &Path, names: &[&str]) -> Vec<PlannedFile<'a>> {
    let existing = names.iter().filter(|name| folder.join(name).is_file());
    existing.map(|name| copy(&folder.join(name), name)).collect()
}

fn copy<'a>(source: &Path, name: &str) -> PlannedFile<'a> {
    PlannedFile { name: name.into(), content: Content::Copy(source.into()) }
}

/// The base's `config.json`, byte for byte unless something that readers disagree on has to be made explicit:
/// `tie_word_embeddings`, whose default differs, and `rope_theta`, which some read from the top level alone and
/// silently replace by 10000 when it stands in `rope_parameters` only.
fn model_config<'a>(
    folder: &Path,
    base: &ModelWeights,
    adapters: &Adapters,
) -> Result<PlannedFile<'a>, ExportError> {
    let path = folder.join(CONFIG_FILE);
    let mut config: Map<String, Value> = read_json(&path)?;
    let unchanged = config.clone();
    let tied =
        config.entry("tie_word_embeddings").or_insert_with(|| Value::Bool(!base.contains("lm_head.weight")));
    if *tied == Value::Bool(true) && adapters.modules().any(|module| module == "lm_head") {
        let reason = "it adapts lm_head, which the base model shares with its embedding".into();
        return Err(ExportError::UnsupportedAdapter { folder: adapters.folder().into(), reason });
    }
    if let Some(theta) = config.get("rope_parameters").and_then(|rope| rope.get("rope_theta")).cloned() {
        config.entry("rope_theta").or_insert(theta);
    }
    if config == unchanged {
        return Ok(copy(&path, CONFIG_FILE));
    }
    let mut json = serde_json::to_vec_pretty(&config)
        .map_err(|error| ExportError::Broken { path, reason: error.to_string() })?;
    json.push(b'\n');
    Ok(PlannedFile { name: CONFIG_FILE.into(), content: Content::Bytes(json) })
}
