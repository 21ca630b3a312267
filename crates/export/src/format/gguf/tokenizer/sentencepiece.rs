//! BPE of the SentencePiece kind (Llama 2, Mistral): spaces written as `▁`, unknown characters as bytes.
//!
//! llama.cpp merges by the score of the token that results, `tokenizer.json` by the rank of the merge. A token's score is
//! the negative rank of its first merge, so that the order is the same.

use std::collections::BTreeMap;

use serde_json::json;

use super::{File, Kind, Metadata, Tokens, Value, is, names, no_defaults, refused, steps};
use crate::error::ExportError;

/// What stands for a space.
const SPACE: &str = "▁";

pub(super) fn describe(
    file: &File,
    tokens: &mut Tokens,
    ids: &BTreeMap<String, usize>,
    metadata: &mut Metadata,
) -> Result<(), ExportError> {
    let adds_space = adds_space(file)?;
    let mut scores = vec![-(file.model.merges.len() as f32); tokens.texts.len()];
    for (rank, merge) in file.model.merges.iter().enumerate().rev() {
        let merged = merge.parts().and_then(|(left, right)| ids.get(&format!("{left}{right}")));
        let id = merged.ok_or_else(|| refused("a merge of its tokenizer does not make a token"))?;
        // f32 tells ranks apart up to 2^24, and no vocabulary has as many.
        scores[*id] = -(rank as f32);
    }
    for (id, text) in tokens.texts.iter_mut().enumerate() {
        match tokens.kinds[id] {
            Kind::Normal if is_byte(text) => tokens.kinds[id] = Kind::Byte,
            // Looked for in the text itself.
            Kind::UserDefined if !ids.contains_key(&text.replace(SPACE, " ")) => {
                *text = text.replace(SPACE, " ");
            }
            _ => {}
        }
    }
    if let Some(unknown) = file.model.unk_token.as_ref().and_then(|token| ids.get(token)) {
        tokens.kinds[*unknown] = Kind::Unknown;
    }
    metadata.put_text("tokenizer.ggml.model", "llama");
    metadata.put_text("tokenizer.ggml.pre", "default");
    metadata.put("tokenizer.ggml.scores", Value::F32s(scores));
    metadata.put("tokenizer.ggml.add_space_prefix", Value::Bool(adds_space));
    Ok(())
}

/// Whether a text gets a space before it, also behind each special token.
fn adds_space(file: &File) -> Result<bool, ExportError> {
    let normalizers = steps(&file.normalizer, "normalizers");
    let pre_tokenizers = steps(&file.pre_tokenizer, "pretokenizers");
    let prepends = |step| is(step, "Prepend", &[("prepend", json!(SPACE))], &no_defaults());
    let replaces = |step| {
        let fields = [("pattern", json!({"String": " "})), ("content", json!(SPACE))];
        is(step, "Replace", &fields, &no_defaults())
    };
    let by_scheme = |step, scheme: &str| {
        let fields =
            [("replacement", json!(SPACE)), ("prepend_scheme", json!(scheme)), ("split", json!(false))];
        is(step, "Metaspace", &fields, &json!({"prepend_scheme": "always", "split": true}))
    };
    match (&normalizers[..], &pre_tokenizers[..]) {
        ([first, second], []) if prepends(first) && replaces(second) => Ok(true),
        ([only], []) if replaces(only) => Ok(false),
        ([], [only]) if by_scheme(only, "always") => Ok(true),
        ([], [only]) if by_scheme(only, "never") => Ok(false),
        ([], [only]) if by_scheme(only, "first") => Err(refused(
            "its tokenizer puts a space before the beginning of a text alone, and llama.cpp behind each special token too",
        )),
        _ => Err(refused(format!(
            "its tokenizer (normalizer {}, pre-tokenizer {}) is none that llama.cpp's SentencePiece tokenizer equals",
            names(&normalizers),
            names(&pre_tokenizers)
        ))),
    }
}

/// Whether a token stands for a byte: `<0x0A>`.
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
