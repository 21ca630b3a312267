//! What is known of a setting.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The type of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A finite number.
    Number,
    /// Text.
    Text,
    /// One of these words.
    Word(Vec<String>),
    /// A list of texts.
    Texts,
}

/// What is known of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct KeyDoc {
    /// Dotted key, such as `training.stage1.learning_rate`.
    pub key: String,
    /// Its type.
    pub kind: KeyType,
    /// Whether it may be unset: absent, null or empty.
    pub optional: bool,
    /// Its default; null where it is unset.
    pub default: Value,
    /// What is allowed, in words.
    pub allowed: String,
    /// What it is for.
    pub doc: String,
}
