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
        let is_long = LONG_WORK.contains(&operation.name);
        let async_mode = if is_long { take(arguments, "async_mode", "asyncMode")? } else { None };
        if let Some(wanted) = async_mode.filter(|_| !has_async_mode(operation.name)) {
            // That of a training is the operation's own too.
            arguments.insert(String::from("async_mode"), wanted.into());
        }
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

#[cfg(test)]
mod tests {
    use greentune_workbench::operation::find;

    use super::*;

    fn taken(operation: &str, given: &Value) -> (Result<Flags, String>, Value) {
        let mut arguments = given.as_object().cloned().unwrap();
        let flags =
            Flags::take(find(operation).unwrap(), &mut arguments).map_err(|problem| problem.to_string());
        (flags, arguments.into())
    }

    #[test]
    fn flags_are_taken_as_clients_write_them() {
        let flags = |async_mode, confirm| Ok(Flags { async_mode, confirm });
        let given = json!({ "asyncMode": "True", "confirm": "false", "stage": 1 });
        assert_eq!(taken("export_model", &given), (flags(Some(true), false), json!({ "stage": 1 })));
        let given = json!({ "confirm": true, "async_mode": null });
        assert_eq!(taken("sync_model", &given), (flags(None, true), json!({})));
        // A training reads its own, and other operations have none.
        let given = json!({ "asyncMode": false });
        assert_eq!(
            taken("start_training", &given),
            (flags(Some(false), false), json!({ "async_mode": false }))
        );
        let given = json!({ "confirm": true });
        assert_eq!(taken("evaluate_model", &given), (flags(None, false), given));
        let (refused, _) = taken("export_model", &json!({ "async_mode": 3 }));
        assert!(refused.unwrap_err().starts_with("async_mode: found another value"));
    }
}
