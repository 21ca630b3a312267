//! What a base model folder holds, from its `config.json`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{model::ModelConfig, settings::ModelType};
use greentune_model_folder::{ModelFolder, ModelFolderError, ModelWeights, read_config};
use greentune_platforms_kaggle_hf::hub::Snapshot;
use serde_json::{Map, Value, json};

use greentune_run_folder::json;

use crate::{Result, WorkbenchError};

/// Bytes of a `config.json` at most, as where models are read.
pub(crate) const MODEL_CONFIG_BYTES: u64 = 64 << 20;

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
    /// `model_type` of its architecture.
    pub architecture: &'static str,
    /// Whether `config.json` names no known architecture, and this one was recognised by the tensors.
    pub recognised_by_tensors: bool,
    /// The commit on the Hub, when it came from there.
    pub commit: Option<String>,
    /// What the user should know of how it was found, and of what of it is used.
    pub notes: Vec<String>,
    config: Map<String, Value>,
    weights: Vec<PathBuf>,
}

impl BaseModel {
    /// The model in `folder`, which the settings say to be of `family`.
    ///
    /// Errors: the folder, `config.json`, weights or tokenizer are missing; the architecture or a feature of it is not
    /// supported; it is quantised; tensors are missing or of another shape; it is of another family.
    pub(crate) fn detect(folder: &Path, family: ModelType) -> Result<Self> {
        check_folder(folder)?;
        let path = config_path(folder);
        let config: Map<String, Value> = json::read(&path)?;
        let model = ModelFolder::open(folder).map_err(refused)?;
        if !folder.join("tokenizer.json").is_file() {
            return Err(missing(folder, "tokenizer.json is missing"));
        }
        let found = model.config();
        let architecture = found.architecture.model_type;
        if family != ModelType::Custom && family != found.architecture.family {
            return Err(WorkbenchError::BaseModelFamily { path, found: architecture, family });
        }
        Ok(Self {
            folder: folder.to_owned(),
            architecture,
            recognised_by_tensors: found.recognised_by_tensors,
            commit: None,
            notes: model.notes().to_vec(),
            config,
            weights: model.weights().paths().map(Path::to_path_buf).collect(),
        })
    }

    /// The model that was brought from the Hub.
    ///
    /// Errors: as [`BaseModel::detect`].
    pub(crate) fn from_hub(snapshot: Snapshot, family: ModelType) -> Result<Self> {
        let Snapshot { folder, commit, lookup_problem, .. } = snapshot;
        let note = lookup_problem.map(|reason| {
            format!("the base model is the one in the cache, commit {commit}; whether there is a newer one is not known: {reason}")
        });
        let mut model = Self { commit: Some(commit), ..Self::detect(&folder, family)? };
        model.notes.extend(note);
        Ok(model)
    }

    /// The files that training depends on: configuration, weights, tokenizer and chat template.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        const TEXTS: [&str; 4] =
            ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
        let texts = TEXTS.map(|name| self.folder.join(name)).into_iter().filter(|path| path.is_file());
        texts.chain(self.weights.iter().cloned())
    }

    /// Width of its residual stream.
    pub(crate) fn hidden_size(&self) -> Option<u64> {
        self.config.get("hidden_size")?.as_u64()
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
            "weight_files": self.weights.iter().filter(|file| is_safetensors(file)).count(),
            "weight_bytes": bytes,
            "chat_template": has_chat_template(&self.folder),
        })
    }
}

/// Refuses the `config.json` at `path` when its architecture cannot be trained. Nothing is known of the tensors yet, so
/// that an architecture has to be named.
pub(crate) fn check_config(path: &Path) -> Result<()> {
    let text = greentune_durable::read_text_at_most(path, MODEL_CONFIG_BYTES)
        .map_err(WorkbenchError::file("read", path))?;
    let parsed = ModelConfig::parse(&text, None);
    parsed.map(|_| ()).map_err(|error| WorkbenchError::BaseModelConfig { path: path.to_owned(), error })
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join("config.json")
}

/// Checks that `folder` can be a base model, as far as its `config.json` tells.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Err(missing(folder, "the folder does not exist"));
    }
    if !config_path(folder).is_file() {
        return Err(missing(folder, "config.json is missing"));
    }
    read_config(folder).map(|_| ()).map_err(refused)
}

/// The files that adapters are merged into in `folder`: configuration and weights.
pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let weights = ModelWeights::open(folder).map_err(refused)?;
    Ok(std::iter::once(config_path(folder)).chain(weights.paths().map(Path::to_path_buf)).collect())
}

fn missing(folder: &Path, reason: &str) -> WorkbenchError {
    WorkbenchError::BaseModelMissing { path: folder.to_owned(), reason: reason.to_owned() }
}

fn refused(error: ModelFolderError) -> WorkbenchError {
    match error {
        ModelFolderError::Config { path, error } => WorkbenchError::BaseModelConfig { path, error },
        ModelFolderError::NoWeights { folder } => missing(&folder, "there is no *.safetensors file"),
        error => WorkbenchError::reported(error),
    }
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors")
}

fn has_chat_template(folder: &Path) -> bool {
    folder.join("chat_template.jinja").is_file()
        || json::read::<Map<String, Value>>(&folder.join("tokenizer_config.json"))
            .is_ok_and(|config| config.get("chat_template").is_some_and(|template| !template.is_null()))
}
