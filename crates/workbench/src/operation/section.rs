//! Settings in a request, section by section: which there are says the registry of settings, and they are checked when
//! they are resolved.

use std::borrow::Cow;

use greentune_core_config::resolve::{KeyDoc, KeyType, registry};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Settings that are explained; the names of all others say what they are.
const EXPLAINED: &[&str] = &[
    "base_model.model_id",
    "training.quality_weight_multiplier",
    "training.stage2.replay_ratio",
    "dataset.prompt_template",
    "carbon.country_iso_code",
];

/// What most projects set, by the request's field; assistants are told of these, and every other setting is taken too.
const COMMON: &[(&str, &[&str])] = &[
    ("base_model_config", &["type", "model_id", "revision", "local_path", "quantization"]),
    (
        "training_config",
        &[
            "iterations",
            "learning_rate",
            "batch_size",
            "num_stages",
            "quality_weight_multiplier",
            "save_steps",
            "eval_steps",
            "max_seq_length",
            "seed",
            "device",
            "stage1",
            "stage2",
        ],
    ),
    ("lora_config", &["rank", "alpha", "dropout", "target_modules"]),
    (
        "dataset_config",
        &[
            "format",
            "schema",
            "instruction_field",
            "input_field",
            "output_field",
            "quality_field",
            "prompt_template",
        ],
    ),
    ("carbon_config", &["project_name", "country_iso_code", "region", "offline_mode", "emissions_endpoint"]),
];

/// The settings that most projects set, when `field` of a request is a section.
pub(super) fn common_settings(field: &str) -> Option<&'static [&'static str]> {
    COMMON.iter().find(|(name, _)| *name == field).map(|(_, settings)| *settings)
}

/// Settings of stages that may stand beside them and then hold for both.
pub(super) const OF_BOTH_STAGES: [&str; 3] = ["iterations", "learning_rate", "batch_size"];

/// Declares a section of settings in a request.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident, $section:literal, required: $required:expr, of_stages: $of_stages:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Map<String, Value>);

        impl<const N: usize> From<[(&str, Value); N]> for $name {
            fn from(settings: [(&str, Value); N]) -> Self {
                Self(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                section_schema($section, $required, $of_stages)
            }
        }
    };
}

section! {
    /// What is fine-tuned: settings of `[base_model]`, of them `type` and `model_id` at least.
    BaseModelConfig, "base_model", required: &["type", "model_id"], of_stages: &[]
}

section! {
    /// How it is trained: settings of `[training]`; `iterations`, `learning_rate` and `batch_size` beside `stage1` and
    /// `stage2` hold for both.
    TrainingConfig, "training", required: &[], of_stages: &OF_BOTH_STAGES
}

section! {
    /// The adapters: settings of `[lora]`.
    LoraConfig, "lora", required: &[], of_stages: &[]
}

section! {
    /// How records are read: settings of `[dataset]`.
    DatasetConfig, "dataset", required: &[], of_stages: &[]
}

section! {
    /// Metering: settings of `[carbon]`.
    CarbonConfig, "carbon", required: &[], of_stages: &[]
}

fn section_schema(section: &str, required: &[&str], of_stages: &[&str]) -> Schema {
    let mut properties = Map::new();
    for name in of_stages {
        let of_stage = format!("training.stage1.{name}");
        properties.extend(registry().iter().find(|doc| doc.key == of_stage).map(|doc| property(name, doc)));
    }
    for doc in registry() {
        let Some(path) = doc.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        match path.split_once('.') {
            None => properties.extend([property(path, doc)]),
            Some((inner, name)) => {
                let inner =
                    properties.entry(inner).or_insert_with(|| json!({ "type": "object", "properties": {} }));
                if let Some(inner) = inner["properties"].as_object_mut() {
                    inner.extend([property(name, doc)]);
                }
            }
        }
    }
    let mut schema = Map::new();
    schema.insert(String::from("type"), json!("object"));
    schema.insert(String::from("properties"), properties.into());
    if !required.is_empty() {
        schema.insert(String::from("required"), json!(required));
    }
    schema.into()
}

/// Name and type of a setting, with a few words where the name does not say enough.
fn property(name: &str, doc: &KeyDoc) -> (String, Value) {
    let mut schema = match &doc.kind {
        KeyType::Boolean => json!({ "type": "boolean" }),
        KeyType::Integer => json!({ "type": "integer" }),
        KeyType::Number => json!({ "type": "number" }),
        KeyType::Text => json!({ "type": "string" }),
        KeyType::Word(words) => json!({ "type": "string", "enum": words }),
        KeyType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    if EXPLAINED.contains(&doc.key.as_str()) {
        schema["description"] = first_words(&doc.doc).into();
    }
    (name.to_owned(), schema)
}

/// The first clause of an explanation.
fn first_words(doc: &str) -> &str {
    let end = doc.find([';', ':', '(', '.']).unwrap_or(doc.len());
    doc[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_has_the_settings_of_the_registry() {
        let training = section_schema("training", &[], &OF_BOTH_STAGES).to_value();
        assert_eq!(training["properties"]["iterations"], json!({ "type": "integer" }));
        assert_eq!(training["properties"]["stage2"]["properties"]["scheduler"]["enum"][1], "cosine");
        let keys = registry().iter().filter(|doc| doc.key.starts_with("training.")).count();
        let properties = training["properties"].as_object().unwrap();
        let of_stage = |stage: &str| properties[stage]["properties"].as_object().unwrap().len();
        assert_eq!(
            properties.len() - 2 + of_stage("stage1") + of_stage("stage2"),
            keys + OF_BOTH_STAGES.len()
        );

        let base = section_schema("base_model", &["type"], &[]).to_value();
        assert_eq!(base["required"], json!(["type"]));
        assert_eq!(
            base["properties"]["model_id"]["description"],
            "Identifier on the Hugging Face Hub, such as `allenai/OLMo-2-0425-1B`"
        );
    }

    #[test]
    fn what_is_explained_or_common_is_a_setting() {
        for key in EXPLAINED {
            assert!(registry().iter().any(|doc| doc.key == *key), "{key}");
        }
        for (field, settings) in COMMON {
            let section = field.trim_end_matches("_config");
            let schema =
                section_schema(section, &[], if section == "training" { &OF_BOTH_STAGES } else { &[] });
            for setting in *settings {
                assert!(schema.as_value()["properties"].get(*setting).is_some(), "{field}.{setting}");
            }
        }
    }
}
