//! Reading an operation's arguments: whatever is wrong becomes a problem that names the argument, so that who called,
//! a model for instance, can correct it.

use greentune_core_config::{Problem, ProblemKind, ids::nearest};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{meant, schema::NOT_AVAILABLE_YET};

const CODE: &str = "arguments.invalid";
const HINT: &str = "correct the arguments and call it again";
/// Faults that are told one by one; the rest is counted.
const MOST_TOLD: usize = 100;
/// Characters of a value that a problem quotes.
const LONGEST_QUOTE: usize = 200;

/// Reads a request from `arguments`, each taken for what it means; those that are unknown, missing or of a wrong type are found by its `schema`.
pub(super) fn read<T: DeserializeOwned>(
    arguments: Map<String, Value>,
    schema: &Map<String, Value>,
) -> Result<T, Problem> {
    let arguments = meant::arguments(arguments, schema, schema);
    let mut check = Check { root: schema, problems: Vec::new(), untold: 0 };
    check.object(&arguments, schema, "");
    let Check { mut problems, untold, .. } = check;
    if problems.is_empty() {
        match serde_path_to_error::deserialize(Value::Object(arguments)) {
            Ok(request) => return Ok(request),
            Err(error) => problems.push(wrong(&error.path().to_string(), error.inner().to_string())),
        }
    }
    Err(together(problems, untold).with_hint(HINT))
}

/// Finds what `root` does not allow.
struct Check<'s> {
    root: &'s Map<String, Value>,
    /// Up to [`MOST_TOLD`].
    problems: Vec<Problem>,
    untold: usize,
}

impl<'s> Check<'s> {
    fn add(&mut self, path: &str, message: impl FnOnce() -> String) {
        if self.problems.len() < MOST_TOLD {
            self.problems.push(wrong(path, message()));
        } else {
            self.untold += 1;
        }
    }

    fn object(&mut self, given: &Map<String, Value>, schema: &'s Map<String, Value>, path: &str) {
        let Some(Value::Object(properties)) = schema.get("properties") else { return };
        for (name, value) in given {
            let path = join(path, name);
            match properties.get(name) {
                None => self.add(&path, || unknown(name, properties)),
                Some(schema) => self.value(value, schema, &path),
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if !given.contains_key(name) {
                self.add(&join(path, name), || String::from("missing, and required"));
            }
        }
    }

    fn value(&mut self, value: &Value, schema: &'s Value, path: &str) {
        let Some(schema) = resolve(schema, self.root) else { return };
        // Null stands for an argument that is left out.
        if value.is_null() {
            return;
        }
        if let Some(allowed) = allowed(value, schema) {
            self.add(path, || format!("found {}, allowed: {allowed}", quoted(value)));
            return;
        }
        match value {
            Value::Object(value) => self.object(value, schema, path),
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.value(item, schema, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }
}

/// `schema`, or what it refers to in `root`.
pub(super) fn resolve<'s>(schema: &'s Value, root: &'s Map<String, Value>) -> Option<&'s Map<String, Value>> {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema.as_object() };
    root.get("$defs")?.get(reference.strip_prefix("#/$defs/")?)?.as_object()
}

/// What `schema` allows, when that is not `value`.
fn allowed(value: &Value, schema: &Map<String, Value>) -> Option<String> {
    if let Some(Value::Array(words)) = schema.get("enum") {
        let is_one = words.contains(value);
        let later = schema.get(NOT_AVAILABLE_YET).and_then(Value::as_array);
        let is_now = |word: &&Value| later.is_none_or(|later| !later.contains(word));
        let words = words.iter().filter(is_now).filter_map(Value::as_str);
        let near = || nearest(words.clone(), value.as_str().unwrap_or_default());
        return (!is_one)
            .then(|| format!("{}{}", words.clone().collect::<Vec<_>>().join(", "), did_you_mean(&near())));
    }
    let types: Vec<&str> = match schema.get("type")? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let fits = |name: &&str| match *name {
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if types.iter().any(fits) {
        let least = schema.get("minimum").and_then(Value::as_f64)?;
        return value.as_f64().filter(|value| *value < least).map(|_| format!("{least} or more"));
    }
    let words = types.iter().map(|name| match *name {
        "boolean" => "true or false",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "array" => "a list",
        _ => "an object",
    });
    Some(words.collect::<Vec<_>>().join(" or "))
}

fn unknown(name: &str, properties: &Map<String, Value>) -> String {
    let names = || properties.keys().map(String::as_str);
    let allowed = names().collect::<Vec<_>>().join(", ");
    format!("no such argument; allowed: {allowed}{}", did_you_mean(&nearest(names(), name)))
}

fn did_you_mean(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn wrong(path: &str, message: String) -> Problem {
    Problem::new(ProblemKind::InvalidInput, CODE, message).at_key(path)
}

/// `value` as far as a problem quotes it.
fn quoted(value: &Value) -> String {
    let whole = value.to_string();
    match whole.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

fn together(mut problems: Vec<Problem>, untold: usize) -> Problem {
    if problems.len() == 1 {
        return problems.remove(0);
    }
    let message = format!("{} arguments are wrong", problems.len() + untold);
    if untold > 0 {
        problems.push(Problem::new(ProblemKind::InvalidInput, CODE, format!("and {untold} more")));
    }
    Problem { problems, ..Problem::new(ProblemKind::InvalidInput, CODE, message) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // what is read is not looked at
    struct Request {
        name: String,
        steps: Option<u64>,
        tags: Option<Vec<String>>,
        kind: Option<String>,
    }

    fn problems(arguments: Value) -> Vec<String> {
        let schema = json!({
            "properties": {
                "name": { "type": "string" }, "steps": { "type": "integer", "minimum": 0 },
                "tags": { "type": "array", "items": { "type": "string" } }, "kind": { "enum": ["a", "b"] },
            },
            "required": ["name"],
        });
        let Value::Object(arguments) = arguments else { return Vec::new() };
        match read::<Request>(arguments, schema.as_object().unwrap()) {
            Ok(_) => Vec::new(),
            Err(problem) if problem.problems.is_empty() => vec![problem.to_string()],
            Err(problem) => problem.problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        assert_eq!(problems(json!({ "name": "x", "steps": null, "tags": ["y"], "kind": "a" })), [""; 0]);
        assert_eq!(
            problems(json!({ "step": 1, "tags": ["y", 2], "kind": "c", "steps": -1 })),
            [
                "step: no such argument; allowed: name, steps, tags, kind; did you mean steps?",
                "tags[1]: found 2, allowed: a text",
                "kind: found \"c\", allowed: a, b",
                "steps: found -1, allowed: 0 or more",
                "name: missing, and required",
            ]
        );
        assert_eq!(problems(json!({ "name": 7 })), ["name: found 7, allowed: a text"]);
    }

    #[test]
    fn faults_without_end_are_counted_and_long_values_cut() {
        let many: Map<String, Value> = (0..5000).map(|number| (format!("a{number}"), json!(1))).collect();
        let told = problems(Value::Object(many));
        // The required one that is missing comes last.
        assert_eq!((told.len(), told[100].as_str()), (101, "and 4901 more"));
        let long = problems(json!({ "name": ["x".repeat(100_000)] }));
        assert!(long[0].ends_with("x…, allowed: a text") && long[0].len() < 300, "{}", long[0]);
    }
}
