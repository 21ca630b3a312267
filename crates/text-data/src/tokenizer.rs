//! The tokenizer of a model folder, with its special tokens and chat template.

mod beginning;
mod limits;
mod parts;
mod special_files;

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

pub(super) use self::beginning::Beginning;
use self::{parts::Parts, special_files::SpecialFiles};
use super::{control_tokens::ControlTokens, error::DataError};

/// Text to token ids and back, as the model's folder defines it.
pub struct Tokenizer {
    inner: Parts,
    path: PathBuf,
    /// What the tokenizer's own post-processing puts in front of a text, such as the beginning of a sequence.
    prefix: Vec<u32>,
    named_special_tokens: Vec<(String, String)>,
    control_tokens: ControlTokens,
    eos_token: String,
    eos_id: u32,
    stop_ids: Vec<u32>,
    stop_tokens: Vec<String>,
    pad_id: u32,
    chat_template: Option<ChatTemplate>,
    vocab_size: Option<usize>,
    context_length: Option<usize>,
}

/// Token ids of a text, and of each where it stands in it, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) ids: Vec<u32>,
    pub(crate) spans: Vec<Range<usize>>,
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
    /// the last two end a generation. A beginning or an end of sequence that the tokenizer does not treat as a token of
    /// its own becomes one, as in transformers; padding that it lacks is the end of sequence. The chat template is `chat_template.jinja`, else the one in
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`DataError::TokenizerNotFound`], [`DataError::TokenizerBroken`] (any of these files),
    /// [`DataError::Vocabulary`] (more tokens than the model has), [`DataError::NoEndOfSequence`].
    pub fn load(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("tokenizer.json");
        let mut inner = read_tokenizer(&path)?;
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
        let named_pad = files.text("pad_token").and_then(|(_, token)| inner.token_to_id(token));
        let pad = named_pad.or_else(|| files.ids("pad_token_id").into_iter().next());
        let prefix = added_prefix(&inner)?;
        // It changes where tokens stand, and adds nothing to what is encoded without special tokens.
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        // Models that begin with nothing still have an id for it in `config.json`.
        let beginning = files.text("bos_token").map(|(_, token)| token.to_owned());
        let ends = [Some(eos_token.clone()), beginning].into_iter().flatten();
        inner.add_special_tokens(&ends.map(|token| AddedToken::from(token, true)).collect::<Vec<_>>());
        let named = files.named_tokens();
        let is_control =
            |token: &AddedToken| token.special || named.iter().any(|(_, name)| *name == token.content);
        let added = inner.get_added_tokens_decoder().into_values();
        let control_tokens: Vec<_> = added.filter(is_control).map(|token| token.content).collect();
        Ok(Self {
            prefix,
            control_tokens: ControlTokens::new(control_tokens.into_iter().chain(files.chat_control_tokens())),
            named_special_tokens: with_end(named, &eos_token),
            stop_tokens: stop_ids.iter().filter_map(|id| inner.id_to_token(*id)).collect(),
            // Padding is masked, so that any id that the embedding has will do.
            pad_id: pad.filter(within).unwrap_or(eos_id),
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
    /// [`DataError::Tokenize`]; [`DataError::TokenizerGaveUp`] when a search with one of its regular expressions fails;
    /// [`DataError::Vocabulary`] when a token is unknown to the model.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = tokenized(|| self.inner.encode_fast(text, false))?;
        let ids = encoding.get_ids().to_vec();
        self.check(&ids)?;
        Ok(ids)
    }

    /// Token ids of the whole of `text`, and where each stands. Of a marked text the control tokens of contents become
    /// the text that they are.
    ///
    /// The pieces between marks are encoded as transformers' `encode_marked_chat` does (5.23): behind a newline that is
    /// taken away again, so that a tokenizer that puts a space in front of every text does not put one into it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(super) fn encode_whole(&self, text: &str, is_marked: bool) -> Result<Encoded, DataError> {
        if !is_marked {
            return self.encode_piece(text, 0);
        }
        let newline = self.encode("\n")?;
        let mut whole = Encoded::default();
        for piece in self.control_tokens.pieces(text) {
            let (start, written) = (piece.range.start, &text[piece.range.clone()]);
            let encode = |text: &str| {
                if piece.is_plain {
                    let ids = self.encode_plain(text)?;
                    Ok(Encoded { spans: vec![piece.range.clone(); ids.len()], ids })
                } else {
                    self.encode_piece(text, start.wrapping_sub(text.len() - written.len()))
                }
            };
            let mut encoded = if start == 0 { encode(written)? } else { encode(&format!("\n{written}"))? };
            if start > 0 {
                if encoded.ids.starts_with(&newline) {
                    encoded.ids.drain(..newline.len());
                    encoded.spans.drain(..newline.len());
                } else {
                    encoded = encode(written)?;
                }
            }
            whole.ids.extend(encoded.ids);
            whole.spans.extend(encoded.spans);
        }
        self.check(&whole.ids)?;
        Ok(whole)
    }

    /// What the tokenizer's own post-processing puts in front of a text that is encoded as `ids` (for Llama the beginning
    /// of the sequence, for OLMo-2 nothing), once: nothing when the text spells it out already.
    pub(super) fn prefix_of(&self, ids: &[u32]) -> &[u32] {
        if ids.starts_with(&self.prefix) { &[] } else { &self.prefix }
    }

    /// The token ids of `text`, which stands at `start` of another.
    fn encode_piece(&self, text: &str, start: usize) -> Result<Encoded, DataError> {
        let encoding = tokenized(|| self.inner.encode(text, false))?;
        let ids = encoding.get_ids().to_vec();
        self.check(&ids)?;
        let at = |offset: usize| start.wrapping_add(offset);
        let spans = encoding.get_offsets().iter().map(|(from, to)| at(*from)..at(*to)).collect();
        Ok(Encoded { ids, spans })
    }

    /// The token ids of `text` in which no control token is recognised.
    fn encode_plain(&self, text: &str) -> Result<Vec<u32>, DataError> {
        tokenized(|| {
            let mut pieces = PreTokenizedString::from(text);
            if let Some(normalizer) = self.inner.get_normalizer() {
                pieces.normalize(|piece| tokenizers::Normalizer::normalize(normalizer, piece))?;
            }
            if let Some(splitter) = self.inner.get_pre_tokenizer() {
                splitter.pre_tokenize(&mut pieces)?;
            }
            let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
            let mut ids = Vec::new();
            for (split, _, _) in splits {
                let tokens = tokenizers::Model::tokenize(self.inner.get_model(), split)?;
                ids.extend(tokens.into_iter().map(|token| token.id));
            }
            Ok(ids)
        })
    }

    fn check(&self, ids: &[u32]) -> Result<(), DataError> {
        if let Some(vocab_size) = self.vocab_size
            && let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size)
        {
            let token = self.inner.id_to_token(*id).unwrap_or_default();
            let what = format!("token `{token}` has id {id}");
            return Err(DataError::Vocabulary { path: self.path.clone(), what, vocab_size });
        }
        Ok(())
    }

    /// Text of `ids`; special tokens are spelled out with `with_special`, else left out.
    ///
    /// # Errors
    /// [`DataError::Tokenize`], [`DataError::TokenizerGaveUp`].
    pub fn decode(&self, ids: &[u32], with_special: bool) -> Result<String, DataError> {
        tokenized(|| self.inner.decode(ids, !with_special))
    }

    /// The end-of-sequence token's id.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }
    /// The end-of-sequence token's text.
    pub(crate) fn eos_token(&self) -> &str {
        &self.eos_token
    }
    /// Every special token that has a name, as chat templates get them; the end of sequence is among them.
    pub(crate) fn named_special_tokens(&self) -> &[(String, String)] {
        &self.named_special_tokens
    }
    /// The tokens that are more than the text they are written with.
    pub(crate) fn control_tokens(&self) -> &ControlTokens {
        &self.control_tokens
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

fn read_tokenizer(path: &Path) -> Result<Parts, DataError> {
    let bytes = limits::read_file(path)?;
    let broken = |reason| DataError::TokenizerBroken { path: path.to_owned(), reason };
    let mut inner = guarded(|| Parts::from_bytes(&bytes)).map_err(broken)?;
    // Both may be left over in the file from whoever saved it, and would cut or lengthen records silently.
    guarded(|| inner.with_truncation(None).map(drop)).map_err(broken)?;
    inner.with_padding(None);
    limits::check(&inner, path)?;
    Ok(inner)
}

fn check_vocabulary(inner: &Parts, path: &Path, vocab_size: Option<usize>) -> Result<(), DataError> {
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

/// What `work` gives, unless a search in it failed.
fn tokenized<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, DataError> {
    match parts::with_failure(|| guarded(work)) {
        (_, Some(reason)) => Err(DataError::TokenizerGaveUp { reason }),
        (result, None) => result.map_err(|reason| DataError::Tokenize { reason }),
    }
}

/// What the library makes of a text or a file, or why it does not. It panics where a file contradicts itself.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("its content contradicts itself".to_owned()),
    }
}

