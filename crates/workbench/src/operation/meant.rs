//! Arguments taken for what they mean: clients and models write the same thing in several ways, and add things of their
//! own.
//!
//! What can only mean one thing is read as that; everything else is left as it is, for the check to refuse. The rules
//! stand in `docs/mcp.md`.

use greentune_core_config::choice;
use serde_json::{Map, Number, Value};

/// Arguments that clients add for themselves, by the names that public reports of strict MCP servers complain of: `explanation`
/// and the summaries of editors, `random_string` and `dummy` for tools without arguments, `thought` and its like of agents,
/// `action`, `chatInput` and `toolCallId` of workflow engines. No standard lists them: that a name is on this list is a
/// judgement, and one that a tool has itself is never taken for a client's.
const OF_CLIENTS: &[&str] = &[
    "action",
    "chatInput",
    "dummy",
    "explanation",
    "random_string",
    "requires_approval",
    "security_risk",
    "task_progress",
    "thought",
    "toolName",
    "tool_name",
    "toolSummary",
    "toolAction",
    "tool",
    "waitForPreviousTools",
    "wait_for_previous",
];

/// Endings of names that clients give to their own records, such as `sessionId` and `tool_call_id`.
const ENDINGS_OF_CLIENTS: &[&str] = &["Id", "ID", "_id", "Uuid", "_uuid"];

/// `given` as an object of `schema`, at the top of a call: without what the client added, and with values as `value`
/// reads them.
pub(super) fn arguments(
    given: Map<String, Value>,
    schema: &Map<String, Value>,
    root: &Map<String, Value>,
) -> Map<String, Value> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_known = |name: &str| properties.is_some_and(|properties| known(properties, name).is_some());
    let kept = given.into_iter().filter(|(name, _)| is_known(name) || !is_of_client(name, properties));
    object(kept.collect(), schema, root)
}

/// Names as `schema` writes them, values as it wants them, optional ones without a value left out.
fn object(
    given: Map<String, Value>,
    schema: &Map<String, Value>,
    root: &Map<String, Value>,
) -> Map<String, Value> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return given };
    let exact: Vec<String> = given.keys().filter(|name| properties.contains_key(*name)).cloned().collect();
    let mut read = Map::new();
    for (name, found) in given {
        let meant = known(properties, &name).filter(|meant| **meant == name || !exact.contains(meant));
        let Some(meant) = meant else {
            read.insert(name, found);
            continue;
        };
        let schema = super::arguments::resolve(&properties[meant], root);
        let found = schema.map_or(found.clone(), |schema| value(found, schema, root));
        // An empty text says nothing, as null does.
        if !found.is_null() && found != "" {
            read.insert(meant.clone(), found);
        }
    }
    read
}

/// The property that `name` means: itself, or the one that is written so in another case, such as `runId` or `run-id`.
fn known<'p>(properties: &'p Map<String, Value>, name: &str) -> Option<&'p String> {
    let exact = properties.get_key_value(name);
    exact.or_else(|| properties.get_key_value(&snake_case(name))).map(|(known, _)| known)
}

fn snake_case(name: &str) -> String {
    let mut written = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !written.is_empty() && !written.ends_with('_') {
            written.push('_');
        }
        written.push(if letter == '-' { '_' } else { letter.to_ascii_lowercase() });
    }
    written
}

fn is_of_client(name: &str, properties: Option<&Map<String, Value>>) -> bool {
    if name.starts_with(['_', '$']) || OF_CLIENTS.contains(&name) {
        return true;
    }
    let names = properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str));
    ENDINGS_OF_CLIENTS.iter().any(|ending| name.ends_with(ending))
        && greentune_core_config::ids::nearest(names, name).is_empty()
}

/// `found` as `schema` wants it, where that is plain.
fn value(found: Value, schema: &Map<String, Value>, root: &Map<String, Value>) -> Value {
    let found = match &found {
        Value::String(text) => {
            from_text(text, schema).or_else(|| word(text, schema).map(Value::from)).unwrap_or(found)
        }
        Value::Number(number) if wants(schema, "integer") => whole(number).unwrap_or(found),
        _ => found,
    };
    match found {
        Value::Object(inner) => object(inner, schema, root).into(),
        Value::Array(items) => {
            let schema = schema.get("items").and_then(|items| super::arguments::resolve(items, root));
            let read = |item| schema.map_or(Value::clone(&item), |schema| value(item, schema, root));
            items.into_iter().map(read).collect()
        }
        other => other,
    }
}

/// The word of those that `schema` allows that `text` means.
fn word<'s>(text: &str, schema: &'s Map<String, Value>) -> Option<&'s str> {
    let words = schema.get("enum")?.as_array()?;
    choice::meant(words.iter().filter_map(Value::as_str), text)
}

