//! Configuration and weights of a folder, and whether they fit.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use greentune_core_config::model::{ModelConfig, ModelConfigError, TensorShape};

use crate::{
    error::ModelFolderError,
    weights::{ModelWeights, read_limited},
};

const CONFIG_FILE: &str = "config.json";
/// Names that are written out of those that a message counts.
const NAMED: usize = 3;

/// A base model's folder in which every tensor that the model needs was found, in its shape and a type that can be
/// computed with. Headers were read; of the values only those of a head that may be the embedding.
#[derive(Debug)]
pub struct ModelFolder {
    config: ModelConfig,
    weights: ModelWeights,
    notes: Vec<String>,
}

impl ModelFolder {
    /// Reads the folder of a base model and checks that configuration and weights belong together.
    ///
    /// # Errors
    /// No such folder or file; a `config.json` that cannot be trained; an index that is broken; tensors that are
    /// missing, of another shape, or quantised.
    pub fn open(folder: &Path) -> Result<Self, ModelFolderError> {
        let text = config_text(folder)?;
        // What cannot be trained is said before weights are looked at.
        let named = Named::of(folder, &text)?;
        let weights = match (ModelWeights::open(folder), &named) {
            (Err(_), Named::Nothing(unsupported)) => return Err(config_error(folder, unsupported.clone())),
            (weights, _) => weights?,
        };
        let (config, note) = with_head_of(named.with(folder, &text, &weights)?, &weights)?;
        let expected = config.tensors();
        for (name, shape) in &expected {
            let tensor = weights.tensor_of(&config, name)?;
            tensor.expect_shape(shape)?;
            tensor.float_type()?;
        }
        let stale = weights.ignored_index().map(index_ignored);
        let unread = unread(&weights, &expected, &config);
        let notes = [stale, note, unread].into_iter().flatten().collect();
        Ok(Self { config, weights, notes })
    }

    /// What the model is: that of `config.json`, with the head that the weights have.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its weights.
    pub fn weights(&self) -> &ModelWeights {
        &self.weights
    }

    /// What its owner should know: which weights were taken where there are several, what of them is not used.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What the model in `folder` is, as far as `config.json` and the headers of its weights tell; its tensors are not
/// checked. Weights are looked at only where the configuration leaves something to them: an architecture that it does
/// not name, a head that may be stored though it is said to be the embedding.
///
/// # Errors
/// No such folder or file; what [`ModelConfig::parse`] refuses; weights that cannot be read where they are needed.
pub fn read_config(folder: &Path) -> Result<ModelConfig, ModelFolderError> {
    let text = config_text(folder)?;
    let named = Named::of(folder, &text)?;
    if let Named::Model(config) = &named
        && !config.tie_word_embeddings
    {
        return Ok((**config).clone());
    }
    match (ModelWeights::open(folder), named) {
        (Ok(weights), named) => Ok(with_head_of(named.with(folder, &text, &weights)?, &weights)?.0),
        (Err(ModelFolderError::NoWeights { .. }), Named::Model(config)) => Ok(*config),
        (Err(_), Named::Nothing(unsupported)) => Err(config_error(folder, unsupported)),
        (Err(error), Named::Model(_)) => Err(error),
    }
}

/// What a `config.json` names.
enum Named {
    /// A supported architecture.
    Model(Box<ModelConfig>),
    /// None, so that the tensors have to tell; why it is not supported.
    Nothing(ModelConfigError),
}

impl Named {
    fn of(folder: &Path, text: &str) -> Result<Self, ModelFolderError> {
        match ModelConfig::parse(text, None) {
            Ok(config) => Ok(Self::Model(Box::new(config))),
            Err(error) if error.code == "model.unsupported" => Ok(Self::Nothing(error)),
            Err(error) => Err(config_error(folder, error)),
        }
    }

    fn with(
        self,
        folder: &Path,
        text: &str,
        weights: &ModelWeights,
    ) -> Result<ModelConfig, ModelFolderError> {
        match self {
            Self::Model(config) => Ok(*config),
            Self::Nothing(_) => ModelConfig::parse(text, Some(&weights.shapes()?))
                .map_err(|error| config_error(folder, error)),
        }
    }
}

fn config_error(folder: &Path, error: ModelConfigError) -> ModelFolderError {
    ModelFolderError::Config { path: config_path(folder), error }
}

fn config_text(folder: &Path) -> Result<String, ModelFolderError> {
    if !folder.is_dir() {
        return Err(ModelFolderError::FolderMissing { path: folder.into() });
    }
    let path = config_path(folder);
    String::from_utf8(read_limited(&path)?)
        .map_err(|error| ModelFolderError::Broken { path, reason: error.to_string() })
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join(CONFIG_FILE)
}

/// `config` with the head that `weights` have, and what to say of it.
fn with_head_of(
    mut config: ModelConfig,
    weights: &ModelWeights,
) -> Result<(ModelConfig, Option<String>), ModelFolderError> {
    if !config.tie_word_embeddings || weights.head_is_embedding()? {
        return Ok((config, None));
    }
    config.tie_word_embeddings = false;
    let note = "config.json says tie_word_embeddings = true, and lm_head.weight is stored with other values than \
                model.embed_tokens.weight: both are used, as transformers does; set tie_word_embeddings = false to \
                make it plain";
    Ok((config, Some(note.into())))
}

fn index_ignored(index: &Path) -> String {
    format!(
        "model.safetensors and {} are both there: model.safetensors is taken, as transformers does; delete the other \
         if it is left over",
        index.file_name().unwrap_or_default().display()
    )
}

/// Tensors that nobody reads, in words. A head that is the embedding, and rotary frequencies of old, are no news.
fn unread(weights: &ModelWeights, expected: &[TensorShape], config: &ModelConfig) -> Option<String> {
    let expected: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let known = |name: &str| {
        expected.contains(name)
            || name.ends_with("rotary_emb.inv_freq")
            || (config.tie_word_embeddings && name == "lm_head.weight")
    };
    let unread: Vec<&str> = weights.names().filter(|name| !known(name)).collect();
    let named = unread.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if unread.len() > NAMED { ", …" } else { "" };
    let architecture = config.architecture.model_type;
    match unread.len() {
        0 => None,
        1 => Some(format!(
            "a tensor of the base model is not used, because {architecture} has no place for it: {named}"
        )),
        count => Some(format!(
            "{count} tensors of the base model are not used, because {architecture} has no place for them: {named}{more}"
        )),
    }
}
