//! The tokenizer of a model folder, with its special tokens and chat template.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::error::DataError;

/// Text to token ids and back, as the model's folder defines it.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    /// What the tokenizer's own post-processing puts in front of a text, such as the beginning of a sequence.
    prefix: Vec<u32>,
    bos_token: Option<String>,
    eos_token: String,
    eos_id: u32,
    stop_ids: Vec<u32>,
    stop_tokens: Vec<String>,
    pad_id: u32,
    chat_template: Option<ChatTemplate>,
    vocab_size: Option<usize>,
    context_length: Option<usize>,
}

/// The chat template that a model comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChatTemplate {
    /// Jinja source.
    pub(crate) source: String,
    /// The file it stands in.
    pub(crate) file: PathBuf,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of `folder`. Special tokens come from `tokenizer_config.json`,
    /// `special_tokens_map.json`, `config.json` and `generation_config.json`, the first that names one; all ids in
    /// the last two end a generation. The chat template is `chat_template.jinja`, else the one in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`DataError::TokenizerNotFound`], [`DataError::TokenizerBroken`] (any of these files),
    /// [`DataError::Vocabulary`] (more tokens than the model has), [`DataError::NoEndOfSequence`].
    pub fn load(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("tokenizer.json");
        let inner = read_tokenizer(&path)?;
        let files = SpecialFiles::read(folder)?;
        let vocab_size = files.config_size("vocab_size");
        check_vocabulary(&inner, &path, vocab_size)?;

        let (eos_token, eos_id) = files
            .special(&inner, &path, "eos_token", "eos_token_id")?
            .ok_or_else(|| DataError::NoEndOfSequence { folder: folder.to_owned() })?;
        if let Some(vocab_size) = vocab_size.filter(|size| eos_id as usize >= *size) {
            let what = format!("the end-of-sequence token `{eos_token}` has id {eos_id}");
            return Err(DataError::Vocabulary { path, what, vocab_size });
        }
        let within = |id: &u32| vocab_size.is_none_or(|size| (*id as usize) < size);
        let mut stop_ids = vec![eos_id];
        stop_ids.extend(files.ids("eos_token_id").into_iter().filter(within));
        stop_ids.sort_unstable();
        stop_ids.dedup();
        let pad = files.special(&inner, &path, "pad_token", "pad_token_id")?;
        Ok(Self {
            prefix: added_prefix(&inner)?,
            // Models that begin with nothing still have an id for it in `config.json`.
            bos_token: files.named(&inner, &path, "bos_token")?.map(|(token, _)| token),
            stop_tokens: stop_ids.iter().filter_map(|id| inner.id_to_token(*id)).collect(),
            // Padding is masked, so that any id that the embedding has will do.
            pad_id: pad.map(|(_, id)| id).filter(within).unwrap_or(eos_id),
            chat_template: files.chat_template(folder)?,
            context_length: files.config_size("max_position_embeddings"),
            inner,
            path,
            eos_token,
            eos_id,
            stop_ids,
            vocab_size,
        })
    }

    /// Token ids of `text`. Special tokens that are spelled out in it become their ids; none is added.
    ///
    /// # Errors
    /// [`DataError::Tokenize`]; [`DataError::Vocabulary`] when a token is unknown to the model.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|error| DataError::Tokenize { reason: error.to_string() })?;
        let ids = encoding.get_ids().to_vec();
        if let Some(vocab_size) = self.vocab_size
            && let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size)
        {
            let token = self.inner.id_to_token(*id).unwrap_or_default();
            let what = format!("token `{token}` has id {id}");
            return Err(DataError::Vocabulary { path: self.path.clone(), what, vocab_size });
        }
        Ok(ids)
    }

    /// Token ids of `text` behind what the tokenizer's own post-processing puts in front of it (for Llama the
    /// beginning of the sequence, for OLMo-2 nothing), once: not when the text spells it out already.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_with_prefix(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let ids = self.encode(text)?;
        if ids.starts_with(&self.prefix) {
            return Ok(ids);
        }
        Ok([self.prefix.clone(), ids].concat())
    }

    /// Text of `ids`; special tokens are spelled out with `with_special`, else left out.
    ///
    /// # Errors
    /// [`DataError::Tokenize`].
    pub fn decode(&self, ids: &[u32], with_special: bool) -> Result<String, DataError> {
        self.inner
            .decode(ids, !with_special)
            .map_err(|error| DataError::Tokenize { reason: error.to_string() })
    }

    /// The end-of-sequence token's id.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }
    /// The end-of-sequence token's text.
    pub(crate) fn eos_token(&self) -> &str {
        &self.eos_token
    }
    /// The beginning-of-sequence token's text, where there is one.
    pub(crate) fn bos_token(&self) -> Option<&str> {
        self.bos_token.as_deref()
    }
    /// Texts of the tokens that steer rather than say something, such as `<|endoftext|>` or `<|assistant|>`.
    pub(super) fn special_token_texts(&self) -> Vec<String> {
        let added = self.inner.get_added_tokens_decoder().into_values();
        added.filter(|token| token.special).map(|token| token.content).collect()
    }
    /// Ids that end a generation, in ascending order; the end of sequence is among them.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }
    /// Texts of [`stop_ids`](Self::stop_ids).
    pub(super) fn stop_tokens(&self) -> &[String] {
        &self.stop_tokens
    }
    /// The id to pad with; the end of sequence where the model names none.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }
    /// The model's chat template.
    pub(crate) fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat_template.as_ref()
    }
    /// Tokens that the model can attend to: `max_position_embeddings` of `config.json`.
    pub(crate) fn context_length(&self) -> Option<usize> {
        self.context_length
    }
}

