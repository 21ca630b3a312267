//! Arguments from a tool's own schema, and what is wrong with them.

use greentune_core_config::resolve::registry;
use greentune_workbench::operation::Entry;
use serde_json::{Map, Value, json};

use super::draw::Draw;

/// What strings are taken from.
pub struct Words {
    /// Runs: those that are there, beginnings of ids, ids of none.
    pub ids: Vec<String>,
    /// Paths that a server may use.
    pub valid_paths: Vec<String>,
    /// A project.
    pub project: String,
    /// All kinds of paths.
    pub paths: Vec<String>,
    /// Data sets with records.
    pub datasets: Vec<String>,
}

/// Arguments of a call: most of them as the schema wants them, half of the calls with something wrong.
pub fn arguments(draw: &mut Draw, tool: &Entry, words: &Words) -> Value {
    let schema = Value::Object(tool.request_schema().clone());
    let mut arguments = value(draw, "", &schema, words, 0);
    if draw.one_in(2) {
        for _ in 0..=draw.below(3) {
            spoil(draw, &mut arguments, words);
        }
    }
    // A call's arguments are an object; anything else is refused before a tool sees it.
    if arguments.is_object() { arguments } else { json!({ "project_path": arguments }) }
}

/// A line that is no message: not JSON, too deep, numbers that are none.
pub fn unreadable_line(draw: &mut Draw) -> Vec<u8> {
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"tools/call","params":{{"name":"list_runs","arguments":{arguments}}}}}"#
        )
    };
    match draw.below(7) {
        0 => "[".repeat(100_000).into_bytes(),
        1 => call(&format!("{{\"project_path\":{}1{}}}", "[".repeat(5000), "]".repeat(5000))).into_bytes(),
        2 => call("{\"project_path\":NaN}").into_bytes(),
        3 => call("{\"project_path\":1e999}").into_bytes(),
        4 => vec![0xff, 0xfe, 0, b'{'],
        5 => call("{\"a\":\"\\ud800\"}").into_bytes(),
        _ => b"null".to_vec(),
    }
}

fn value(draw: &mut Draw, name: &str, schema: &Value, words: &Words, depth: usize) -> Value {
    if let Some(choices) = ["anyOf", "oneOf"].iter().find_map(|key| schema[*key].as_array()) {
        let choice = draw.of(choices);
        return value(draw, name, choice, words, depth);
    }
    if let Some(values) = schema["enum"].as_array() {
        return draw.of(values).clone();
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => draw.of(kinds).as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => object(draw, name, schema, words, depth),
        Some("array") => {
            let length = draw.below(4);
            (0..length).map(|_| value(draw, name, &schema["items"], words, depth + 1)).collect()
        }
        Some("string") => json!(string(draw, name, words)),
        Some("integer") => json!(draw.of(&[0_u64, 1, 1, 2, 2, 3, 5, 20])),
        Some("number") => json!(draw.of(&[0.0, 0.1, 0.5, 1.0, 1e-4, 30.0])),
        Some("boolean") => json!(draw.one_in(2)),
        Some("null") => Value::Null,
        _ => anything(draw, words),
    }
}

fn object(draw: &mut Draw, name: &str, schema: &Value, words: &Words, depth: usize) -> Value {
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty())
    else {
        return settings(draw, name, words);
    };
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let mut object = Map::new();
    for (name, schema) in properties {
        let is_required = required.iter().any(|required| **required == **name);
        if is_required || matches!(name.as_str(), "project_path" | "run_id") || draw.one_in(4 + depth) {
            object.insert(name.clone(), value(draw, name, schema, words, depth + 1));
        }
    }
    Value::Object(object)
}

/// Settings by their dotted keys, as `override_params` takes them.
fn settings(draw: &mut Draw, name: &str, words: &Words) -> Value {
    let all = registry();
    let number = draw.below(4);
    let mut setting = |_| {
        let key = draw.of(all).key.clone();
        let value = if key.ends_with("_uri") || key.ends_with("_endpoint") {
            json!("http://127.0.0.1:9/")
        } else if draw.one_in(3) {
            hostile(draw, words)
        } else {
            anything(draw, words)
        };
        (key, value)
    };
    let chosen: Map<_, _> = (0..number).map(&mut setting).collect();
    if name == "override_params" || draw.one_in(2) { Value::Object(chosen) } else { anything(draw, words) }
}

