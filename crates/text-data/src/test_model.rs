//! A model folder with a tokenizer of bytes, for tests: token id = rank of the byte, special tokens from 256 on.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{error::DataError, tokenizer::Tokenizer};

const SPECIAL_TOKENS: [&str; 5] = ["<|end|>", "<|begin|>", "<|pad|>", "<|user|>", "<|assistant|>"];

/// ChatML-like: each turn ends with the end of sequence and a newline, as OLMo-2's does within a conversation.
pub(super) const CHAT_TEMPLATE: &str = r"{% for message in messages %}
<|{{ message['role'] }}|>
{{ message['content'].strip() }}{{ eos_token }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|assistant|>\n' }}
{%- endif %}
";

pub(super) struct TestModel {
    folder: tempfile::TempDir,
}

impl TestModel {
    pub(super) fn new() -> Self {
        let model = Self { folder: tempfile::tempdir().unwrap() };
        model.write("tokenizer.json", &byte_tokenizer());
        model.write("tokenizer_config.json", &json!({"eos_token": "<|end|>"}));
        model
    }

    pub(super) fn with_chat_template(source: &str) -> Self {
        let model = Self::new();
        model.write_text("chat_template.jinja", source);
        model
    }

    /// Makes the tokenizer put `<|begin|>` in front, and the end of sequence behind, as some do.
    pub(super) fn add_bos(&self) {
        self.change_tokenizer(|json| {
            let special = |token: &str, id: u32| json!({"id": token, "ids": [id], "tokens": [token]});
            let piece = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
            json["post_processor"] = json!({
                "type": "TemplateProcessing",
                "single": [piece("<|begin|>"), {"Sequence": {"id": "A", "type_id": 0}}, piece("<|end|>")],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|begin|>": special("<|begin|>", 257), "<|end|>": special("<|end|>", 256)},
            });
        });
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, value: &Value) {
        self.write_text(name, &value.to_string());
    }

    pub(super) fn write_text(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(super) fn change_tokenizer(&self, change: impl FnOnce(&mut Value)) {
        let mut json = byte_tokenizer();
        change(&mut json);
        self.write("tokenizer.json", &json);
    }

    pub(super) fn load(&self) -> Result<Tokenizer, DataError> {
        Tokenizer::load(self.path())
    }

    pub(super) fn tokenizer(&self) -> Tokenizer {
        self.load().unwrap()
    }
}

fn byte_tokenizer() -> Value {
    let mut alphabet: Vec<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocab: Map<String, Value> =
        alphabet.iter().enumerate().map(|(id, byte)| (byte.to_string(), json!(id))).collect();
    let added: Vec<Value> = SPECIAL_TOKENS
        .iter()
        .enumerate()
        .map(|(index, token)| {
            json!({"id": 256 + index, "content": token, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false})
        })
        .collect();
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": []},
    })
}