fn read_tokenizer(path: &Path) -> Result<tokenizers::Tokenizer, DataError> {
    let bytes = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::TokenizerNotFound { path: path.to_owned() },
        _ => DataError::Unreadable { path: path.to_owned(), source },
    })?;
    let broken = |error: tokenizers::Error| DataError::TokenizerBroken {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(broken)?;
    // Both may be left over in the file from whoever saved it, and would cut or lengthen records silently.
    inner.with_truncation(None).map_err(broken)?;
    inner.with_padding(None);
    Ok(inner)
}

fn check_vocabulary(
    inner: &tokenizers::Tokenizer,
    path: &Path,
    vocab_size: Option<usize>,
) -> Result<(), DataError> {
    // Tokens added later may lie beyond it in well-known models and never occur; `encode` looks at each.
    let tokens = inner.get_vocab_size(false);
    match vocab_size {
        Some(vocab_size) if tokens > vocab_size => {
            let what = format!("the tokenizer has {tokens} tokens");
            Err(DataError::Vocabulary { path: path.to_owned(), what, vocab_size })
        }
        _ => Ok(()),
    }
}

fn added_prefix(inner: &tokenizers::Tokenizer) -> Result<Vec<u32>, DataError> {
    let encoding =
        inner.encode("a", true).map_err(|error| DataError::Tokenize { reason: error.to_string() })?;
    let added = encoding.get_special_tokens_mask().iter().take_while(|mask| **mask == 1).count();
    Ok(encoding.get_ids()[..added].to_vec())
}

/// The files beside `tokenizer.json`; one that is absent is [`Value::Null`].
struct SpecialFiles {
    tokenizer_config: (PathBuf, Value),
    special_tokens_map: (PathBuf, Value),
    config: (PathBuf, Value),
    generation_config: (PathBuf, Value),
}

impl SpecialFiles {
    fn read(folder: &Path) -> Result<Self, DataError> {
        let read = |name: &str| read_json(&folder.join(name)).map(|value| (folder.join(name), value));
        Ok(Self {
            tokenizer_config: read("tokenizer_config.json")?,
            special_tokens_map: read("special_tokens_map.json")?,
            config: read("config.json")?,
            generation_config: read("generation_config.json")?,
        })
    }

    /// Text and id of a special token: by text under `name`, else by id under `id_name`.
    fn special(
        &self,
        inner: &tokenizers::Tokenizer,
        path: &Path,
        name: &str,
        id_name: &str,
    ) -> Result<Option<(String, u32)>, DataError> {
        let by_id = || self.ids(id_name).into_iter().find_map(|id| Some((inner.id_to_token(id)?, id)));
        Ok(self.named(inner, path, name)?.or_else(by_id))
    }

    /// Text and id of a special token by its text under `name`.
    fn named(
        &self,
        inner: &tokenizers::Tokenizer,
        path: &Path,
        name: &str,
    ) -> Result<Option<(String, u32)>, DataError> {
        let texts = [&self.tokenizer_config, &self.special_tokens_map];
        let Some((file, token)) =
            texts.into_iter().find_map(|(file, value)| Some((file, token_text(&value[name])?)))
        else {
            return Ok(None);
        };
        let id = inner.token_to_id(token).ok_or_else(|| DataError::TokenizerBroken {
            path: path.to_owned(),
            reason: format!("it lacks the token `{token}`, which {} names as {name}", file.display()),
        })?;
        Ok(Some((token.to_owned(), id)))
    }