fn string(draw: &mut Draw, name: &str, words: &Words) -> String {
    if draw.one_in(8) {
        return draw.of(&words.paths).clone();
    }
    let is_path = ["path", "dir", "folder", "file", "output"].iter().any(|part| name.contains(part));
    match name {
        "project_path" if !draw.one_in(5) => words.project.clone(),
        "run_id" | "job_id" => draw.of(&words.ids).clone(),
        _ if name.contains("run_id") => draw.of(&words.ids).clone(),
        _ if name.contains("dataset") && !draw.one_in(3) => draw.of(&words.datasets).clone(),
        _ if name.contains("dataset") => draw.of(&words.paths).clone(),
        "local_path" if !draw.one_in(3) => words.valid_paths[4].clone(),
        _ if is_path && !draw.one_in(2) => draw.of(&words.valid_paths).clone(),
        _ if is_path => draw.of(&words.paths).clone(),
        _ if name.ends_with("_uri") || name.ends_with("_endpoint") => String::from("http://127.0.0.1:9/"),
        "project_name" | "run_name" => {
            format!("{}-{}", draw.of(&["p", "Q", "日本", "run"]), draw.below(1000))
        }
        _ => text(draw),
    }
}

fn text(draw: &mut Draw) -> String {
    const TEXTS: &[&str] = &[
        "",
        " ",
        "a",
        "a/b",
        "olmo2-tiny",
        "USA",
        "cpu",
        "NaN",
        "Infinity",
        "-1",
        "null",
        "true",
        "1e999",
        "\0",
        "\u{1b}[2J",
        "\n\n",
        "日本語",
        "\u{202e}txt",
        "../..",
        "${HOME}",
        "{{ 7 * 7 }}",
        "'; DROP TABLE runs; --",
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "q_proj",
        "exact_match",
        "http://127.0.0.1:9/",
        "💥",
        "ﬀ",
        "simplecnn",
        "resnet18",
        "jsonl",
        "__proto__",
    ];
    let text = *draw.of(TEXTS);
    if draw.one_in(12) { text.repeat(3000) } else { text.to_owned() }
}

fn anything(draw: &mut Draw, words: &Words) -> Value {
    match draw.below(6) {
        0 => json!(draw.below(100)),
        1 => json!(draw.below(1000) as f64 / 1000.0),
        2 => json!(draw.one_in(2)),
        3 => json!(text(draw)),
        4 => json!(draw.of(&words.paths)),
        _ => hostile(draw, words),
    }
}

/// What no schema wants.
fn hostile(draw: &mut Draw, words: &Words) -> Value {
    match draw.below(14) {
        0 => Value::Null,
        1 => json!(u64::MAX),
        2 => json!(i64::MIN),
        3 => json!(1e308),
        4 => json!(-1),
        5 => json!(1_u64 << 40),
        6 => json!(5e-324),
        7 => json!("x".repeat(100_000)),
        8 => (0..100).fold(json!("deep"), |inner, _| json!([inner])),
        9 => (0..50).fold(json!({}), |inner, _| json!({ "a": inner })),
        10 => json!([1, "a", null, {}, []]),
        11 => json!(draw.of(&words.paths)),
        12 => (0..2000).map(|number| json!(number)).collect(),
        _ => json!(text(draw)),
    }
}

/// Replaces, removes or adds one value somewhere in `at`.
fn spoil(draw: &mut Draw, at: &mut Value, words: &Words) {
    let children = match at {
        Value::Object(map) => map.len(),
        Value::Array(values) => values.len(),
        _ => 0,
    };
    if children > 0 && !draw.one_in(3) {
        let place = draw.below(children);
        let child = match at {
            Value::Object(map) => map.values_mut().nth(place),
            Value::Array(values) => values.get_mut(place),
            _ => None,
        };
        return child.map_or((), |child| spoil(draw, child, words));
    }
    match (draw.below(4), at) {
        (0, Value::Object(map)) => {
            map.insert(text(draw), anything(draw, words));
        }
        (1, Value::Object(map)) if children > 0 => {
            let key = map.keys().nth(draw.below(children)).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (_, at) => *at = hostile(draw, words),
    }
}
