//! Files that several formats have: adapters as they are, and what stands beside merged weights.

use std::path::Path;

use serde_json::{Map, Value};

use super::Source;
use crate::{
    content::{self, PlannedFile, adapter_weights, copy, existing_copies},
    error::ExportError,
    peft,
    quantization::Quantization,
    request::ExportRequest,
    weights::{Storage, StoredTensor},
};
use greentune_model_folder::{FloatType, Tensor, read_json};

/// The model's configuration.
pub(super) const CONFIG_FILE: &str = "config.json";
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
/// What generation starts from, above all the tokens that end it.
const GENERATION_CONFIG_FILE: &str = "generation_config.json";
/// The licence's terms travel with the weights.
pub(super) const LICENCES: &[&str] = &["LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"];

/// The adapters alone, as PEFT's two files.
pub(super) fn adapters(source: Source<'_>) -> Result<Vec<PlannedFile<'_>>, ExportError> {
    Ok(vec![adapter_config(source)?, adapter_weights(source.adapters, peft::WEIGHTS_FILE)])
}

/// The adapters' configuration, byte for byte unless it names another base model than the request: a folder that has
/// moved since, or a name that nobody can open.
fn adapter_config(source: Source<'_>) -> Result<PlannedFile<'_>, ExportError> {
    const NAME: &str = "base_model_name_or_path";
    let path = source.adapters.folder().join(peft::CONFIG_FILE);
    let mut config: Map<String, Value> = read_json(&path)?;
    match &source.request.base_model_name {
        Some(name) if config.get(NAME).and_then(Value::as_str) != Some(name) => {
            config.insert(NAME.to_owned(), Value::from(name.as_str()));
            pretty(&path, peft::CONFIG_FILE, &config)
        }
        _ => Ok(copy(&path, peft::CONFIG_FILE)),
    }
}

pub(super) fn pretty<'a>(
    path: &Path,
    name: &str,
    config: &Map<String, Value>,
) -> Result<PlannedFile<'a>, ExportError> {
    let mut json = serde_json::to_vec_pretty(config)
        .map_err(|error| ExportError::Broken { path: path.to_owned(), reason: error.to_string() })?;
    json.push(b'\n');
    Ok(content::bytes(name, json))
}

/// What a merged model needs beside its weights: its configuration, what generation starts from, its tokenizer.
pub(crate) fn configuration(source: Source<'_>) -> Result<Vec<PlannedFile<'_>>, ExportError> {
    let path = source.request.base_model.join(CONFIG_FILE);
    let config = explicit_config(source)?;
    let given: Map<String, Value> = read_json(&path)?;
    let mut files =
        vec![if config == given { copy(&path, CONFIG_FILE) } else { pretty(&path, CONFIG_FILE, &config)? }];
    files.extend(beside_weights(source));
    Ok(files)
}

/// Copies of the tokenizer and of what generation starts from.
pub(super) fn beside_weights(source: Source<'_>) -> Vec<PlannedFile<'_>> {
    let mut files = existing_copies(&source.request.base_model, TOKENIZER_FILES);
    files.extend(existing_copies(&source.request.base_model, &[GENERATION_CONFIG_FILE]));
    files
}

/// The base's `config.json` with what readers disagree on made explicit: `tie_word_embeddings`, whose default differs
/// and which may contradict the weights; `rope_theta`, which some read from the top level alone and silently replace by
/// 10000 when it stands in `rope_parameters` only; and the type of the weights where another is asked for.
pub(super) fn explicit_config(source: Source<'_>) -> Result<Map<String, Value>, ExportError> {
    let Source { request, base, adapters } = source;
    let mut config: Map<String, Value> = read_json(&request.base_model.join(CONFIG_FILE))?;
    let tied =
        config.entry("tie_word_embeddings").or_insert_with(|| Value::Bool(!base.contains("lm_head.weight")));
    if *tied == Value::Bool(true) && !base.head_is_embedding()? {
        *tied = Value::Bool(false);
    }
    if *tied == Value::Bool(true) && adapters.modules().any(|module| module == "lm_head") {
        let reason = "it adapts lm_head, which the base model shares with its embedding".into();
        return Err(ExportError::UnsupportedAdapter { folder: adapters.folder().into(), reason });
    }
    if let Some(theta) = config.get("rope_parameters").and_then(|rope| rope.get("rope_theta")).cloned() {
        config.entry("rope_theta").or_insert(theta);
    }
    if let Some(float) = request.quantization.and_then(Quantization::float) {
        state_type(&mut config, float);
    }
    Ok(config)
}

/// States the type of the weights under the key that is there: transformers 5 calls it `dtype`, older ones `torch_dtype`.
fn state_type(config: &mut Map<String, Value>, float: FloatType) {
    let word = match float {
        FloatType::F32 => "float32",
        FloatType::F16 => "float16",
        FloatType::Bf16 => "bfloat16",
    };
    let [new, old] = ["dtype", "torch_dtype"];
    let has_old = config.contains_key(old);
    if has_old {
        config.insert(old.to_owned(), word.into());
    }
    if config.contains_key(new) || !has_old {
        config.insert(new.to_owned(), word.into());
    }
}

/// The base model's tensors by the file that they are in, stored as the request says.
pub(super) fn tensors_of_base<'a>(
    source: Source<'a>,
) -> Result<Vec<(String, Vec<StoredTensor<'a>>)>, ExportError> {
    let float = source.request.quantization.and_then(Quantization::float);
    let stored = |tensor: Tensor<'a>| {
        let storage = match float {
            // What is no float, such as a mask, stays what it is.
            Some(float) if tensor.float_type().is_ok() => Storage::Float(float),
            _ => Storage::Kept,
        };
        StoredTensor::new(tensor, storage)
    };
    let files = source.base.files()?.into_iter();
    Ok(files.map(|(name, tensors)| (name, tensors.into_iter().map(stored).collect())).collect())
}

/// The card as `README.md`.
pub(super) fn model_card<'a>(request: &ExportRequest) -> Option<PlannedFile<'a>> {
    let card = request.model_card.as_ref()?;
    Some(content::bytes("README.md", card.clone().into_bytes()))
}
