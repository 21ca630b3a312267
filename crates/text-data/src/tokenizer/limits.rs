//! What a tokenizer may make of a text: one from a stranger must not turn a few bytes into more than memory holds, or
//! take time with the square of a word.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;
use tokenizers::ModelWrapper;

use crate::error::DataError;

/// How many times as long a text may become by what `tokenizer.json` replaces in it. The usual replacement of a space by
/// `▁` makes it three times as long.
const MOST_GROWTH: usize = 64;

/// Characters of a word that WordPiece looks up at most; its time grows with their square. The usual limit is 100.
const MOST_WORD_CHARACTERS: usize = 10_000;

/// Bytes of a tokenizer's file; the largest in use have about 40 MB.
const FILE_BYTES: u64 = 512 << 20;

/// The content of a tokenizer's file.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => DataError::TokenizerNotFound { path: path.to_owned() },
        _ => DataError::Unreadable { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        let reason = format!("it has more than {} MiB", FILE_BYTES >> 20);
        return Err(DataError::TokenizerBroken { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

/// Refuses the tokenizer in `path` if a text may grow by it beyond measure.
pub(super) fn check(inner: &tokenizers::Tokenizer, path: &Path) -> Result<(), DataError> {
    let refused = |reason| Err(DataError::TokenizerBroken { path: path.to_owned(), reason });
    let replaces = |part: serde_json::Result<Value>| growth(&part.unwrap_or_default());
    for (part, growth) in [
        ("normalizer", replaces(serde_json::to_value(inner.get_normalizer()))),
        ("decoder", replaces(serde_json::to_value(inner.get_decoder()))),
    ] {
        if growth > MOST_GROWTH {
            return refused(format!(
                "its {part} may make a text {growth} times as long; {MOST_GROWTH} times are allowed"
            ));
        }
    }
    match inner.get_model() {
        ModelWrapper::WordPiece(model) if model.max_input_chars_per_word > MOST_WORD_CHARACTERS => {
            refused(format!(
                "its max_input_chars_per_word is {}; {MOST_WORD_CHARACTERS} are allowed",
                model.max_input_chars_per_word
            ))
        }
        _ => Ok(()),
    }
}

/// How many times as long a text is at most behind the replacements of `part`, a normalizer or a decoder as
/// `tokenizer.json` has it.
fn growth(part: &Value) -> usize {
    let inner = ["normalizers", "decoders"].iter().find_map(|key| part[*key].as_array());
    if let Some(inner) = inner {
        return inner.iter().map(growth).fold(1, usize::saturating_mul);
    }
    let length = |text: &Value| text.as_str().map_or(0, str::len);
    match part["type"].as_str() {
        Some("Replace") => match length(&part["pattern"]["String"]) {
            // A regular expression may match a byte, and nothing between two.
            0 => length(&part["content"]) + 1,
            pattern => length(&part["content"]).div_ceil(pattern).max(1),
        },
        Some("Prepend") => length(&part["prepend"]).max(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_model::TestModel;

    fn replace(pattern: &Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    fn refusal(part: &str, value: &Value) -> String {
        let model = TestModel::new();
        model.change_tokenizer(|json| json[part] = value.clone());
        model.load().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn replacements_that_explode_are_refused_and_the_usual_ones_are_not() {
        let doubling = replace(&json!({"String": "a"}), "aa");
        for (normalizer, growth) in [
            (json!({"type": "Sequence", "normalizers": vec![doubling.clone(); 40]}), "1099511627776 times"),
            (replace(&json!({"String": "a"}), &"a".repeat(1 << 20)), "1048576 times"),
            (replace(&json!({"Regex": "."}), &"b".repeat(99)), "100 times"),
        ] {
            let refusal = refusal("normalizer", &normalizer);
            assert!(refusal.contains("normalizer") && refusal.contains(growth), "{refusal}");
        }
        let decoder = json!({"type": "Sequence", "decoders": vec![doubling; 40]});
        assert!(refusal("decoder", &decoder).contains("decoder"));
        let usual = json!({"type": "Sequence", "normalizers":
            [{"type": "Prepend", "prepend": "▁"}, replace(&json!({"String": " "}), "▁"), {"type": "NFKC"}]});
        assert_eq!(refusal("normalizer", &usual), "");
    }

    #[test]
    fn words_without_a_limit_are_refused() {
        let model = TestModel::new();
        model.change_tokenizer(|json| {
            json["model"] = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 1_u64 << 40, "vocab": {"[UNK]": 0, "a": 1}});
        });
        let error = model.load().err().unwrap().to_string();
        assert!(error.contains("max_input_chars_per_word is 1099511627776"), "{error}");
    }
}
