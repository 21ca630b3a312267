//! The OpenAPI document: every path, with the schemas of the operations' own types.

use greentune_workbench::operation::{Effect, Entry, OPERATIONS};
use serde_json::{Map, Value, json};

/// A path that is none of the operations': path, title, what it answers, arguments in the address, kind of the answer.
struct Route {
    path: &'static str,
    title: &'static str,
    words: &'static str,
    arguments: &'static [(&'static str, &'static str, &'static str)],
    /// The operation whose answer it is.
    answer: Option<&'static str>,
    kind: &'static str,
}

const JSON: &str = "application/json";
const PROJECT: (&str, &str, &str) = ("project", "string", "Path of the project.");

const ROUTES: &[Route] = &[
    Route {
        path: "/emissions/{run_id}/current",
        title: "Current emissions of a run",
        words: "The latest figures of the stage that was metered last.",
        arguments: &[PROJECT],
        answer: Some("get_current_emissions"),
        kind: JSON,
    },
    Route {
        path: "/emissions/{run_id}/summary",
        title: "Emissions of a run",
        words: "Energy and emissions by stage, with equivalents and recommendations.",
        arguments: &[PROJECT],
        answer: Some("get_emissions_summary"),
        kind: JSON,
    },
    Route {
        path: "/emissions/aggregate",
        title: "Emissions of all runs",
        words: "All runs of a project together; of every known project where none is named.",
        arguments: &[PROJECT],
        answer: Some("get_aggregate_emissions"),
        kind: JSON,
    },
    Route {
        path: "/api/v1/server",
        title: "The server",
        words: "Its version, its project, and what the caller may do.",
        arguments: &[],
        answer: None,
        kind: JSON,
    },
    Route {
        path: "/api/v1/runs",
        title: "Runs",
        words: "A page of runs, the newest first; next is the after of the following page.",
        arguments: &[
            PROJECT,
            ("status", "string", "Statuses, separated by commas."),
            ("search", "string", "Part of the id, the name or the project."),
            ("limit", "integer", "Runs of a page; 50 when absent."),
            ("after", "string", "The next of the page before."),
            ("losses", "integer", "Training losses to add of each run."),
        ],
        answer: Some("list_runs"),
        kind: JSON,
    },
    Route {
        path: "/api/v1/runs/{run_id}",
        title: "A run",
        words: "run as show_run answers, progress as monitor_training_progress does.",
        arguments: &[PROJECT],
        answer: None,
        kind: JSON,
    },
    Route {
        path: "/api/v1/runs/{run_id}/events",
        title: "Events of a run as they come",
        words: "Server-sent events: id is the event's number, event its kind, data the event. status, end and problem are the server's own.",
        arguments: &[PROJECT, ("after", "integer", "Number of the last event that the caller has.")],
        answer: None,
        kind: "text/event-stream",
    },
    Route {
        path: "/api/v1/runs/{run_id}/series",
        title: "The course of a run's figures",
        words: "Buckets with mean, least and greatest value.",
        arguments: &[
            PROJECT,
            ("names", "string", "Figures, separated by commas."),
            ("points", "integer", "Buckets of each figure at most; 500 when absent."),
            ("from", "integer", "First step."),
            ("to", "integer", "Last step."),
            ("after", "integer", "last_seq of the answer before."),
        ],
        answer: Some("get_series"),
        kind: JSON,
    },
    Route {
        path: "/api/v1/runs/{run_id}/log",
        title: "The end of a run's log",
        words: "The last lines that its worker wrote.",
        arguments: &[PROJECT, ("lines", "integer", "Lines at most; 200 when absent.")],
        answer: Some("show_log"),
        kind: JSON,
    },
    Route {
        path: "/api/v1/emissions/rows",
        title: "Rows of emissions",
        words: "Every row that was metered, with CodeCarbon's columns; as a file with format=csv.",
        arguments: &[PROJECT, ("format", "format", "json or csv.")],
        answer: Some("list_emissions"),
        kind: JSON,
    },
    Route {
        path: "/healthz",
        title: "Whether it serves",
        words: "Says ok.",
        arguments: &[],
        answer: None,
        kind: "text/plain",
    },
    Route {
        path: "/metrics",
        title: "Metrics",
        words: "Runs and their figures for Prometheus.",
        arguments: &[],
        answer: None,
        kind: "text/plain",
    },
];

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    let mut types = Types::default();
    types.0.insert(String::from("Problem"), problem());
    for entry in OPERATIONS {
        types.add(entry);
    }
    for route in ROUTES {
        paths.insert(route.path.to_owned(), json!({ "get": of_route(route) }));
    }
    for entry in OPERATIONS {
        let mut methods = Map::new();
        if entry.effect == Effect::Reads {
            methods.insert(String::from("get"), by_address(entry));
        }
        methods.insert(String::from("post"), by_body(entry));
        paths.insert(format!("/api/v1/{}", entry.name), Value::Object(methods));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "greentune",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Fine-tuning and what it costs. docs/http.md says more.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": types.0,
        },
    })
}

/// The types that answers have, by name.
#[derive(Default)]
struct Types(Map<String, Value>);

