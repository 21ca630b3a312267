//! `tokenizer.json` as llama.cpp's own tokenizers read it, and what of it they would read otherwise.

mod byte_level;
mod sentencepiece;
mod special;

use std::{collections::BTreeMap, path::Path};

use greentune_model_folder::read_json;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use self::special::Special;
pub(super) use self::special::chat_templates;
use super::{
    header::{Metadata, Value},
    refused,
};
use crate::error::ExportError;

/// What the rest of the export needs to know of a tokenizer.
pub(super) struct Spoken {
    /// Tokens that end a generation.
    pub(super) stops: Vec<String>,
    pub(super) has_chat_template: bool,
}

/// What is read of `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    vocab: Json,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
}

/// Two tokens that become one: as a list of two, or as a text with a space between.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Text(String),
}

impl Merge {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Text(text) => text.split_once(' '),
        }
    }
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

/// What a token is, by llama.cpp's numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// All tokens by id, of as many ids as the model has.
struct Tokens {
    texts: Vec<String>,
    kinds: Vec<Kind>,
}

/// Puts the tokenizer of the model in `folder`, which has embeddings for `vocab_size` tokens, into `metadata`.
pub(super) fn describe(
    folder: &Path,
    vocab_size: usize,
    metadata: &mut Metadata,
) -> Result<Spoken, ExportError> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() {
        return Err(refused("a GGUF file holds the tokenizer, and the base model has no tokenizer.json"));
    }
    let file: File = read_json(&path)?;
    let ids = vocabulary(&file, vocab_size)?;
    let special = Special::read(folder, &ids)?;
    let mut tokens = Tokens::of(&file, &ids, vocab_size)?;
    for id in special.ends() {
        tokens.kinds[id] = Kind::Control;
    }
    let sentencepiece = file.model.byte_fallback;
    if sentencepiece {
        sentencepiece::describe(&file, &mut tokens, &ids, metadata)?;
    } else {
        byte_level::describe(&file, metadata)?;
    }
    let kinds = tokens.kinds.iter().map(|kind| *kind as i32).collect();
    let stops = special.stop_ids.iter().map(|id| tokens.texts[*id].clone()).collect();
    metadata.put("tokenizer.ggml.tokens", Value::Texts(tokens.texts));
    metadata.put("tokenizer.ggml.token_type", Value::I32s(kinds));
    special.describe(metadata);
    let (adds_beginning, adds_end) = special.added_around(&file.post_processor, &ids)?;
    metadata.put("tokenizer.ggml.add_bos_token", Value::Bool(adds_beginning));
    metadata.put("tokenizer.ggml.add_eos_token", Value::Bool(adds_end));
    let templates = chat_templates(folder)?;
    for (name, template) in &templates {
        let key = if name == "default" { String::new() } else { format!(".{name}") };
        metadata.put_text(format!("tokenizer.chat_template{key}"), template);
    }
    Ok(Spoken { stops, has_chat_template: templates.iter().any(|(name, _)| name == "default") })
}

/// The id of every token, checked.
fn vocabulary(file: &File, vocab_size: usize) -> Result<BTreeMap<String, usize>, ExportError> {
    let kind = file.model.kind.as_deref().unwrap_or("BPE");
    let (Json::Object(vocabulary), "BPE") = (&file.model.vocab, kind) else {
        return Err(refused(format!("its tokenizer is of the kind {kind}; BPE is supported")));
    };
    let affixes = [&file.model.continuing_subword_prefix, &file.model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err(refused("its tokenizer marks subwords by a prefix or suffix, which llama.cpp does not"));
    }
    let listed = vocabulary.iter().filter_map(|(token, id)| Some((token.clone(), id.as_u64()? as usize)));
    let added = file.added_tokens.iter().map(|added| (added.content.clone(), added.id));
    let ids: BTreeMap<String, usize> = listed.chain(added).collect();
    if let Some((token, id)) = ids.iter().find(|(_, id)| **id >= vocab_size) {
        return Err(refused(format!(
            "its tokenizer has the token {token:?} with the id {id}, and the model has {vocab_size} tokens"
        )));
    }
    let stripping = file.added_tokens.iter().find(|added| added.lstrip || added.rstrip || added.single_word);
    if let Some(added) = stripping {
        return Err(refused(format!(
            "its token {:?} takes the space beside it or stands for whole words only, which llama.cpp does not know",
            added.content
        )));
    }
    Ok(ids)
}

impl Tokens {
    fn of(file: &File, ids: &BTreeMap<String, usize>, vocab_size: usize) -> Result<Self, ExportError> {
        let mut texts: Vec<Option<&str>> = vec![None; vocab_size];
        for (token, id) in ids {
            if let Some(other) = texts[*id].replace(token) {
                return Err(refused(format!("its tokens {other:?} and {token:?} have the same id {id}")));
            }
        }
        let mut kinds: Vec<Kind> =
            texts.iter().map(|text| if text.is_some() { Kind::Normal } else { Kind::Unused }).collect();
        for added in &file.added_tokens {
            kinds[added.id] = if added.special { Kind::Control } else { Kind::UserDefined };
        }
        let filler = |id: usize| {
            let mut text = format!("[PAD{id}]");
            // Readers refuse two tokens of the same text.
            while ids.contains_key(&text) {
                text.push('_');
            }
            text
        };
        let texts = texts.into_iter().enumerate();
        let texts = texts.map(|(id, text)| text.map_or_else(|| filler(id), str::to_owned)).collect();
        Ok(Self { texts, kinds })
    }
}

/// The steps of a normalizer or pre-tokenizer, those of a sequence one by one.
fn steps<'j>(step: &'j Json, list: &str) -> Vec<&'j Json> {
    match step {
        Json::Null => Vec::new(),
        _ if step["type"] == "Sequence" => {
            step[list].as_array().into_iter().flatten().flat_map(|step| steps(step, list)).collect()
        }
        _ => vec![step],
    }
}

/// Whether `step` is of the type `kind` and has these `fields`; a field that it lacks is as `default` says.
fn is(step: &Json, kind: &str, fields: &[(&str, Json)], default: &Json) -> bool {
    let value = |name: &str| step.get(name).unwrap_or(&default[name]).clone();
    step["type"] == kind && fields.iter().all(|(name, expected)| value(name) == *expected)
}

/// Names of steps in a message.
fn names(steps: &[&Json]) -> String {
    if steps.is_empty() {
        return "none".into();
    }
    steps.iter().map(|step| step["type"].as_str().unwrap_or("?")).collect::<Vec<_>>().join(" + ")
}

fn no_defaults() -> Json {
    json!({})
}
