//! `greentune mcp` through the binary; what the tools do is tested where they are.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

#[test]
fn a_client_is_served_over_standard_input_and_output() {
    assert!(listed_tools().iter().any(|tool| tool == "start_training"));
}

/// A server that is started by `command`, after one request, and its answer.
fn asked(
    mut command: Command,
    method: &str,
    params: &Value,
) -> (Child, Lines<BufReader<ChildStdout>>, Value) {
    let mut server =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let to = server.stdin.as_mut().unwrap();
    let mut from = BufReader::new(server.stdout.take().unwrap()).lines();
    let client = json!({ "name": "test", "version": "1" });
    let opening = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": method, "params": params }),
    ];
    for message in messages {
        writeln!(to, "{message}").unwrap();
    }
    let mut answer = || serde_json::from_str::<Value>(&from.next().unwrap().unwrap()).unwrap();
    assert_eq!(answer()["id"], 1);
    let answer = answer();
    (server, from, answer["result"].clone())
}

/// What a server that is started by `command` answers to one request; it ends with its client.
fn answered(command: Command, method: &str, params: &Value) -> Value {
    let (mut server, mut from, answer) = asked(command, method, params);
    drop(server.stdin.take());
    assert_eq!(from.next().map(Result::unwrap), None);
    assert_eq!(server.wait().unwrap().code(), Some(0));
    answer
}

/// What a tool answers, of a server that is killed then.
pub fn answered_and_killed(command: Command, tool: &str, with: &Value) -> Value {
    let (mut server, _, answer) = asked(command, "tools/call", &json!({ "name": tool, "arguments": with }));
    server.kill().unwrap();
    server.wait().unwrap();
    answer
}

/// What a tool answers, of a server that is started in `folder` as README and `.mcp.json` start it.
fn called(sandbox: &Sandbox, folder: &Path, arguments: &[&str], tool: &str, with: &Value) -> Value {
    called_with(sandbox, folder, arguments, &[], tool, with)
}

/// The same with `variables`.
pub fn called_with(
    sandbox: &Sandbox,
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    tool: &str,
    with: &Value,
) -> Value {
    let mut command = sandbox.command([&["mcp"], arguments].concat());
    command.current_dir(folder).env("HOME", sandbox.path("user-home")).envs(variables.iter().copied());
    answered(command, "tools/call", &json!({ "name": tool, "arguments": with }))
}

#[test]
fn without_any_argument_files_outside_the_project_are_neither_read_nor_written() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    let secret = sandbox.write("secret.csv", "canary-7f31\ncanary-7f31\n");
    let refused = |folder: &Path, tool: &str, with: Value| {
        let answer = called(&sandbox, folder, &[], tool, &with);
        assert_eq!(answer["isError"], true, "{answer}");
        assert!(!answer.to_string().contains("canary"), "{answer}");
        answer["structuredContent"]["code"].as_str().unwrap().to_owned()
    };
    for dataset in [secret.to_str().unwrap(), "/etc/passwd", "/dev/zero"] {
        let inspect = json!({ "project_path": project, "dataset": dataset });
        assert_eq!(refused(&project, "inspect_dataset", inspect), "path.outside_roots", "{dataset}");
    }
    let prepare = json!({ "project_path": project, "datasets": [secret], "output_dir": sandbox.path("out"), "force": true });
    assert_eq!(refused(&project, "prepare_dataset", prepare), "path.outside_roots");
    assert!(!sandbox.path("out").exists());
    // A folder that is no project allows nothing, and the home folder does not either.
    std::fs::create_dir_all(sandbox.path("user-home")).unwrap();
    sandbox.write("nothing/notes.txt", "not greentune's");
    for folder in ["user-home", "nothing"] {
        let new = json!({
            "project_name": "q", "output_dir": sandbox.path(folder),
            "base_model_config": { "type": "olmo", "model_id": "a/b" },
        });
        let code = refused(&sandbox.path(folder), "generate_fine_tuning_project", new);
        assert_eq!(code, "path.outside_roots", "{folder}");
    }
}

#[test]
#[cfg(unix)]
fn an_empty_folder_takes_a_first_project_unless_everybody_may_write_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let new = json!({
        "project_name": "q", "output_dir": sandbox.path("empty"),
        "base_model_config": { "type": "olmo", "model_id": "a/b" },
    });
    let folder = sandbox.path("empty");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(sandbox.path("user-home")).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let refused = called(&sandbox, &folder, &[], "generate_fine_tuning_project", &new);
    assert_eq!(refused["structuredContent"]["code"], "path.outside_roots", "{refused}");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let made = called(&sandbox, &folder, &[], "generate_fine_tuning_project", &new);
    assert_eq!(made["isError"], false, "{made}");
    assert!(folder.join("q").is_dir());
}

#[test]
fn the_project_here_and_named_folders_are_used() {
    let sandbox = Sandbox::new();
    // Beside the home folder: what holds that is too much to allow silently.
    let project = sandbox.path("projects/p");
    std::fs::create_dir_all(sandbox.path("projects")).unwrap();
    std::fs::rename(sandbox.project(), &project).unwrap();
    let list = json!({ "project_path": project });
    std::fs::create_dir_all(sandbox.path("nothing")).unwrap();
    let nothing = sandbox.path("nothing");
    let parent = project.parent().unwrap().to_owned();
    for (folder, arguments) in [
        (&project, &[][..]),
        (&project.join("data"), &[]),
        (&parent, &[]),
        (&nothing, &["--allow-dir", "../projects/p"]),
        (&nothing, &["--root", "../projects/p"]),
    ] {
        let answer = called(&sandbox, folder, arguments, "list_runs", &list);
        assert_eq!(answer["isError"], false, "{folder:?} {arguments:?}: {answer}");
    }
    let elsewhere = called(&sandbox, &project, &["--root", "../../nothing"], "list_runs", &list);
    assert_eq!(elsewhere["structuredContent"]["code"], "path.outside_roots", "--root is all that is allowed");
}

/// The names of the tools that the server lists.
pub fn listed_tools() -> Vec<String> {
    let listed = answered(Sandbox::new().command(["mcp", "--root", "."]), "tools/list", &json!({}));
    let tools = listed["tools"].as_array().unwrap().iter();
    tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}
