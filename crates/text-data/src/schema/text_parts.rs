//! The text of a content that is given in parts, as OpenAI and templates for several kinds of media have it.

use serde_json::Value;

use super::{
    super::rows::{Fault, Reason},
    wrong_type,
};

/// Kinds of parts that hold text, and the key of the text where it is not `text`.
const TEXT_PARTS: [(&str, &str); 4] =
    [("text", "text"), ("input_text", "text"), ("output_text", "text"), ("refusal", "refusal")];

/// The text of the content `what`: a string, or a list of parts, which are put together without anything in between.
pub(super) fn text(content: &Value, what: &str) -> Result<String, Fault> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => parts.iter().map(|part| part_text(part, what)).collect(),
        Value::Object(part) if part.contains_key("type") => part_text(content, what),
        other => Err(wrong_type(what, other, "a string")),
    }
}

fn part_text(part: &Value, what: &str) -> Result<String, Fault> {
    if let Value::String(text) = part {
        return Ok(text.clone());
    }
    // A table has one column per key of all parts, null where a part lacks it.
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
    let key = TEXT_PARTS.into_iter().find(|(name, _)| *name == kind).map(|(_, key)| key);
    match key.and_then(|key| part.get(key)) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ if key.is_some() => Err(wrong_type(&format!("a part of {what}"), part, "an object with `text`")),
        _ => Err(Fault::new(
            Reason::UnsupportedPart,
            "data.unsupported_part",
            format!("{what} has a part of the type `{kind}`; only text can be learnt"),
        )
        .with_hint("leave out records with images, sounds or files, or keep their texts alone")),
    }
}
