//! JSON schemas of requests and responses, as small and as plain as front ends need them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use super::section::common_settings;

/// Levels of records whose fields a response's schema names; what lies deeper is an object.
const OUTLINED_LEVELS: u8 = 2;

/// Values of an `enum` that are refused by this version; they are not named among what is allowed.
pub(super) const NOT_AVAILABLE_YET: &str = "x-not-available-yet";

/// Arguments whose names say what they are.
const EVIDENT: &[&str] = &[
    "base_model_config",
    "batch_size",
    "carbon_config",
    "codecarbon_project_name",
    "dataset_config",
    "deduplicate",
    "description",
    "enable_carbontracking",
    "enable_evaluation",
    "enable_quality_weighting",
    "epochs",
    "features",
    "force",
    "format",
    "idempotency_key",
    "include_emissions",
    "integrations",
    "learning_rate",
    "lora_config",
    "merge_adapters",
    "mlflow_tracking_uri",
    "overwrite",
    "policy",
    "project_name",
    "project_path",
    "run_id",
    "seed",
    "stage2_train_dataset",
    "stage2_validation_dataset",
    "template",
    "test_dataset",
    "test_split",
    "train_dataset",
    "train_split",
    "training_data",
    "validation_dataset",
    "validation_split",
    "wandb_project",
    "warmup_epochs",
];

/// The schema of arguments: fields that are not in it are refused, an optional one is left out, not null.
pub(super) fn of_request<T: JsonSchema>() -> Map<String, Value> {
    let settings = settings().with(|settings| settings.inline_subschemas = true);
    root::<T>(settings.with_transform(RecursiveTransform(|schema: &mut Schema| {
        leave_out_null(schema);
        list_values(schema);
        refuse_unknown(schema);
    })))
}

/// The schema of arguments as assistants read it in every conversation: without bounds and without words for names that
/// say what they are; of a section of settings those that most projects set.
pub(super) fn brief(mut schema: Map<String, Value>) -> Map<String, Value> {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            if let (Some(common), Some(settings)) =
                (common_settings(name), property.get_mut("properties").and_then(Value::as_object_mut))
            {
                settings.retain(|setting, _| common.contains(&setting.as_str()));
            }
            shorten(name, property);
        }
    }
    schema
}

fn shorten(name: &str, schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("minimum");
    schema.remove("additionalProperties");
    schema.remove(NOT_AVAILABLE_YET);
    if EVIDENT.contains(&name) {
        schema.remove("description");
    }
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        shorten(name, property);
    }
}

/// The schema of a response in outline: its fields and those of its records with their types. Names carry units, and
/// the documentation says the rest.
pub(super) fn of_response<T: JsonSchema>() -> Map<String, Value> {
    let schema = root::<T>(settings().for_serialize());
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    let mut outlined = outline(&schema, &definitions, OUTLINED_LEVELS);
    if let Some(required) = schema.get("required") {
        outlined.insert(String::from("required"), required.clone());
    }
    outlined
}

/// JSON Schema 2020-12 without naming it: it is the default of MCP and OpenAPI, and some clients' validators know no
/// other than their own by name. Formats and the limit of a byte are Rust's number types, not the field's meaning.
fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None).with_transform(
        RecursiveTransform(|schema: &mut Schema| {
            if schema.remove("format") == Some(json!("uint8")) {
                schema.remove("maximum");
            }
        }),
    )
}

fn root<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // The operation has a title and a description of its own.
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
    if let Some(names) = schema.get("oneOf").and_then(constants) {
        schema.remove("oneOf");
        schema.insert(String::from("type"), json!("string"));
        schema.insert(String::from("enum"), names);
    }
}

/// The constants that `choices` are between, when they are all constants.
fn constants(choices: &Value) -> Option<Value> {
    let names = choices.as_array()?.iter().map(|choice| choice.get("const").cloned());
    names.collect::<Option<Vec<_>>>().map(Value::Array)
}

fn refuse_unknown(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert(String::from("additionalProperties"), Value::Bool(false));
    }
}

