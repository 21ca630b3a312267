//! What a base model folder holds, from its `config.json`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_platforms_kaggle_hf::hub::Snapshot;
use serde_json::{Map, Value, json};

use crate::{Result, WorkbenchError, atomic_file};

/// `model_type` of every architecture that can be trained, with its class in transformers.
pub(crate) const SUPPORTED: &[(&str, &str)] = &[("olmo2", "Olmo2ForCausalLM")];

/// Sizes of `config.json` that are worth showing.
const SIZES: &[&str] = &[
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
    "max_position_embeddings",
    "rope_theta",
    "rms_norm_eps",
    "tie_word_embeddings",
    "torch_dtype",
    "dtype",
];

/// A base model that can be trained.
#[derive(Clone, Debug)]
pub(crate) struct BaseModel {
    /// Its folder.
    pub folder: PathBuf,
    /// `model_type` of its configuration.
    pub architecture: String,
    /// The commit on the Hub, when it came from there.
    pub commit: Option<String>,
    /// What the user should know of how it was found.
    pub note: Option<String>,
    config: Map<String, Value>,
    weights: Vec<PathBuf>,
}

impl BaseModel {
    /// The model in `folder`.
    ///
    /// Errors: the folder, `config.json`, weights or tokenizer are missing; the architecture is not supported.
    pub(crate) fn detect(folder: &Path) -> Result<Self> {
        let missing = |reason: &str| WorkbenchError::BaseModelMissing {
            path: folder.to_owned(),
            reason: reason.to_owned(),
        };
        if !folder.is_dir() {
            return Err(missing("the folder does not exist"));
        }
        let path = config_path(folder);
        if !path.is_file() {
            return Err(missing("config.json is missing"));
        }
        let config: Map<String, Value> = atomic_file::read_json(&path)?;
        let architecture = supported(&path, &config)?;
        let weights = weight_files(folder);
        if weights.is_empty() {
            return Err(missing("there is no *.safetensors file"));
        }
        if !folder.join("tokenizer.json").is_file() {
            return Err(missing("tokenizer.json is missing"));
        }
        Ok(Self { folder: folder.to_owned(), architecture, commit: None, note: None, config, weights })
    }

    /// The model that was brought from the Hub.
    ///
    /// Errors: as [`BaseModel::detect`].
    pub(crate) fn from_hub(snapshot: Snapshot) -> Result<Self> {
        let Snapshot { folder, commit, not_asked, .. } = snapshot;
        let note = not_asked.map(|reason| {
            format!("the base model is the one in the cache, commit {commit}; whether there is a newer one is not known: {reason}")
        });
        Ok(Self { commit: Some(commit), note, ..Self::detect(&folder)? })
    }

    /// Its `config.json`.
    pub(crate) fn config_path(&self) -> PathBuf {
        config_path(&self.folder)
    }

    /// What `config/model_config.json` says of it.
    pub(crate) fn description(&self) -> Value {
        let sizes: Map<String, Value> = SIZES
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), self.config.get(*key)?.clone())))
            .collect();
        let bytes: u64 = self.weights.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
        json!({
            "folder": self.folder,
            "commit": self.commit,
            "model_type": self.architecture,
            "architectures": self.config.get("architectures"),
            "sizes": sizes,
            "weight_files": self.weights.len(),
            "weight_bytes": bytes,
            "chat_template": has_chat_template(&self.folder),
        })
    }
}

/// Refuses the `config.json` at `path` when its architecture cannot be trained.
pub(crate) fn check_config(path: &Path) -> Result<()> {
    supported(path, &atomic_file::read_json(path)?).map(|_| ())
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join("config.json")
}

fn supported(path: &Path, config: &Map<String, Value>) -> Result<String> {
    let model_type = config.get("model_type").and_then(Value::as_str);
    let classes: Vec<_> = config
        .get("architectures")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let matches = |(known, class): &&(&str, &str)| match model_type {
        Some(found) => found == *known,
        None => classes.contains(class),
    };
    if let Some((known, _)) = SUPPORTED.iter().find(matches) {
        return Ok((*known).to_owned());
    }
    let supported: Vec<_> = SUPPORTED.iter().map(|(known, class)| format!("{known} ({class})")).collect();
    let found = match (model_type, classes.as_slice()) {
        (None, []) => "nothing (neither model_type nor architectures)".to_owned(),
        (None, classes) => classes.join(", "),
        (Some(found), []) => found.to_owned(),
        (Some(found), classes) => format!("{found} ({})", classes.join(", ")),
    };
    Err(WorkbenchError::UnsupportedArchitecture {
        path: path.to_owned(),
        found,
        supported: supported.join(", "),
    })
}

fn weight_files(folder: &Path) -> Vec<PathBuf> {
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_weights).collect()
}

fn has_chat_template(folder: &Path) -> bool {
    folder.join("chat_template.jinja").is_file()
        || atomic_file::read_json::<Map<String, Value>>(&folder.join("tokenizer_config.json"))
            .is_ok_and(|config| config.get("chat_template").is_some_and(|template| !template.is_null()))
}
