//! The lines of `config/fine_tuning_config.toml`, from the registry of settings.

use std::collections::BTreeMap;

use greentune_core_config::resolve::{KeyDoc, Resolved, registry};
use serde::Serialize;
use serde_json::Value;

use crate::ScaffoldError;

/// Settings that differ from person to person and machine to machine. Left to the user's own file unless they were
/// asked for; everything else is the project's recipe and is written out.
const PERSONAL: &[&str] =
    &["training.device", "training.memory_check", "carbon.", "mlflow.", "wandb.", "huggingface."];
/// Settings whose default gives way to another setting; written out, they would be refused where they do not fit.
const FITTED: &[&str] = &["training.stage1.warmup_steps", "training.stage2.warmup_steps"];

/// A section with its keys.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    name: &'static str,
    keys: Vec<Key>,
}

/// A key with its comment.
#[derive(Debug, Serialize)]
struct Key {
    doc: String,
    allowed: &'static str,
    name: &'static str,
    /// TOML literal; empty when unset.
    literal: String,
    /// Whether the line takes effect, or stands there as a comment.
    active: bool,
    /// Why it has this value; empty where nothing is to be said.
    reason: String,
}

/// Every section of the file, in the registry's order.
pub(crate) fn sections(resolved: &Resolved, reasons: &BTreeMap<String, String>) -> Vec<Section> {
    let values = serde_json::to_value(&resolved.settings).unwrap_or_default();
    let mut sections: Vec<Section> = Vec::new();
    for doc in registry() {
        let (section, name) = doc.key.rsplit_once('.').unwrap_or(("", &doc.key));
        let mut key = key(doc, name, &values, resolved);
        key.reason = reasons.get(&doc.key).cloned().unwrap_or_default();
        match sections.last_mut() {
            Some(last) if last.name == section => last.keys.push(key),
            _ => sections.push(Section { name: section, keys: vec![key] }),
        }
    }
    sections
}

fn key(doc: &'static KeyDoc, name: &'static str, values: &Value, resolved: &Resolved) -> Key {
    let value = values.pointer(&format!("/{}", doc.key.replace('.', "/"))).unwrap_or(&Value::Null);
    let personal = PERSONAL.iter().any(|prefix| doc.key.starts_with(prefix));
    let asked_for = resolved.sources.contains_key(&doc.key);
    Key {
        doc: doc.doc.split_whitespace().collect::<Vec<_>>().join(" "),
        allowed: &doc.allowed,
        name,
        literal: literal(value).map(|value| value.to_string()).unwrap_or_default(),
        active: !value.is_null() && (asked_for || !(personal || FITTED.contains(&doc.key.as_str()))),
        reason: String::new(),
    }
}

/// The settings file `text` with these texts under their dotted keys; everything else stays as it stands.
///
/// # Errors
/// [`ScaffoldError::Settings`] for a text that is no TOML, or has something else than a section in the way.
pub fn with_settings<T: AsRef<str>>(text: &str, settings: &[(&str, T)]) -> Result<String, ScaffoldError> {
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| ScaffoldError::Settings(error.to_string()))?;
    for (key, value) in settings {
        let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let item = table.entry(section).or_insert_with(toml_edit::table);
            table = item
                .as_table_like_mut()
                .ok_or_else(|| ScaffoldError::Settings(format!("`{section}` is no section")))?;
        }
        match table.get_mut(name).and_then(toml_edit::Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = value.as_ref().into();
                *old.decor_mut() = decor;
            }
            None => {
                table.insert(name, toml_edit::value(value.as_ref()));
            }
        }
    }
    Ok(document.to_string())
}

/// `value` in TOML; `None` for null, which TOML does not have.
fn literal(value: &Value) -> Option<toml_edit::Value> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some((*flag).into()),
        Value::Number(number) => number.as_i64().map(Into::into).or_else(|| Some(number.as_f64()?.into())),
        Value::String(text) => Some(text.as_str().into()),
        Value::Array(items) => Some(items.iter().filter_map(literal).collect::<toml_edit::Array>().into()),
        Value::Object(entries) => {
            let entries = entries.iter().filter_map(|(name, value)| Some((name.as_str(), literal(value)?)));
            Some(entries.collect::<toml_edit::InlineTable>().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_where_they_stand_and_nothing_else_is() {
        let text = "# mine\n[dataset]\n# the question\ninstruction_field = \"instruction\"  # so far\n\n[lora]\nrank = 8\n";
        let settings =
            [("dataset.instruction_field", "a \"q\""), ("dataset.output_field", "b"), ("new.key", "c")];
        let changed = with_settings(text, &settings).unwrap();
        let kept = "# mine\n[dataset]\n# the question\ninstruction_field = 'a \"q\"'  # so far\n";
        assert!(changed.starts_with(kept), "{changed}");
        assert!(changed.contains("output_field = \"b\"\n\n[lora]\nrank = 8\n"), "{changed}");
        assert!(changed.contains("[new]\nkey = \"c\"\n"), "{changed}");
        assert!(with_settings("dataset = 1", &settings).is_err());
        assert!(with_settings("[", &settings).is_err());
    }
}