/// `schema` without words, its records named down to `levels`.
fn outline(schema: &Map<String, Value>, definitions: &Value, levels: u8) -> Map<String, Value> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    if let Some(target) = target.and_then(|name| definitions[name].as_object()) {
        return outline(target, definitions, levels);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        return outline_choice(choices, definitions, levels);
    }
    let mut outlined = Map::new();
    if let Some(names) = schema.get("oneOf").and_then(constants) {
        return Map::from_iter([(String::from("enum"), names)]);
    }
    for key in ["type", "enum", "const"] {
        outlined.extend(schema.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if let Some(items) = schema.get("items").and_then(Value::as_object) {
        outlined.insert(String::from("items"), outline(items, definitions, levels).into());
    }
    if let Some(values) = schema.get("additionalProperties").and_then(Value::as_object) {
        outlined.insert(String::from("additionalProperties"), outline(values, definitions, levels).into());
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| levels > 0) {
        let outlined_one = |(name, property): (&String, &Value)| {
            let property = property.as_object().map(|property| outline(property, definitions, levels - 1));
            (name.clone(), property.unwrap_or_default().into())
        };
        let properties: Map<_, Value> = properties.iter().map(outlined_one).collect();
        outlined.insert(String::from("properties"), properties.into());
    }
    outlined
}

/// A choice between a type and null is that type or null; any other is left open.
fn outline_choice(choices: &[Value], definitions: &Value, levels: u8) -> Map<String, Value> {
    let is_null = |choice: &&Value| choice["type"] == "null";
    let others: Vec<_> = choices.iter().filter(|choice| !is_null(choice)).collect();
    let [Value::Object(only)] = others.as_slice() else { return Map::new() };
    let mut outlined = outline(only, definitions, levels);
    if choices.iter().any(|choice| is_null(&choice)) {
        if let Some(Value::String(name)) = outlined.get("type") {
            let either = json!([name, "null"]);
            outlined.insert(String::from("type"), either);
        }
        if let Some(Value::Array(words)) = outlined.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    outlined
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Serialize;

    use super::*;

    #[derive(JsonSchema, Serialize)]
    #[allow(dead_code)]
    struct Outer {
        /// Words that are left out.
        runs: Vec<Inner>,
        kind: Option<Kind>,
        shares: [f64; 2],
    }

    #[derive(JsonSchema, Serialize)]
    #[allow(dead_code)]
    struct Inner {
        energy_kwh: f64,
        deeper: Option<Box<Inner>>,
    }

    #[derive(JsonSchema, Serialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Kind {
        /// First.
        Measured,
        /// Second.
        Modelled,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Request {
        /// Evident.
        seed: Option<u64>,
        /// What is done.
        what: Inner,
    }

    #[test]
    fn a_brief_schema_leaves_out_what_is_evident() {
        let full = of_request::<Request>();
        assert_eq!(
            full["properties"]["seed"],
            json!({ "type": "integer", "description": "Evident.", "minimum": 0 })
        );
        assert_eq!(full["properties"]["what"]["additionalProperties"], false);
        let brief = Value::Object(brief(full));
        assert_eq!(brief["properties"]["seed"], json!({ "type": "integer" }));
        assert_eq!(brief["properties"]["what"]["description"], "What is done.");
        assert_eq!(brief["properties"]["what"].get("additionalProperties"), None);
        assert_eq!((&brief["additionalProperties"], &brief["required"]), (&json!(false), &json!(["what"])));
    }

    #[test]
    fn a_response_is_outlined_to_the_fields_of_its_records() {
        assert_eq!(
            Value::Object(of_response::<Outer>()),
            json!({
                "type": "object",
                "properties": {
                    "runs": { "type": "array", "items": { "type": "object", "properties": {
                        "energy_kwh": { "type": "number" }, "deeper": { "type": ["object", "null"] },
                    } } },
                    "kind": { "enum": ["measured", "modelled", null] },
                    "shares": { "type": "array", "items": { "type": "number" } },
                },
                "required": ["runs", "kind", "shares"],
            })
        );
    }
}
