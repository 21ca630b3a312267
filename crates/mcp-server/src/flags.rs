//! Arguments of a call that are the server's and no operation's: `async_mode` of what takes long, `confirm` of what is
//! published.

use greentune_core_config::{Problem, ProblemKind};
use greentune_workbench::{background::LONG_WORK, operation::Entry};
use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};

/// Operations that may publish something.
const PUBLISHING: &[&str] = &["export_model", "sync_model"];

/// What a call said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub async_mode: Option<bool>,
    pub confirm: bool,
}

impl Flags {
    /// Takes the flags out of `arguments` of a call of `operation`.
    ///
    /// Errors: a value that is neither true nor false.
    pub(crate) fn take(operation: &Entry, arguments: &mut JsonObject) -> Result<Self, Problem> {
        let async_mode = if has_async_mode(operation.name) {
            take(arguments, "async_mode", "asyncMode")?
        } else {
            // That of a training is the operation's own.
            arguments.get("async_mode").or_else(|| arguments.get("asyncMode")).and_then(read)
        };
        let publishes = PUBLISHING.contains(&operation.name);
        let confirm = publishes && take(arguments, "confirm", "Confirm")? == Some(true);
        Ok(Self { async_mode, confirm })
    }
}

/// Takes the flag `name`, which may be written as `spelt`.
fn take(arguments: &mut JsonObject, name: &str, spelt: &str) -> Result<Option<bool>, Problem> {
    let found = arguments.remove(name).or_else(|| arguments.remove(spelt)).unwrap_or_default();
    if found.is_null() || found.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    read(&found).map(Some).ok_or_else(|| {
        let message = "found another value, allowed: true or false";
        let problem = Problem::new(ProblemKind::InvalidInput, "arguments.invalid", message);
        problem.at_key(name).with_hint("correct the arguments and call it again")
    })
}

/// A flag as clients write it.
fn read(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.trim().to_ascii_lowercase().parse().ok())
}

/// Whether the server adds `async_mode` to the operation's own arguments.
pub(crate) fn has_async_mode(name: &str) -> bool {
    LONG_WORK.contains(&name) && name != "start_training"
}

/// Adds the flags to the schema of a tool's arguments.
pub(crate) fn add(name: &str, schema: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    if has_async_mode(name) {
        let words = "Answer at once with a task_id for get_task.";
        properties.insert(String::from("async_mode"), json!({ "type": "boolean", "description": words }));
    }
    if PUBLISHING.contains(&name) {
        let words = "The user agrees to the upload.";
        properties.insert(String::from("confirm"), json!({ "type": "boolean", "description": words }));
    }
}
