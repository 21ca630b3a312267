//! The one registry of settings: key, type, default, what is allowed and what it is for.
//!
//! It is derived from the schema and the defaults of [`Settings`], so that a new field is a new key.

use std::sync::LazyLock;

use schemars::schema_for;
use serde_json::Value;

use super::{
    key::{KeyDoc, KeyType},
    limits,
};
use crate::{ids::nearest, settings::Settings};

/// Every setting, in the order of the file's sections.
pub fn registry() -> &'static [KeyDoc] {
    static REGISTRY: LazyLock<Vec<KeyDoc>> = LazyLock::new(|| {
        let schema = schema_for!(Settings).to_value();
        let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
        let mut keys = Vec::new();
        collect("", &schema, &schema["$defs"], &defaults, &mut keys);
        keys
    });
    &REGISTRY
}

/// The setting `key`.
pub(super) fn find(key: &str) -> Option<&'static KeyDoc> {
    registry().iter().find(|doc| doc.key == key)
}

/// Whether `key` names a section, such as `training.stage1`.
pub(super) fn is_section(key: &str) -> bool {
    !key.is_empty() && members(key).next().is_some()
}

/// `name` in `section`; the top level is the empty section.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// What to write instead of the unknown `key`: the nearest known keys, else what its section holds.
pub(super) fn suggest(key: &str) -> String {
    let known = || registry().iter().map(|doc| doc.key.as_str()).chain(sections());
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut near = nearest(known(), key);
    if near.is_empty() {
        near = nearest(known(), name);
    }
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    let (section, holds) =
        if is_section(section) { (section, "its section has") } else { ("", "the sections are") };
    let mut names: Vec<_> = members(section).collect();
    names.dedup();
    format!("{holds} {}", names.join(", "))
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = registry().iter().filter_map(|doc| Some(doc.key.rsplit_once('.')?.0)).collect();
    names.dedup();
    names.into_iter()
}

/// The names directly inside `section`, sub-sections once per key in them.
fn members(section: &str) -> impl Iterator<Item = &'static str> {
    let inside = move |doc: &'static KeyDoc| match section {
        "" => Some(doc.key.as_str()),
        _ => doc.key.strip_prefix(section)?.strip_prefix('.'),
    };
    registry().iter().filter_map(inside).filter_map(|rest| rest.split('.').next())
}

fn collect(section: &str, schema: &Value, definitions: &Value, defaults: &Value, keys: &mut Vec<KeyDoc>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let key = join(section, name);
        // An optional choice is a reference or null.
        let either = property["anyOf"].as_array();
        let named = either.and_then(|either| either.iter().find(|one| one["$ref"].is_string()));
        let target = named.unwrap_or(property)["$ref"]
            .as_str()
            .and_then(|reference| definitions.get(reference.trim_start_matches("#/$defs/")))
            .unwrap_or(property);
        if target["properties"].is_object() {
            collect(&key, target, definitions, &defaults[name], keys);
            continue;
        }
        let types: Vec<_> = match &target["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let kind = kind(&types, target);
        let optional = types.contains(&"null") || named.is_some();
        keys.push(KeyDoc {
            allowed: limits::allowed(&key, &kind, optional),
            kind,
            optional,
            default: defaults[name].clone(),
            doc: property["description"].as_str().unwrap_or_default().replace('\n', " "),
            key,
        });
    }
}

fn kind(types: &[&str], schema: &Value) -> KeyType {
    if let Some(words) = schema["oneOf"].as_array() {
        return KeyType::Word(
            words.iter().filter_map(|word| Some(word["const"].as_str()?.to_owned())).collect(),
        );
    }
    match types.first() {
        Some(&"boolean") => KeyType::Boolean,
        Some(&"integer") => KeyType::Integer,
        Some(&"number") => KeyType::Number,
        Some(&"array") => KeyType::Texts,
        _ => KeyType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(prefix: &str, value: &Value, keys: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let key = join(prefix, name);
            if value.is_object() { leaves(&key, value, keys) } else { keys.push(key) }
        }
    }

    #[test]
    fn every_field_of_the_settings_is_a_documented_key_in_its_order() {
        let mut fields = Vec::new();
        leaves("", &serde_json::to_value(Settings::default()).unwrap(), &mut fields);
        let keys: Vec<_> = registry().iter().map(|doc| doc.key.clone()).collect();
        assert_eq!(keys, fields);
        for doc in registry() {
            assert!(!doc.doc.is_empty() && !doc.doc.contains('\n'), "{doc:?}");
            assert!(!doc.allowed.is_empty(), "{doc:?}");
        }
    }

    #[test]
    fn kinds_follow_the_types() {
        let kind = |key| find(key).map(|doc| (doc.kind.clone(), doc.optional));
        assert_eq!(kind("training.seed"), Some((KeyType::Integer, false)));
        assert_eq!(kind("lora.alpha"), Some((KeyType::Number, false)));
        assert_eq!(kind("lora.target_modules"), Some((KeyType::Texts, false)));
        assert_eq!(kind("base_model.local_path"), Some((KeyType::Text, true)));
        assert_eq!(kind("wandb.project"), Some((KeyType::Text, true)));
        assert_eq!(kind("carbon.enabled"), Some((KeyType::Boolean, false)));
        let words = ["none", "q8", "q4"].map(str::to_owned).to_vec();
        let clouds = ["aws", "azure", "gcp"].map(str::to_owned).to_vec();
        assert_eq!(kind("carbon.cloud_provider"), Some((KeyType::Word(clouds), true)));
        assert_eq!(kind("base_model.quantization"), Some((KeyType::Word(words), false)));
        assert_eq!(kind("base_model.type").map(|(kind, _)| matches!(kind, KeyType::Word(_))), Some(true));
    }

    #[test]
    fn suggestions_name_the_nearest_key_wherever_it_is() {
        insta::assert_snapshot!(suggest("lora.rnak"), @"did you mean lora.rank?");
        insta::assert_snapshot!(suggest("training.learning_rate"), @"did you mean training.stage1.learning_rate or training.stage2.learning_rate or vision.learning_rate?");
        insta::assert_snapshot!(suggest("rank"), @"did you mean lora.rank?");
        insta::assert_snapshot!(suggest("loras"), @"did you mean lora?");
        insta::assert_snapshot!(suggest("zzz.qqq"), @"the sections are project, base_model, training, lora, dataset, vision, ast, carbon, mlflow, wandb, huggingface, evaluation");
        insta::assert_snapshot!(suggest("lora.qqq"), @"its section has rank, alpha, dropout, target_modules, use_rslora, use_dora, loraplus_lr_ratio");
    }
}
