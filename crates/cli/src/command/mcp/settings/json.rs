//! Settings in JSON, with comments where the client reads them.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Format, Slot, Unusable};

const BYTE_ORDER_MARK: char = '\u{feff}';

pub fn parse(text: &str, format: Format) -> Result<Value, Unusable> {
    Ok(tree(text, format)?.to_serde_value().unwrap_or_default())
}

pub fn write(
    text: &str,
    format: Format,
    slot: Slot<'_>,
    entry: &Map<String, Value>,
) -> Result<String, Unusable> {
    let root = tree(text, format)?;
    let mut servers = root.object_value_or_create().ok_or_else(|| slot.no_servers(0))?;
    for (depth, key) in slot.client.keys.iter().enumerate() {
        servers = servers.object_value_or_create(key).ok_or_else(|| slot.no_servers(depth))?;
    }
    match servers.object_value(slot.name) {
        Some(there) => entry.iter().for_each(|(key, value)| set(&there, key, value)),
        None => set(&servers, slot.name, &Value::Object(entry.clone())),
    }
    Ok(printed(text, &root))
}

pub fn remove(text: &str, format: Format, slot: Slot<'_>) -> Result<String, Unusable> {
    let root = tree(text, format)?;
    let mut servers = root.object_value();
    for key in slot.client.keys {
        servers = servers.and_then(|object| object.object_value(key));
    }
    if let Some(entry) = servers.and_then(|servers| servers.get(slot.name)) {
        entry.remove();
    }
    Ok(printed(text, &root))
}

fn set(object: &CstObject, key: &str, value: &Value) {
    match object.get(key) {
        Some(there) if there.to_serde_value().as_ref() == Some(value) => {}
        Some(there) => there.set_value(input(value)),
        None => drop(object.append(key, input(value))),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => {
            CstInputValue::Object(fields.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

fn tree(text: &str, format: Format) -> Result<CstRootNode, Unusable> {
    let is_commented = format == Format::CommentedJson;
    let options = ParseOptions {
        allow_comments: is_commented,
        allow_trailing_commas: is_commented,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    let root = CstRootNode::parse(text, &options).map_err(|error| Unusable::Damaged(error.to_string()))?;
    // The tree takes comments whatever the options say.
    if !is_commented && !text.trim().is_empty() {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Unusable::Damaged(format!("no plain JSON (a comment?) on line {line} column {column}"))
        })?;
    }
    Ok(root)
}

fn printed(before: &str, root: &CstRootNode) -> String {
    let mark = if before.starts_with(BYTE_ORDER_MARK) { "\u{feff}" } else { "" };
    let text = root.to_string();
    // A file that is new ends its last line.
    let end = if before.trim().is_empty() && !text.ends_with('\n') { "\n" } else { "" };
    format!("{mark}{text}{end}")
}
