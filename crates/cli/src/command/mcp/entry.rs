//! What a client's settings say of greentune's server.

use std::path::{Path, PathBuf};

use greentune_core_config::ProblemKind;
use serde_json::{Map, Value, json};

use super::client::Shape;
use crate::failure::Failure;

/// How a client starts the server.
#[derive(Debug)]
pub struct Server {
    program: String,
    arguments: Vec<String>,
}

impl Server {
    /// `program mcp` with the folders and the preset of tools that are named.
    ///
    /// Errors: a path that a client would not pass on as it is.
    pub fn new(program: &Path, allowed: &[PathBuf], tools: Option<&str>) -> Result<Self, Failure> {
        let mut arguments = vec![String::from("mcp")];
        for folder in allowed {
            arguments.extend([String::from("--allow-dir"), passed_on(folder)?]);
        }
        arguments.extend(tools.into_iter().flat_map(|preset| [String::from("--tools"), preset.to_owned()]));
        Ok(Self { program: passed_on(program)?, arguments })
    }

    /// The same, with the folders and tools of the entry that is there where none are named.
    pub fn keeping_those_of(&self, entry: &Value) -> Self {
        let there = words_of(entry).into_iter().skip(1);
        let there: Option<Vec<String>> = there.map(|word| word.as_str().map(str::to_owned)).collect();
        let arguments = there.filter(|_| self.arguments.len() == 1);
        Self { program: self.program.clone(), arguments: arguments.unwrap_or_else(|| self.arguments.clone()) }
    }

    /// The arguments that the program gets.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The entry in a client's form.
    pub fn entry(&self, shape: Shape) -> Map<String, Value> {
        let Self { program, arguments } = self;
        let entry = match shape {
            Shape::Plain => json!({ "command": program, "args": arguments }),
            Shape::Stdio => json!({ "type": "stdio", "command": program, "args": arguments }),
            Shape::Local => {
                json!({ "type": "local", "command": program, "args": arguments, "tools": ["*"] })
            }
            Shape::OneList => {
                let command: Vec<_> = [program].into_iter().chain(arguments).collect();
                json!({ "type": "local", "command": command, "enabled": true })
            }
        };
        entry.as_object().cloned().unwrap_or_default()
    }
}

/// Whether `entry` starts greentune's server, whichever greentune and with whatever folders.
pub fn starts_greentune(entry: &Value) -> bool {
    let words = words_of(entry);
    let word = |at: usize| words.get(at).and_then(Value::as_str).unwrap_or_default();
    let name = word(0).rsplit(['/', '\\']).next().unwrap_or_default();
    matches!(name, "greentune" | "greentune.exe") && word(1) == "mcp"
}

/// The command of `entry` with its arguments.
fn words_of(entry: &Value) -> Vec<Value> {
    match &entry["command"] {
        Value::Array(words) => words.clone(),
        command => {
            [command].into_iter().chain(entry["args"].as_array().into_iter().flatten()).cloned().collect()
        }
    }
}

/// Clients put values in the place of `$NAME` and `${NAME}`, each in its own way.
fn passed_on(path: &Path) -> Result<String, Failure> {
    let refused = |why: &str| {
        let message = format!("{}: {why}", path.display());
        Failure::new(ProblemKind::InvalidInput, "mcp.path", message).with_hint("use a path without it")
    };
    let text = path
        .to_str()
        .ok_or_else(|| refused("a client's settings hold text in UTF-8, which this path is not"))?;
    if text.contains('$') {
        return Err(refused("clients put something else in the place of a `$`"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(tools: Option<&str>) -> Server {
        let folders = [PathBuf::from("/data"), PathBuf::from("/my models")];
        Server::new(Path::new("/bin/greentune"), &folders, tools).map_err(|Failure(problem)| problem).unwrap()
    }

    #[test]
    fn each_form_starts_the_same_command() {
        for (shape, expected) in [
            (
                Shape::Plain,
                r#"{"command":"/bin/greentune","args":["mcp","--allow-dir","/data","--allow-dir","/my models"]}"#,
            ),
            (
                Shape::Stdio,
                r#"{"type":"stdio","command":"/bin/greentune","args":["mcp","--allow-dir","/data","--allow-dir","/my models"]}"#,
            ),
            (
                Shape::Local,
                r#"{"type":"local","command":"/bin/greentune","args":["mcp","--allow-dir","/data","--allow-dir","/my models"],"tools":["*"]}"#,
            ),
            (
                Shape::OneList,
                r#"{"type":"local","command":["/bin/greentune","mcp","--allow-dir","/data","--allow-dir","/my models"],"enabled":true}"#,
            ),
        ] {
            let entry = Value::Object(server(None).entry(shape));
            assert_eq!(entry.to_string(), expected);
            assert!(starts_greentune(&entry), "{shape:?}");
        }
        assert_eq!(server(Some("core")).arguments()[5..], ["--tools", "core"]);
    }

    #[test]
    fn another_server_is_not_taken_for_greentunes() {
        for entry in [
            json!({ "command": "npx", "args": ["greentune", "mcp"] }),
            json!({ "command": "/bin/greentune", "args": ["train"] }),
            json!({ "command": ["node", "mcp"] }),
            json!({ "url": "https://example.com" }),
            json!("greentune mcp"),
            json!(null),
        ] {
            assert!(!starts_greentune(&entry), "{entry}");
        }
        assert!(starts_greentune(&json!({ "command": r"C:\bin\greentune.exe", "args": ["mcp"], "env": {} })));
        assert!(starts_greentune(&json!({ "command": "greentune", "args": ["mcp"] })));
    }

    #[test]
    fn folders_that_are_there_stay_where_none_are_named() {
        let bare = Server::new(Path::new("/new/greentune"), &[], None).unwrap();
        for shape in [Shape::Stdio, Shape::OneList] {
            let there = Value::Object(server(Some("core")).entry(shape));
            let kept = bare.keeping_those_of(&there);
            assert_eq!(
                (kept.program.as_str(), kept.arguments()),
                ("/new/greentune", server(Some("core")).arguments())
            );
            assert_eq!(server(None).keeping_those_of(&there).arguments(), server(None).arguments());
        }
    }

    #[test]
    fn a_path_that_clients_would_change_is_refused() {
        for path in ["/data/$HOME", "/a/${b}"] {
            let refused = Server::new(Path::new("/bin/greentune"), &[path.into()], None).unwrap_err();
            assert_eq!(refused.0.code, "mcp.path");
        }
    }
}
