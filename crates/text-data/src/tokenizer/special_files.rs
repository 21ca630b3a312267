//! What the files beside `tokenizer.json` say: special tokens, chat template, sizes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{super::error::DataError, ChatTemplate, parts::Parts};

/// The files beside `tokenizer.json`; one that is absent is [`Value::Null`].
pub(super) struct SpecialFiles {
    tokenizer_config: (PathBuf, Value),
    special_tokens_map: (PathBuf, Value),
    config: (PathBuf, Value),
    generation_config: (PathBuf, Value),
}

impl SpecialFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        let read = |name: &str| read_json(&folder.join(name)).map(|value| (folder.join(name), value));
        Ok(Self {
            tokenizer_config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
            config: read("config.json")?,
            generation_config: read("generation_config.json")?,
        })
    }

    /// Text and id of a special token: by text under `name`, else by id under `id_name`.
    pub(super) fn special(
        &self,
        inner: &Parts,
        path: &Path,
        name: &str,
        id_name: &str,
    ) -> Result<Option<(String, u32)>, DataError> {
        let by_id = || self.ids(id_name).into_iter().find_map(|id| Some((inner.id_to_token(id)?, id)));
        Ok(self.named(inner, path, name)?.or_else(by_id))
    }

    /// Text and id of a special token by its text under `name`.
    pub(super) fn named(
        &self,
        inner: &Parts,
        path: &Path,
        name: &str,
    ) -> Result<Option<(String, u32)>, DataError> {
        let Some((file, token)) = self.text(name) else { return Ok(None) };
        let id = inner.token_to_id(token).ok_or_else(|| DataError::TokenizerBroken {
            path: path.to_owned(),
            reason: format!("it lacks the token `{token}`, which {} names as {name}", file.display()),
        })?;
        Ok(Some((token.to_owned(), id)))
    }

    /// Text of a special token under `name`, and the file that says so.
    pub(super) fn text(&self, name: &str) -> Option<(&Path, &str)> {
        let files = [&self.tokenizer_config, &self.special_tokens_map];
        files.into_iter().find_map(|(file, value)| Some((file.as_path(), token_text(&value[name])?)))
    }

    /// Every special token that has a name, as transformers gives them to a chat template: `bos_token` and the like,
    /// and those of one model (`image_token`).
    pub(super) fn named_tokens(&self) -> Vec<(String, String)> {
        let mut tokens: Vec<(String, String)> = Vec::new();
        for (_, config) in [&self.tokenizer_config, &self.special_tokens_map] {
            let own = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
            let of_model =
                ["model_specific_special_tokens", "extra_special_tokens"].map(|name| &config[name]);
            let of_model = of_model.into_iter().filter_map(Value::as_object).flatten();
            for (name, value) in own.chain(of_model) {
                if let Some(token) = token_text(value)
                    && tokens.iter().all(|(known, _)| known != name)
                {
                    tokens.push((name.clone(), token.to_owned()));
                }
            }
        }
        tokens
    }

    /// Tokens beside the special ones that `tokenizer_config.json` calls control tokens.
    pub(super) fn chat_control_tokens(&self) -> Vec<String> {
        let tokens = self.tokenizer_config.1["chat_control_tokens"].as_array();
        tokens.into_iter().flatten().filter_map(|token| token.as_str().map(str::to_owned)).collect()
    }

    /// The ids under `name`: a number or a list, in `config.json` and `generation_config.json`.
    pub(super) fn ids(&self, name: &str) -> Vec<u32> {
        let as_id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        [&self.config.1[name], &self.generation_config.1[name]]
            .into_iter()
            .flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]))
            .filter_map(|value| as_id(&value))
            .collect()
    }

    pub(super) fn config_size(&self, name: &str) -> Option<usize> {
        self.config.1[name].as_u64().and_then(|size| usize::try_from(size).ok())
    }

    pub(super) fn chat_template(&self, folder: &Path) -> Result<Option<ChatTemplate>, DataError> {
        let file = folder.join("chat_template.jinja");
        if let Some(source) = read_optional(&file)? {
            return Ok(Some(ChatTemplate { source, file }));
        }
        let (file, config) = &self.tokenizer_config;
        let template = &config["chat_template"];
        let named = || {
            template
                .as_array()?
                .iter()
                .find(|entry| entry["name"] == "default")
                .map(|entry| &entry["template"])
        };
        let source = template.as_str().or_else(|| named()?.as_str());
        Ok(source.map(|source| ChatTemplate { source: source.to_owned(), file: file.clone() }))
    }
}

/// A special token is written as a string, or as an object with its text under `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str()).filter(|token| !token.is_empty())
}

fn read_json(path: &Path) -> Result<Value, DataError> {
    let Some(text) = read_optional(path)? else { return Ok(Value::Null) };
    serde_json::from_str(&text)
        .map_err(|error| DataError::TokenizerBroken { path: path.to_owned(), reason: error.to_string() })
}

fn read_optional(path: &Path) -> Result<Option<String>, DataError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Unreadable { path: path.to_owned(), source }),
    }
}
