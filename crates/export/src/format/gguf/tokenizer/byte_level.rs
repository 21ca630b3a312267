//! Byte-level BPE (GPT-2): tokens of bytes written as letters, text split by a regular expression first.

use serde_json::json;

use super::{File, Metadata, Value, is, names, no_defaults, refused, steps};
use crate::error::ExportError;

/// A way of splitting text: an expression, and whether a whole piece that is a token is taken without merging.
struct Split {
    /// Its name in llama.cpp.
    name: &'static str,
    expression: &'static str,
    ignores_merges: Option<bool>,
}

const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const ONE_DIGIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BY_CASE: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The expressions that a `tokenizer.json` has and llama.cpp knows.
const SPLITS: [Split; 4] = [
    Split { name: "llama-bpe", expression: THREE_DIGITS, ignores_merges: Some(true) },
    Split { name: "dbrx", expression: THREE_DIGITS, ignores_merges: Some(false) },
    Split { name: "qwen2", expression: ONE_DIGIT, ignores_merges: Some(false) },
    Split { name: "tekken", expression: BY_CASE, ignores_merges: None },
];

pub(super) fn describe(file: &File, metadata: &mut Metadata) -> Result<(), ExportError> {
    // llama.cpp does not compose characters; what is typed is composed as a rule.
    let normalizers = steps(&file.normalizer, "normalizers");
    if normalizers.iter().any(|step| step["type"] != "NFC") {
        return Err(refused(format!(
            "its tokenizer changes text before it splits it ({}), which llama.cpp does not do for byte-level BPE",
            names(&normalizers)
        )));
    }
    metadata.put_text("tokenizer.ggml.model", "gpt2");
    metadata.put_text("tokenizer.ggml.pre", pre_tokenizer(file)?);
    let merges = file.model.merges.iter().map(|merge| {
        let parts = merge.parts().filter(|(left, right)| !left.contains(' ') && !right.contains(' '));
        parts
            .map(|(left, right)| format!("{left} {right}"))
            .ok_or_else(|| refused("a merge of its tokenizer does not have two parts without spaces"))
    });
    metadata.put("tokenizer.ggml.merges", Value::Texts(merges.collect::<Result<_, _>>()?));
    Ok(())
}

/// llama.cpp's name for the way in which the tokenizer splits text.
fn pre_tokenizer(file: &File) -> Result<&'static str, ExportError> {
    let steps = steps(&file.pre_tokenizer, "pretokenizers");
    let merges = !file.model.ignore_merges;
    let bytes = |step, splits: bool| {
        let fields = [("add_prefix_space", json!(false)), ("use_regex", json!(splits))];
        is(step, "ByteLevel", &fields, &json!({"add_prefix_space": true, "use_regex": true}))
    };
    let digits = |step| is(step, "Digits", &[("individual_digits", json!(true))], &no_defaults());
    let known = match steps[..] {
        [last] if bytes(last, true) && merges => Some("gpt-2"),
        [first, last] if digits(first) && bytes(last, true) && merges => Some("smollm"),
        [first, last] if bytes(last, false) => {
            let isolates = [("behavior", json!("Isolated")), ("invert", json!(false))];
            let keeps = [("behavior", json!("Removed")), ("invert", json!(true))];
            let splits =
                is(first, "Split", &isolates, &no_defaults()) || is(first, "Split", &keeps, &no_defaults());
            let expression = first["pattern"]["Regex"].as_str().filter(|_| splits);
            let found = SPLITS.iter().find(|split| {
                Some(split.expression) == expression
                    && split.ignores_merges.is_none_or(|ignores| ignores != merges)
            });
            found.map(|split| split.name)
        }
        _ => None,
    };
    known.ok_or_else(|| {
        let known = SPLITS.map(|split| split.name).join(", ");
        refused(format!(
            "its tokenizer splits text ({}{}) as none does that llama.cpp has and that is known here: gpt-2, smollm, {known}",
            names(&steps),
            if merges { "" } else { ", whole tokens before merges" },
        ))
    })
}
