//! JSON schemas of requests and responses, as small and as plain as clients need them.

use rmcp::model::JsonObject;
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

/// The schema of arguments: fields that are not in it are refused, an optional one is left out, not null.
///
/// Models read it in every conversation, so a type that a field refers to is not described once more.
pub(crate) fn input<T: JsonSchema>() -> JsonObject {
    let mut schema = root::<T>(settings().with_transform(RecursiveTransform(|schema: &mut Schema| {
        leave_out_null(schema);
        list_values(schema);
        refuse_unknown(schema);
    })));
    let types = schema.get_mut("$defs").and_then(Value::as_object_mut);
    for definition in types.into_iter().flat_map(|types| types.values_mut()).filter_map(Value::as_object_mut)
    {
        definition.remove("description");
    }
    schema
}

/// The schema of structured content: the response's, or a problem's when the call failed.
///
/// A failed call's content is a problem, and version 1 of the TypeScript client holds it against the output schema
/// as well, so the schema must admit both.
pub(crate) fn output<T: JsonSchema>() -> JsonObject {
    let mut schema = root::<T>(settings().for_serialize());
    let required = schema.remove("required").unwrap_or_else(|| json!([]));
    schema.insert(
        String::from("anyOf"),
        json!([
            { "title": "Response", "required": required },
            { "title": "Problem", "required": ["kind", "code", "message", "retryable"] },
        ]),
    );
    schema
}

/// JSON Schema 2020-12 without naming it: it is the protocol's default, and some clients' validators know no other
/// than their own by name. Formats and the limit of a byte are Rust's number types, not the field's meaning.
fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None).with_transform(
        RecursiveTransform(|schema: &mut Schema| {
            if schema.remove("format") == Some(json!("uint8")) {
                schema.remove("maximum");
            }
        }),
    )
}

fn root<T: JsonSchema>(settings: SchemaSettings) -> JsonObject {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // The tool has a title and a description of its own.
    schema.remove("title");
    schema.remove("description");
    std::mem::take(schema.ensure_object())
}

fn leave_out_null(schema: &mut Schema) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert(String::from("type"), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&null));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            schema.ensure_object().extend(only);
        }
    }
}

/// `{"type": "string", "enum": ["a", "b"]}` for a choice between described constants.
fn list_values(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let names: Option<Vec<&str>> = choices.iter().map(|choice| choice.get("const")?.as_str()).collect();
    if let Some(names) = names {
        let names = json!(names);
        schema.remove("oneOf");
        schema.insert(String::from("type"), json!("string"));
        schema.insert(String::from("enum"), names);
    }
}

fn refuse_unknown(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert(String::from("additionalProperties"), Value::Bool(false));
    }
}
