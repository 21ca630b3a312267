//! Every operation of the workbench has a command and a tool, or a reason why it has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use greentune_core_config::Suggestion;
use greentune_mcp_server::NOT_OFFERED;
use greentune_workbench::{
    command_line::{command, command_words},
    operation::{Entry, OPERATIONS},
};
use serde_json::{Map, Value, json};

use crate::{
    assistant::listed_tools,
    sandbox::{Sandbox, ran},
};

/// Operations without a command, and why.
const NO_COMMAND: &[(&str, &str)] = &[(
    "monitor_training",
    "the few figures of a dashboard; `monitor` shows those of monitor_training_progress",
)];

#[test]
fn every_operation_has_a_command_or_a_reason() {
    let reasons: BTreeMap<_, _> = NO_COMMAND.iter().copied().collect();
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let sandbox = Sandbox::new();
    for Entry { name, .. } in OPERATIONS {
        let is_called = sources.contains(&format!(".{name}("));
        match (command_words(name), reasons.get(name)) {
            (Some(words), None) => {
                assert!(is_called, "no command calls {name}, which `greentune {words}` is said to perform");
                let help = sandbox.run(words.split(' ').chain(["--help"]));
                assert_eq!(help.code, 0, "{name}: there is no command `{words}`");
            }
            (None, Some(_)) => {
                assert!(!is_called, "{name} has a command, and a reason why not: drop the reason");
            }
            (None, None) => panic!("{name} has neither a command nor a reason why not"),
            (Some(words), Some(_)) => panic!("{name} has the command `{words}` and a reason why not"),
        }
    }
    assert_known("NO_COMMAND", NO_COMMAND);
}

#[test]
fn every_operation_is_a_tool_or_has_a_reason() {
    let tools: BTreeSet<_> = listed_tools().into_iter().collect();
    let reasons: BTreeMap<_, _> = NOT_OFFERED.iter().copied().collect();
    for Entry { name, .. } in OPERATIONS {
        match (tools.contains(*name), reasons.contains_key(name)) {
            (true, false) | (false, true) => {}
            (false, false) => panic!("{name} is no tool, and has no reason why not"),
            (true, true) => panic!("{name} is a tool, and has a reason why not"),
        }
    }
    assert_eq!(tools.len() + reasons.len(), OPERATIONS.len(), "a tool is no operation: {tools:?}");
    assert_known("NOT_OFFERED", NOT_OFFERED);
}

/// What hints and answers call a command, with every argument that has a flag, is understood by the command line.
#[test]
fn commands_as_they_are_worded_are_commands() {
    let sandbox = Sandbox::new();
    for operation in OPERATIONS.iter().filter(|operation| command_words(operation.name).is_some()) {
        let schema = Value::Object(operation.request_schema().clone());
        for truth in [true, false] {
            let mut arguments = sample(&schema, truth);
            if let Some(model) = arguments.get_mut("model") {
                *model = "simplecnn".into();
            }
            let arguments = arguments.as_object().cloned().unwrap_or_default();
            let words =
                command(&Suggestion { purpose: String::new(), operation: operation.name.into(), arguments });
            // Help ends the reading of arguments: each before it is known, and none is wanting.
            let line = match words.split_once(" -- ") {
                Some((own, program)) => format!("{own} --help -- {program}"),
                None => format!("{words} --help"),
            };
            let binary = sandbox.command([""; 0]).get_program().to_string_lossy().into_owned();
            let line = line.replacen("greentune", &binary, 1);
            let understood = ran(Command::new("/bin/sh").arg("-c").arg(&line));
            assert_eq!(understood.code, 0, "{words}: {}", understood.stderr);
        }
    }
}

/// A value that `schema` allows, with all of its fields.
fn sample(schema: &Value, truth: bool) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("string");
    match (kind, schema["properties"].as_object()) {
        ("boolean", _) => truth.into(),
        ("integer", _) => 1.into(),
        ("number", _) => json!(0.5),
        // Two, which is the least that a comparison takes.
        ("array", _) => json!([sample(&schema["items"], truth), sample(&schema["items"], truth)]),
        ("object", Some(fields)) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), sample(field, truth)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        ("object", None) => json!({ "lora.rank": 4 }),
        _ => "it's".into(),
    }
}

/// The text of all sources in `folder`.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| {
        if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap() }
    };
    entries.map(text).collect()
}

fn assert_known(list: &str, reasons: &[(&str, &str)]) {
    for (name, reason) in reasons {
        assert!(OPERATIONS.iter().any(|operation| operation.name == *name), "{list}: {name} is no operation");
        assert!(!reason.is_empty(), "{list}: {name} has no reason");
    }
}
