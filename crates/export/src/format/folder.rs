//! Files that several formats have: adapters as they are, and what stands beside merged weights.

use std::path::Path;

use serde_json::{Map, Value};

use super::Source;
use crate::{
    content::{self, PlannedFile, adapter_weights, copy, existing_copies},
    error::ExportError,
    peft,
};
use greentune_model_folder::read_json;

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

fn pretty<'a>(path: &Path, name: &str, config: &Map<String, Value>) -> Result<PlannedFile<'a>, ExportError> {
    let mut json = serde_json::to_vec_pretty(config)
        .map_err(|error| ExportError::Broken { path: path.to_owned(), reason: error.to_string() })?;
    json.push(b'\n');
    Ok(content::bytes(name, json))
}

/// What a merged model needs beside its weights: its configuration and its tokenizer.
pub(super) fn configuration(source: Source<'_>) -> Result<Vec<PlannedFile<'_>>, ExportError> {
    let mut files = vec![model_config(source)?];
    files.extend(existing_copies(&source.request.base_model, TOKENIZER_FILES));
    Ok(files)
}

/// The base's `config.json`, byte for byte unless something that readers disagree on has to be made explicit:
/// `tie_word_embeddings`, whose default differs and which may contradict the weights, and `rope_theta`, which some read from the top level alone and
/// silently replace by 10000 when it stands in `rope_parameters` only.
fn model_config(source: Source<'_>) -> Result<PlannedFile<'_>, ExportError> {
    let Source { request, base, adapters } = source;
    let path = request.base_model.join(CONFIG_FILE);
    let mut config: Map<String, Value> = read_json(&path)?;
    let unchanged = config.clone();
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
    if config == unchanged {
        return Ok(copy(&path, CONFIG_FILE));
    }
    pretty(&path, CONFIG_FILE, &config)
}
