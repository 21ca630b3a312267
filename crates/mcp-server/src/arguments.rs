//! Reading a tool's arguments: whatever is wrong becomes a problem that names the argument, so that a model can
//! correct itself.

use greentune_core_config::{Problem, ProblemKind};
use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

const CODE: &str = "arguments.invalid";
const HINT: &str = "correct the arguments after the tool's input schema and call it again";

/// Reads a request from `arguments`; unknown and missing ones are found by the tool's input `schema`.
pub(crate) fn read<T: DeserializeOwned>(arguments: JsonObject, schema: &JsonObject) -> Result<T, Problem> {
    let mut problems = Vec::new();
    find_strangers_and_gaps(&arguments, schema, schema, "", &mut problems);
    if problems.is_empty() {
        match serde_path_to_error::deserialize(Value::Object(arguments)) {
            Ok(request) => return Ok(request),
            Err(error) => problems.push(wrong(&error.path().to_string(), error.inner().to_string())),
        }
    }
    Err(together(problems).with_hint(HINT))
}

fn find_strangers_and_gaps(
    arguments: &JsonObject,
    schema: &JsonObject,
    root: &JsonObject,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    for (name, value) in arguments {
        let path = join(path, name);
        match (properties.get(name), value) {
            (None, _) => {
                let allowed: Vec<&str> = properties.keys().map(String::as_str).collect();
                problems.push(wrong(&path, format!("no such argument; allowed: {}", allowed.join(", "))));
            }
            (Some(schema), Value::Object(value)) => {
                if let Some(schema) = resolve(schema, root) {
                    find_strangers_and_gaps(value, schema, root, &path, problems);
                }
            }
            _ => {}
        }
    }
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !arguments.contains_key(name) {
            problems.push(wrong(&join(path, name), String::from("missing, and required")));
        }
    }
}

fn resolve<'s>(schema: &'s Value, root: &'s JsonObject) -> Option<&'s JsonObject> {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema.as_object() };
    root.get("$defs")?.get(reference.strip_prefix("#/$defs/")?)?.as_object()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn wrong(path: &str, message: String) -> Problem {
    Problem::new(ProblemKind::InvalidInput, CODE, message).at_key(path)
}

fn together(mut problems: Vec<Problem>) -> Problem {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let message = format!("{} arguments are wrong", problems.len());
    Problem { problems, ..Problem::new(ProblemKind::InvalidInput, CODE, message) }
}
