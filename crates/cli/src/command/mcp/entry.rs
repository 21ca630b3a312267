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
    let words = match &entry["command"] {
        Value::Array(words) => words.clone(),
        command => {
            [command].into_iter().chain(entry["args"].as_array().into_iter().flatten()).cloned().collect()
        }
    };
    let word = |at: usize| words.get(at).and_then(Value::as_str).unwrap_or_default();
    let name = word(0).rsplit(['/', '\\']).next().unwrap_or_default();
    matches!(name, "greentune" | "greentune.exe") && word(1) == "mcp"
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
    fn a_path_that_clients_would_change_is_refused() {
        for path in ["/data/$HOME", "/a/${b}"] {
            let refused = Server::new(Path::new("/bin/greentune"), &[path.into()], None).unwrap_err();
            assert_eq!(refused.0.code, "mcp.path");
        }
    }
}