/// What `text` writes, where `schema` wants no text.
fn from_text(text: &str, schema: &Map<String, Value>) -> Option<Value> {
    if wants(schema, "string") {
        return None;
    }
    let trimmed = text.trim();
    if wants(schema, "boolean") {
        return trimmed.to_ascii_lowercase().parse().ok().map(Value::Bool);
    }
    if wants(schema, "integer") || wants(schema, "number") {
        let unsigned = trimmed.parse::<u64>().ok().map(Number::from);
        let number = unsigned.or_else(|| trimmed.parse().ok().and_then(Number::from_f64))?;
        return if wants(schema, "integer") { whole(&number) } else { Some(Value::Number(number)) };
    }
    let written = serde_json::from_str::<Value>(trimmed).ok();
    if wants(schema, "object") {
        return written.filter(Value::is_object);
    }
    let one = || Value::Array(vec![Value::from(text)]);
    let is_list = wants(schema, "array");
    is_list.then(|| written.filter(Value::is_array).or_else(|| (!trimmed.is_empty()).then(one))).flatten()
}

/// `7.0` as 7.
fn whole(number: &Number) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_u64() || number.is_i64() {
        return Some(Value::Number(number.clone()));
    }
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() <= EXACT)?;
    Some(Value::from(value as i64))
}

fn wants(schema: &Map<String, Value>, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|one| one == name),
        one => one.is_some_and(|one| one == name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(given: Value) -> Value {
        let schema = json!({ "properties": {
            "name": { "type": "string" }, "run_id": { "type": "string" },
            "show": { "type": "integer" }, "rate": { "type": "number" }, "force": { "type": "boolean" },
            "files": { "type": "array", "items": { "type": "string" } },
            "runs": { "type": ["string", "array"] },
            "kind": { "type": "string", "enum": ["q8", "none"] },
            "settings": { "type": "object" },
            "section": { "type": "object", "properties": { "steps": { "type": "integer" } } },
        } });
        let Value::Object(given) = given else { return Value::Null };
        let schema = schema.as_object().unwrap();
        arguments(given, schema, schema).into()
    }

    #[test]
    fn numbers_flags_lists_and_objects_may_be_written_as_text() {
        assert_eq!(
            read(json!({
                "show": "1", "rate": " 1e-3 ", "force": "True", "files": "[\"a\", \"b\"]",
                "settings": "{\"lora.rank\": 4}", "section": "{\"steps\": \"5\"}", "kind": "q8",
            })),
            json!({
                "show": 1, "rate": 1e-3, "force": true, "files": ["a", "b"], "settings": { "lora.rank": 4 },
                "section": { "steps": 5 }, "kind": "q8",
            })
        );
        assert_eq!(
            read(json!({ "show": 1.0, "files": "a.jsonl" })),
            json!({ "show": 1, "files": ["a.jsonl"] })
        );
        assert_eq!(read(json!({ "runs": "[a]", "name": "7" })), json!({ "runs": "[a]", "name": "7" }));
    }

    #[test]
    fn words_are_taken_whatever_their_case() {
        assert_eq!(read(json!({ "kind": "Q8" })), json!({ "kind": "q8" }));
        assert_eq!(read(json!({ "name": "Q8" })), json!({ "name": "Q8" }));
    }

    #[test]
    fn what_is_not_plain_is_left_for_the_check() {
        let odd = json!({ "show": "one", "rate": "NaN", "force": "yes", "settings": "[1]", "kind": "q9" });
        assert_eq!(read(odd.clone()), odd);
        assert_eq!(read(json!({ "show": 1.5, "name": 7 })), json!({ "show": 1.5, "name": 7 }));
    }

    #[test]
    fn nothing_is_what_null_and_an_empty_text_say() {
        assert_eq!(
            read(json!({ "name": null, "show": "", "run_id": "", "section": { "steps": null } })),
            json!({ "section": {} })
        );
    }

    #[test]
    fn names_may_be_written_in_another_case() {
        assert_eq!(read(json!({ "runId": "r", "Force": true })), json!({ "run_id": "r", "force": true }));
        assert_eq!(read(json!({ "runId": "a", "run_id": "b" })), json!({ "runId": "a", "run_id": "b" }));
    }

    #[test]
    fn what_clients_add_is_left_out_and_what_is_misspelt_is_not() {
        let added = json!({
            "sessionId": "s", "action": "sendMessage", "chatInput": "hi", "toolCallId": "c", "random_string": "x",
            "_meta": {}, "thread_id": "t", "requestID": 1,
        });
        assert_eq!(read(added), json!({}));
        let misspelt =
            json!({ "nam": "x", "run_idd": "r", "optimizer": "adam", "section": { "sessionId": 1 } });
        assert_eq!(read(misspelt.clone()), misspelt);
    }
}