/// The named tokens, among them the end of sequence `eos_token` even where only its id is known.
fn with_end(mut tokens: Vec<(String, String)>, eos_token: &str) -> Vec<(String, String)> {
    if tokens.iter().all(|(name, _)| name != "eos_token") {
        tokens.push(("eos_token".to_owned(), eos_token.to_owned()));
    }
    tokens
}

fn added_prefix(inner: &Parts) -> Result<Vec<u32>, DataError> {
    let encoding = tokenized(|| inner.encode("a", true))?;
    let added = encoding.get_special_tokens_mask().iter().take_while(|mask| **mask == 1).count();
    Ok(encoding.get_ids()[..added].to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::test_model::TestModel, *};

    #[test]
    fn what_makes_the_library_panic_is_refused() {
        let model = TestModel::new();
        model.change_tokenizer(|json| json["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}));
        let error = model.load().err().expect("a refusal");
        assert!(error.to_string().contains("contradicts itself"), "{error}");
    }

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
        assert!(tokenizer.named_special_tokens().iter().all(|(name, _)| name != "bos_token"));
    }

    #[test]
    fn prefix_is_added_once() {
        let model = TestModel::new();
        let prefix = |tokenizer: &Tokenizer, text: &str| {
            tokenizer.prefix_of(&tokenizer.encode_whole(text, false).unwrap().ids).to_vec()
        };
        assert!(prefix(&model.tokenizer(), "a").is_empty());
        model.add_bos();
        let tokenizer = model.tokenizer();
        let bos = tokenizer.encode("<|begin|>").unwrap();
        assert_eq!(prefix(&tokenizer, "a"), bos);
        assert!(prefix(&tokenizer, "<|begin|>a").is_empty());
        assert!(!tokenizer.encode("a").unwrap().starts_with(&bos));
    }

    #[test]
    fn special_tokens_have_the_names_that_templates_know() {
        let model = TestModel::new();
        model.write(
            "tokenizer_config.json",
            &json!({"eos_token": "<|end|>", "pad_token": {"content": "[PAD]"}, "unk_token": null,
                "add_bos_token": true, "extra_special_tokens": {"image_token": "<image>"}}),
        );
        model.write("special_tokens_map.json", &json!({"sep_token": "<sep>", "eos_token": "<other>"}));
        let tokenizer = model.tokenizer();
        let named: Vec<_> = tokenizer
            .named_special_tokens()
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("eos_token", "<|end|>"),
                ("pad_token", "[PAD]"),
                ("image_token", "<image>"),
                ("sep_token", "<sep>")
            ]
        );
        // Padding that the tokenizer lacks is masked like any other.
        assert_eq!(tokenizer.pad_id(), tokenizer.eos_id());
    }

    #[test]
    fn a_beginning_that_the_tokenizer_lacks_is_refused_once_it_is_written() {
        let model = TestModel::new();
        model.write("tokenizer_config.json", &json!({"eos_token": "<|end|>", "bos_token": "<s>"}));
        model.write("config.json", &json!({"vocab_size": 261}));
        let tokenizer = model.tokenizer();
        assert!(tokenizer.encode("a").is_ok());
        let error = tokenizer.encode("<s>a").unwrap_err().to_string();
        assert!(error.contains("`<s>` has id 261"), "{error}");
    }

    #[test]
    fn where_tokens_stand_and_what_marks_keep_as_text() {
        let tokenizer = TestModel::new().tokenizer();
        let encoded = tokenizer.encode_whole("aé<|end|>", false).unwrap();
        assert_eq!(encoded.spans, [0..1, 1..3, 1..3, 3..10]);
        let marked = tokenizer.control_tokens().mark("a<|end|>b") + "<|end|>";
        let encoded = tokenizer.encode_whole(&marked, true).unwrap();
        let plain: Vec<_> =
            "a<|end|>b".chars().map(|c| tokenizer.encode(&c.to_string()).unwrap()[0]).collect();
        assert_eq!(encoded.ids, [plain, vec![tokenizer.eos_id()]].concat());
        assert_eq!(encoded.spans.last(), Some(&(marked.len() - 7..marked.len())));
        assert_eq!(encoded.spans[1], 5..12);
        assert!(encoded.spans.is_sorted_by_key(|span| span.end));
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
