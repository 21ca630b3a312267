//! Tokens that begin, end and fill texts, and chat templates, from the files beside `tokenizer.json`.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use greentune_model_folder::read_json;
use serde_json::Value as Json;

use super::{Metadata, Value, refused};
use crate::error::ExportError;

/// Ids of special tokens.
pub(super) struct Special {
    beginning: Option<usize>,
    end: usize,
    unknown: Option<usize>,
    padding: Option<usize>,
    /// Tokens that end a generation, `end` first.
    pub(super) stop_ids: Vec<usize>,
}

impl Special {
    /// As `tokenizer_config.json` or `special_tokens_map.json` names them, else by their ids in `config.json` or
    /// `generation_config.json`; a generation ends with any of the ids there too.
    pub(super) fn read(folder: &Path, ids: &BTreeMap<String, usize>) -> Result<Self, ExportError> {
        let read = |name: &str| -> Result<Json, ExportError> {
            let path = folder.join(name);
            if path.is_file() { Ok(read_json(&path)?) } else { Ok(Json::Null) }
        };
        let named_in = [read("tokenizer_config.json")?, read("special_tokens_map.json")?];
        let numbered_in = [read("config.json")?, read("generation_config.json")?];
        let numbered = |name: &str| -> Vec<usize> {
            let values = numbered_in.iter().map(|file| &file[name]);
            let values =
                values.flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
            let known = |id: &usize| ids.values().any(|known| known == id);
            values.filter_map(|value| Some(value.as_u64()? as usize)).filter(known).collect()
        };
        let find = |name: &str| -> Result<Option<usize>, ExportError> {
            let Some(text) = named_in.iter().find_map(|file| text_of(&file[name])) else {
                return Ok(numbered(&format!("{name}_id")).first().copied());
            };
            let id = ids.get(text).copied();
            id.map(Some).ok_or_else(|| refused(format!("its tokenizer lacks the token {text:?}, its {name}")))
        };
        let end = find("eos_token")?.ok_or_else(|| {
            refused("no end-of-sequence token is named, without which llama.cpp would not stop")
        })?;
        let mut stop_ids = vec![end];
        for id in numbered("eos_token_id") {
            if !stop_ids.contains(&id) {
                stop_ids.push(id);
            }
        }
        let (beginning, unknown, padding) = (find("bos_token")?, find("unk_token")?, find("pad_token")?);
        Ok(Self { beginning, end, unknown, padding, stop_ids })
    }

    /// Beginning and end.
    pub(super) fn ends(&self) -> impl Iterator<Item = usize> {
        self.beginning.into_iter().chain([self.end])
    }

    pub(super) fn describe(&self, metadata: &mut Metadata) {
        let further = |index: usize| self.stop_ids.get(index).copied();
        for (name, id) in [
            ("bos", self.beginning),
            ("eos", Some(self.end)),
            ("eot", further(1)),
            ("eom", further(2)),
            ("unknown", self.unknown),
            ("padding", self.padding),
        ] {
            if let Some(id) = id {
                metadata.put(format!("tokenizer.ggml.{name}_token_id"), Value::U32(id as u32));
            }
        }
    }

    /// Whether a text gets the beginning before and the end behind it.
    pub(super) fn added_around(
        &self,
        post_processor: &Json,
        ids: &BTreeMap<String, usize>,
    ) -> Result<(bool, bool), ExportError> {
        let template = super::steps(post_processor, "processors")
            .into_iter()
            .filter(|step| step["type"] != "ByteLevel")
            .collect::<Vec<_>>();
        let other = || refused("its tokenizer adds tokens around a text as llama.cpp does not");
        let [template] = template[..] else {
            return if template.is_empty() { Ok((false, false)) } else { Err(other()) };
        };
        if template["type"] != "TemplateProcessing" {
            return Err(other());
        }
        let single = template["single"].as_array().ok_or_else(other)?;
        let text_at = single.iter().position(|piece| piece.get("Sequence").is_some()).ok_or_else(other)?;
        let token = |pieces: &[Json]| match pieces {
            [] => Ok(None),
            [piece] => Ok(piece["SpecialToken"]["id"].as_str().and_then(|text| ids.get(text).copied())),
            _ => Err(other()),
        };
        let (before, behind) = (token(&single[..text_at])?, token(&single[text_at + 1..])?);
        let fits =
            before.is_none_or(|id| Some(id) == self.beginning) && behind.is_none_or(|id| id == self.end);
        if fits { Ok((before.is_some(), behind.is_some())) } else { Err(other()) }
    }
}

/// Chat templates by name; the one that is used is `default`. A file of its own goes before `tokenizer_config.json`.
pub(in super::super) fn chat_templates(folder: &Path) -> Result<Vec<(String, String)>, ExportError> {
    let path = folder.join("chat_template.jinja");
    match fs::read_to_string(&path) {
        Ok(template) => return Ok(vec![("default".into(), template)]),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(ExportError::io("read", path)(error)),
    }
    let path = folder.join("tokenizer_config.json");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let config: Json = read_json(&path)?;
    let template = &config["chat_template"];
    if let Some(template) = template.as_str() {
        return Ok(vec![("default".into(), template.into())]);
    }
    let named = template.as_array().into_iter().flatten();
    let named = named.filter_map(|entry| Some((entry["name"].as_str()?, entry["template"].as_str()?)));
    Ok(named.map(|(name, template)| (name.to_owned(), template.to_owned())).collect())
}

/// A special token is written as a text, or as an object with its text under `content`.
fn text_of(value: &Json) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str()).filter(|text| !text.is_empty())
}
