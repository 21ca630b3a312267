//! JSON schemas of requests and responses, as small and as plain as front ends need them.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use super::section::common_settings;

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
        for (name, property) in properties.iter_mut() {
            if let (Some(common), Some(settings)) =
                (common_settings(name), property.get_mut("properties").and_then(Value::as_object_mut))
            {
                settings.retain(|setting, _| common.contains(&setting.as_str()));
            }
            shorten(name, property);
        }
        // It has the fields of stage1 once more.
        if let Some(stage2) =
            properties.get_mut("training_config").and_then(|config| config["properties"].get_mut("stage2"))
        {
            *stage2 = json!({
                "type": "object", "description": "As stage1; also replay_ratio, the share drawn from stage 1.",
            });
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

/// The schema of a response in outline: the types of its fields. Some clients put it before the model in every
/// conversation. Names carry units, and the documentation says the rest.
pub(super) fn of_response<T: JsonSchema>() -> Map<String, Value> {
    let schema = root::<T>(settings().for_serialize());
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let outlined = fields.map(|(name, field)| {
        let types = types_of(field, &definitions);
        let schema = match types.as_slice() {
            [] => json!({}),
            [only] => json!({ "type": only }),
            several => json!({ "type": several }),
        };
        (name.clone(), schema)
    });
    let mut outline = Map::new();
    outline.insert(String::from("type"), json!("object"));
    outline.insert(String::from("properties"), outlined.collect::<Map<_, _>>().into());
    outline.extend(schema.get("required").map(|required| (String::from("required"), required.clone())));
    outline
}

/// The schema of a response in full, with its `$defs`.
pub(super) fn of_whole_response<T: JsonSchema>() -> Map<String, Value> {
    root::<T>(settings().for_serialize())
}

/// The types that `schema` allows; none when it allows any.
fn types_of(schema: &Value, definitions: &Value) -> Vec<Value> {
    let target = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    if let Some(target) = target {
        return types_of(&definitions[target], definitions);
    }
    if let Some(choices) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        let each: Vec<_> = choices.iter().map(|choice| types_of(choice, definitions)).collect();
        let mut all: Vec<Value> = Vec::new();
        for one in each.iter().flatten().filter(|_| each.iter().all(|types| !types.is_empty())) {
            if !all.contains(one) {
                all.push(one.clone());
            }
        }
        return all;
    }
    match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
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
    fn a_response_is_outlined_to_its_fields() {
        assert_eq!(
            Value::Object(of_response::<Outer>()),
            json!({
                "type": "object",
                "properties": {
                    "runs": { "type": "array" },
                    "kind": { "type": ["string", "null"] },
                    "shares": { "type": "array" },
                },
                "required": ["runs", "kind", "shares"],
            })
        );
    }
}