    /// The ids under `name`: a number or a list, in `config.json` and `generation_config.json`.
    fn ids(&self, name: &str) -> Vec<u32> {
        let as_id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        [&self.config.1[name], &self.generation_config.1[name]]
            .into_iter()
            .flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]))
            .filter_map(|value| as_id(&value))
            .collect()
    }

    fn config_size(&self, name: &str) -> Option<usize> {
        self.config.1[name].as_u64().and_then(|size| usize::try_from(size).ok())
    }

    fn chat_template(&self, folder: &Path) -> Result<Option<ChatTemplate>, DataError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::test_model::TestModel, *};

    #[test]
    fn round_trip_without_added_tokens() {
        let tokenizer = TestModel::new().tokenizer();
        let ids = tokenizer.encode("Grüße<|end|>!").unwrap();
        assert_eq!(ids.len(), "Grüße!".len() + 1);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "Grüße<|end|>!");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), "Grüße!");
    }

    #[test]
    fn special_tokens_by_text_or_id() {
        let model = TestModel::new();
        let tokenizer = model.tokenizer();
        assert_eq!(tokenizer.eos_token(), "<|end|>");
        assert_eq!(tokenizer.stop_ids(), [tokenizer.eos_id()]);
        assert_eq!(tokenizer.pad_id(), tokenizer.eos_id());

        model.write("tokenizer_config.json", &json!({"pad_token": {"content": "<|pad|>"}}));
        model.write(
            "config.json",
            &json!({"eos_token_id": [257, 256], "bos_token_id": 257, "max_position_embeddings": 64}),
        );
        let tokenizer = model.tokenizer();
        assert_eq!(tokenizer.eos_id(), 257);
        assert_eq!(tokenizer.stop_ids(), [256, 257]);
        assert_eq!(tokenizer.decode(&[tokenizer.pad_id()], true).unwrap(), "<|pad|>");
        assert_eq!(tokenizer.context_length(), Some(64));
        assert_eq!(tokenizer.bos_token(), None);
    }

    #[test]
    fn prefix_is_added_once() {
        let model = TestModel::new();
        assert_eq!(model.tokenizer().encode_with_prefix("a").unwrap().len(), 1);
        model.add_bos();
        let tokenizer = model.tokenizer();
        let bos = tokenizer.encode("<|begin|>").unwrap();
        assert_eq!(
            tokenizer.encode_with_prefix("a").unwrap(),
            [bos.clone(), tokenizer.encode("a").unwrap()].concat()
        );
        assert_eq!(
            tokenizer.encode_with_prefix("<|begin|>a").unwrap(),
            tokenizer.encode("<|begin|>a").unwrap()
        );
        assert!(!tokenizer.encode("a").unwrap().starts_with(&bos));
    }

    #[test]
    fn chat_template_of_file_config_and_list() {
        let model = TestModel::new();
        assert_eq!(model.tokenizer().chat_template(), None);
        let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        model.write("tokenizer_config.json", &json!({"eos_token": "<|end|>", "chat_template": list}));
        assert_eq!(model.tokenizer().chat_template().unwrap().source, "d");
        model.write_text("chat_template.jinja", "j");
        assert_eq!(model.tokenizer().chat_template().unwrap().source, "j");
    }

    #[test]
    fn missing_and_broken_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Tokenizer::load(folder.path()), Err(DataError::TokenizerNotFound { .. })));
        let model = TestModel::new();
        model.write_text("config.json", "{");
        assert!(matches!(model.load(), Err(DataError::TokenizerBroken { .. })));
        let model = TestModel::new();
        model.write_text("tokenizer.json", "{\"version\": \"1.0\"}");
        assert!(matches!(model.load(), Err(DataError::TokenizerBroken { .. })));
        let model = TestModel::new();
        model.write("tokenizer_config.json", &json!({"eos_token": "</s>"}));
        let error = model.load().err().unwrap().to_string();
        assert!(error.contains("`</s>`") && error.contains("tokenizer_config.json"), "{error}");
        model.write("tokenizer_config.json", &json!({}));
        assert!(matches!(model.load(), Err(DataError::NoEndOfSequence { .. })));
    }

    #[test]
    fn tokens_beyond_the_models_vocabulary() {
        let model = TestModel::new();
        model.write("config.json", &json!({"vocab_size": 100}));
        assert!(matches!(model.load(), Err(DataError::Vocabulary { vocab_size: 100, .. })));
        model.write("config.json", &json!({"vocab_size": 256}));
        let error = model.load().err().unwrap().to_string();
        assert!(error.contains("`<|end|>` has id 256"), "{error}");
        model.write("config.json", &json!({"vocab_size": 257}));
        let tokenizer = model.tokenizer();
        assert!(tokenizer.encode("a<|end|>").is_ok());
        assert!(matches!(tokenizer.encode("a<|user|>"), Err(DataError::Vocabulary { .. })));
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_ignored() {
        let model = TestModel::new();
        model.change_tokenizer(|json| {
            json["truncation"] =
                json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
            json["padding"] = json!({"strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
        });
        assert_eq!(model.tokenizer().encode("abcdef").unwrap().len(), 6);
    }
}