impl Types {
    /// Adds the type of `entry`'s answer under the operation's name, and those that it is made of.
    fn add(&mut self, entry: &Entry) {
        let mut schema = entry.whole_response_schema();
        let parts = match schema.remove("$defs") {
            Some(Value::Object(parts)) => parts,
            _ => Map::new(),
        };
        // Two types may have the same name.
        let is_taken = |(name, part): (&String, &Value)| {
            self.0.get(name).is_some_and(|known| *known != placed(part, &|name| name.to_owned()))
        };
        let taken: Vec<String> =
            parts.iter().filter(|part| is_taken(*part)).map(|(name, _)| name.clone()).collect();
        let named = |name: &str| {
            if taken.iter().any(|one| one == name) {
                format!("{name}_{}", entry.name)
            } else {
                name.to_owned()
            }
        };
        for (name, part) in &parts {
            self.0.insert(named(name), placed(part, &named));
        }
        self.0.insert(entry.name.to_owned(), placed(&Value::Object(schema), &named));
    }
}

/// `schema` with its references to where types lie in the document.
fn placed(schema: &Value, named: &dyn Fn(&str) -> String) -> Value {
    match schema {
        Value::Object(fields) => {
            let placed = fields.iter().map(|(name, value)| {
                let target =
                    value.as_str().filter(|_| name == "$ref").and_then(|path| path.strip_prefix("#/$defs/"));
                let value = match target {
                    Some(target) => Value::String(format!("#/components/schemas/{}", named(target))),
                    None => placed(value, named),
                };
                (name.clone(), value)
            });
            Value::Object(placed.collect())
        }
        Value::Array(items) => items.iter().map(|item| placed(item, named)).collect(),
        other => other.clone(),
    }
}

/// The answer of the operation `name`.
fn answer_of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn of_route(route: &Route) -> Value {
    let run = route.path.contains("{run_id}").then(|| {
        json!({ "name": "run_id", "in": "path", "required": true, "schema": { "type": "string" },
                "description": "Id of the run, its name, or the beginning of one." })
    });
    let in_address = route.arguments.iter().map(|(name, kind, words)| {
        let schema = match *kind {
            "integer" => json!({ "type": "integer", "minimum": 0 }),
            "format" => json!({ "type": "string", "enum": ["json", "csv"] }),
            kind => json!({ "type": kind }),
        };
        json!({ "name": name, "in": "query", "schema": schema, "description": words })
    });
    let schema = match route.answer {
        Some("list_runs") => json!({ "allOf": [answer_of("list_runs"), page_of_runs()] }),
        Some(name) => answer_of(name),
        None if route.path.ends_with("{run_id}") => json!({
            "type": "object",
            "required": ["run", "progress"],
            "properties": { "run": answer_of("show_run"), "progress": answer_of("monitor_training_progress") },
        }),
        None if route.kind == JSON => json!({ "type": "object" }),
        None => json!({ "type": "string" }),
    };
    let mut responses = responses(route.kind, &schema);
    if route.answer == Some("list_emissions") {
        responses["200"]["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
    }
    json!({
        "summary": route.title,
        "description": route.words,
        "operationId": operation_id(route.path),
        "parameters": run.into_iter().chain(in_address).collect::<Vec<_>>(),
        "responses": responses,
    })
}

fn operation_id(path: &str) -> String {
    let words = path.split(['/', '{', '}']).filter(|word| !word.is_empty() && *word != "run_id");
    words.collect::<Vec<_>>().join("_")
}

fn by_address(entry: &Entry) -> Value {
    let schema = entry.request_schema();
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    // What is an object in itself has no place in an address.
    let plain = properties.into_iter().filter(|(_, property)| property["type"] != "object");
    let parameters: Vec<_> = plain
        .map(|(name, mut property)| {
            let words = property.as_object_mut().and_then(|fields| fields.remove("description"));
            let is_required = required.iter().any(|one| *one == name.as_str());
            json!({
                "name": name, "in": "query", "required": is_required, "schema": property,
                "description": words.unwrap_or_default(), "style": "form", "explode": false,
            })
        })
        .collect();
    json!({
        "summary": entry.title,
        "description": entry.description,
        "operationId": format!("{}_by_address", entry.name),
        "parameters": parameters,
        "responses": responses(JSON, &answer_of(entry.name)),
    })
}

fn by_body(entry: &Entry) -> Value {
    let mut schema = entry.request_schema().clone();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let words = "The user agrees to what this uploads or replaces.";
        properties
            .insert(String::from("confirm"), json!({ "type": ["boolean", "null"], "description": words }));
    }
    // Without a body there are no arguments.
    let is_needed = schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    json!({
        "summary": entry.title,
        "description": entry.description,
        "operationId": entry.name,
        "requestBody": { "required": is_needed, "content": { JSON: { "schema": schema } } },
        "responses": responses(JSON, &answer_of(entry.name)),
    })
}

fn responses(kind: &str, schema: &Value) -> Value {
    let problem =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    json!({
        "200": { "description": "The answer.", "content": { kind: { "schema": schema } } },
        "204": { "description": "Nothing more will come." },
        "304": { "description": "The caller has it already." },
        "default": { "description": "What was wrong.", "content": problem },
    })
}

/// What a page of runs has beside the operation's answer.
fn page_of_runs() -> Value {
    json!({
        "type": "object",
        "required": ["next", "total"],
        "properties": {
            "next": { "type": ["string", "null"], "description": "after of the next page; null on the last one." },
            "total": { "type": ["integer", "null"], "description": "Runs in all; on the first page." },
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457, and greentune's own fields.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What was wrong, with what was found and what is allowed." },
            "code": { "type": "string", "description": "Stable, such as run.unknown." },
            "kind": { "type": "string" },
            "hint": { "type": "string", "description": "What to do next." },
            "retryable": { "type": "boolean" },
            "location": { "type": "object" },
            "suggestions": { "type": "array", "items": { "type": "object" } },
            "problems": { "type": "array", "items": { "type": "object" } },
        },
    })
}
