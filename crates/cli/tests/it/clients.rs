//! `greentune mcp install` and `uninstall` through the binary, in a home of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, ran};

/// Each client that greentune knows, and the file of its user's settings on Linux, below the home folder.
const FILES: &[(&str, &str)] = &[
    ("claude-code", ".claude.json"),
    ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
    ("cursor", ".cursor/mcp.json"),
    ("vscode", ".config/Code/User/mcp.json"),
    ("windsurf", ".codeium/windsurf/mcp_config.json"),
    ("devin", ".config/devin/mcp_config.json"),
    ("zed", ".config/zed/settings.json"),
    ("codex", ".codex/config.toml"),
    ("gemini-cli", ".gemini/settings.json"),
    ("copilot-cli", ".copilot/mcp-config.json"),
    ("opencode", ".config/opencode/opencode.json"),
    ("kiro", ".kiro/settings/mcp.json"),
    ("lm-studio", ".lmstudio/mcp.json"),
];

/// `greentune mcp WORDS` with a home folder in the sandbox, in its folder `work`.
fn command(sandbox: &Sandbox, words: &str) -> Command {
    let work = sandbox.path("work");
    fs::create_dir_all(&work).unwrap();
    let mut command = sandbox.command(["mcp"].into_iter().chain(words.split(' ')));
    command.current_dir(work).env("HOME", sandbox.path("h")).env_remove("XDG_CONFIG_HOME");
    for moved in ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "GEMINI_CLI_HOME", "APPDATA"] {
        command.env_remove(moved);
    }
    command
}

fn mcp(sandbox: &Sandbox, words: &str) -> Ran {
    ran(&mut command(sandbox, words))
}

/// The same with an answer to its question.
fn answered(sandbox: &Sandbox, words: &str, answer: &str) -> Ran {
    sandbox.write("answer", answer);
    let answer = fs::File::open(sandbox.path("answer")).unwrap();
    ran(command(sandbox, words).stdin(Stdio::from(answer)))
}

fn home(sandbox: &Sandbox, file: &str) -> PathBuf {
    sandbox.path("h").join(file)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    entries.flat_map(below).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn every_client_is_set_up_once_and_left_as_it_was() {
    for (client, file) in FILES {
        let sandbox = Sandbox::new();
        let path = home(&sandbox, file);
        let added = mcp(&sandbox, &format!("install --client {client} --yes --json")).json();
        assert_eq!(added["files"][0]["action"], "added", "{added}");
        assert_eq!(added["files"][0]["path"], json!(path), "{client}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(env!("CARGO_BIN_EXE_greentune")) && text.contains("\"mcp\""),
            "{client}: {text}"
        );
        // Nothing else was made, and nothing is changed by a second time.
        assert_eq!(files_below(&sandbox.path("h")), std::slice::from_ref(&path), "{client}");
        let again = mcp(&sandbox, &format!("install --client {client} --no-input --json")).json();
        assert_eq!(again["files"][0]["action"], "already_there", "{again}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{client}");
        let removed = mcp(&sandbox, &format!("uninstall --client {client} --yes --json")).json();
        assert_eq!(removed["files"][0]["action"], "removed", "{removed}");
        assert!(!fs::read_to_string(&path).unwrap().contains("greentune"), "{client}");
        let gone = mcp(&sandbox, &format!("uninstall --client {client} --no-input --json")).json();
        assert_eq!(gone["files"][0]["action"], "already_gone", "{gone}");
    }
}

/// The table of the documentation is that of the program.
#[test]
fn the_documentation_has_every_client_with_its_file() {
    let documentation =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/mcp.md")).unwrap();
    let refused = mcp(&Sandbox::new(), "install --client nobody").stderr;
    let table = documentation.lines().skip_while(|line| !line.starts_with("| client |")).skip(2);
    let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), FILES.len(), "docs/mcp.md has other clients: {rows:#?}");
    for (client, file) in FILES {
        assert!(refused.contains(client), "{refused}");
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{client}`")));
        assert!(row.is_some_and(|row| row.contains(&format!("`~/{file}`"))), "docs/mcp.md: {client} {file}");
    }
}

#[test]
fn the_change_is_shown_and_asked_for() {
    let sandbox = Sandbox::new();
    let settings =
        "{\n  \"mcpServers\": {\n    \"other\": { \"env\": { \"TOKEN\": \"canary-77\" } }\n  }\n}\n";
    let path = sandbox.write("h/.cursor/mcp.json", settings);
    let no = answered(&sandbox, "install --client cursor", "n\n");
    assert_eq!(no.code, 130, "{no:?}");
    assert!(no.stderr.contains("Write this? [y/N]") && no.stderr.contains("nothing was written"), "{no:?}");
    assert!(no.stdout.contains("+    \"greentune\": {"), "{no:?}");
    assert!(no.stdout.contains(path.to_str().unwrap()), "{no:?}");
    for unanswered in
        ["install --client cursor", "install --client cursor --no-input", "install --client cursor --json"]
    {
        let refused = mcp(&sandbox, unanswered);
        assert_eq!(refused.code, 2, "{unanswered}: {refused:?}");
        assert!(refused.stderr.contains("--yes"), "{refused:?}");
    }
    let dry = mcp(&sandbox, "install --client cursor --dry-run");
    assert!(dry.code == 0 && dry.stdout.contains("nothing was written"), "{dry:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), settings);
    assert_eq!(files_below(&sandbox.path("h")), std::slice::from_ref(&path));

    let yes = answered(&sandbox, "install --client cursor", "y\n");
    assert_eq!(yes.code, 0, "{yes:?}");
    assert!(yes.stdout.contains("next: "), "{yes:?}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("canary-77") && text.contains("greentune"), "{text}");
    let copy = home(&sandbox, ".cursor/mcp.json.greentune-backup");
    assert_eq!(fs::read_to_string(copy).unwrap(), settings);
}

/// What stands on a line that changes is shown, but no neighbour of it, and of a long line the beginning alone.
#[test]
fn credentials_beside_the_change_are_not_shown() {
    let sandbox = Sandbox::new();
    let other =
        format!("{{ \"command\": \"{}\", \"env\": {{ \"TOKEN\": \"canary-77\" }} }}", "x".repeat(200));
    for settings in [
        "{\n  \"mcpServers\": {\n    \"other\": {\n      \"env\": { \"TOKEN\": \"canary-77\" }\n    }\n  }\n}\n".to_owned(),
        format!("{{ \"mcpServers\": {{ \"other\": {other} }} }}"),
    ] {
        sandbox.write("h/.cursor/mcp.json", &settings);
        let shown = mcp(&sandbox, "install --client cursor --dry-run");
        assert!(shown.code == 0 && shown.stdout.contains("greentune"), "{shown:?}");
        assert!(!shown.stdout.contains("canary-77"), "{shown:?}");
    }
}

#[test]
fn folders_and_a_name_are_passed_on_as_absolute_paths() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("work/data")).unwrap();
    let words = "install --client cursor --name tuner --allow-dir data --allow-dir ../work --yes --quiet";
    assert_eq!(mcp(&sandbox, words).code, 0);
    let text = fs::read_to_string(home(&sandbox, ".cursor/mcp.json")).unwrap();
    let work = fs::canonicalize(sandbox.path("work")).unwrap();
    let settings: Value = serde_json::from_str(&text).unwrap();
    let arguments = json!(["mcp", "--allow-dir", work.join("data"), "--allow-dir", work]);
    assert_eq!(settings["mcpServers"]["tuner"]["args"], arguments);
    // Once more without folders, which stay; another folder replaces them.
    assert_eq!(mcp(&sandbox, "install --client cursor --name tuner --no-input").code, 0);
    assert_eq!(mcp(&sandbox, "install --client cursor --name tuner --allow-dir data --yes").code, 0);
    let replaced: Value =
        serde_json::from_str(&fs::read_to_string(home(&sandbox, ".cursor/mcp.json")).unwrap()).unwrap();
    assert_eq!(replaced["mcpServers"]["tuner"]["args"], json!(["mcp", "--allow-dir", work.join("data")]));
    let program = settings["mcpServers"]["tuner"]["command"].as_str().unwrap();
    assert!(Path::new(program).is_absolute());
    let missing = mcp(&sandbox, "install --client cursor --allow-dir nowhere --yes");
    assert!(missing.code == 1 && missing.stderr.contains("no folder at"), "{missing:?}");
    for name in ["a b", "", "a.b"] {
        let refused = ran(command(&sandbox, "install --client cursor --name").arg(name));
        assert_eq!(refused.code, 2, "{name:?}: {refused:?}");
    }
    let unknown = mcp(&sandbox, "install --client cursor --tools nonsense --yes");
    assert!(unknown.code == 2 && unknown.stderr.contains("`greentune mcp`: "), "{unknown:?}");
}

#[test]
fn a_project_has_settings_of_its_own() {
    let sandbox = Sandbox::new();
    let added = mcp(&sandbox, "install --client vscode --scope project --yes");
    assert_eq!(added.code, 0, "{added:?}");
    assert!(added.stderr.contains("note: ") && sandbox.path("work/.vscode/mcp.json").is_file(), "{added:?}");
    assert!(files_below(&sandbox.path("h")).is_empty());
    let refused = mcp(&sandbox, "install --client claude-desktop --scope project --yes");
    assert!(refused.code == 2 && refused.stderr.contains("no settings for one project"), "{refused:?}");
    // The entry that a new project brings names the program without its path.
    let project = sandbox.project();
    let changed =
        ran(command(&sandbox, "install --client claude-code --scope project --yes --project").arg(&project));
    assert_eq!(changed.code, 0, "{changed:?}");
    let settings = fs::read_to_string(project.join(".mcp.json")).unwrap();
    assert!(settings.contains(env!("CARGO_BIN_EXE_greentune")), "{settings}");
}

#[test]
fn a_server_of_that_name_that_is_not_greentunes_stays() {
    let sandbox = Sandbox::new();
    let settings = "{ \"mcpServers\": { \"greentune\": { \"command\": \"npx\", \"args\": [\"else\"] } } }\n";
    let path = sandbox.write("h/.cursor/mcp.json", settings);
    for words in ["install --client cursor --yes", "uninstall --client cursor --yes"] {
        let refused = mcp(&sandbox, words);
        assert!(refused.code == 1 && refused.stderr.contains("--name"), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), settings);
}

#[test]
fn damaged_settings_stay_as_they_are() {
    let sandbox = Sandbox::new();
    for (client, file, text) in [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", "{ // no\n}".as_bytes()),
        ("codex", ".codex/config.toml", b"[mcp_servers\n"),
        ("zed", ".config/zed/settings.json", b"{ \"context_servers\": [] }"),
        ("cursor", ".cursor/mcp.json", b"{ \"a\": \"\xff\" }"),
    ] {
        let path = home(&sandbox, file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let refused = mcp(&sandbox, &format!("install --client {client} --yes"));
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("is not changed: "), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), text);
    }
}

#[test]
fn a_snippet_is_printed_and_nothing_written() {
    let sandbox = Sandbox::new();
    let printed = mcp(&sandbox, "install --print --client other");
    let snippet: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(snippet["mcpServers"]["greentune"]["args"], json!(["mcp"]));
    let codex = mcp(&sandbox, "install --print --client codex");
    assert!(codex.stdout.starts_with("[mcp_servers.greentune]\n"), "{codex:?}");
    assert!(codex.stderr.contains(".codex/config.toml"), "{codex:?}");
    assert_eq!(mcp(&sandbox, "install --client other --yes").code, 2);
    assert!(files_below(&sandbox.path("h")).is_empty());
}

#[test]
fn variables_that_move_a_clients_folder_are_followed() {
    let sandbox = Sandbox::new();
    for (client, variable, file) in [
        ("claude-code", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("codex", "CODEX_HOME", "config.toml"),
        ("copilot-cli", "COPILOT_HOME", "mcp-config.json"),
        ("gemini-cli", "GEMINI_CLI_HOME", ".gemini/settings.json"),
        ("vscode", "XDG_CONFIG_HOME", "Code/User/mcp.json"),
    ] {
        let folder = sandbox.path("moved").join(client);
        let words = format!("install --client {client} --yes");
        assert_eq!(ran(command(&sandbox, &words).env(variable, &folder)).code, 0, "{client}");
        assert!(folder.join(file).is_file(), "{client}");
    }
    assert!(files_below(&sandbox.path("h")).is_empty());
}

#[test]
fn the_skill_is_written_and_replaced_as_long_as_it_is_greentunes() {
    let sandbox = Sandbox::new();
    let skill = home(&sandbox, ".claude/skills/greentune/SKILL.md");
    let words = "install --client claude-code --skill --yes --json";
    let added = mcp(&sandbox, words).json();
    assert_eq!([&added["files"][1]["what"], &added["files"][1]["action"]], ["skill", "added"], "{added}");
    let text = fs::read_to_string(&skill).unwrap();
    assert!(text.starts_with("---\nname: greentune\n"), "{text}");
    assert_eq!(mcp(&sandbox, words).json()["files"][1]["action"], "already_there");
    fs::write(&skill, format!("{text}my own advice\n")).unwrap();
    for words in [words, "uninstall --client claude-code --skill --yes --json"] {
        assert_eq!(mcp(&sandbox, words).problem()["code"], "path.not_greentunes");
    }
    fs::write(&skill, &text).unwrap();
    // Without the flag the skill stays.
    assert_eq!(mcp(&sandbox, "uninstall --client claude-code --yes").code, 0);
    assert!(skill.is_file());
    let removed = mcp(&sandbox, "uninstall --client claude-code --skill --yes --json").json();
    assert_eq!(removed["files"][1]["action"], "removed", "{removed}");
    assert!(!skill.exists());
    let none = mcp(&sandbox, "install --client claude-desktop --skill --yes --json").problem();
    assert_eq!(none["code"], "mcp.no_skills");
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn permissions_stay_and_the_copy_has_them_too() {
        let sandbox = Sandbox::new();
        let path = sandbox.write("h/.claude.json", "{ \"userID\": \"a\" }\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(mcp(&sandbox, "install --client claude-code --yes").code, 0);
        for file in [".claude.json", ".claude.json.greentune-backup"] {
            let mode = fs::metadata(home(&sandbox, file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn links_and_files_for_reading_alone_are_refused() {
        let sandbox = Sandbox::new();
        let elsewhere = sandbox.write("dotfiles/mcp.json", "{}\n");
        fs::create_dir_all(home(&sandbox, ".cursor")).unwrap();
        symlink(&elsewhere, home(&sandbox, ".cursor/mcp.json")).unwrap();
        let read_only = sandbox.write("h/.kiro/settings/mcp.json", "{}\n");
        fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444)).unwrap();
        fs::create_dir_all(home(&sandbox, ".lmstudio/mcp.json")).unwrap();
        for (client, why) in [
            ("cursor", "it is a link to"),
            ("kiro", "it is read-only"),
            ("lm-studio", "it is no regular file"),
        ] {
            let refused = mcp(&sandbox, &format!("install --client {client} --yes"));
            assert!(refused.code == 1 && refused.stderr.contains(why), "{refused:?}");
            assert!(refused.stderr.contains("--print"), "{refused:?}");
        }
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "{}\n");
        assert_eq!(fs::read_to_string(read_only).unwrap(), "{}\n");
    }

    #[test]
    fn a_project_cannot_lead_the_change_elsewhere() {
        let sandbox = Sandbox::new();
        let victim = sandbox.path("victim");
        fs::create_dir_all(&victim).unwrap();
        fs::create_dir_all(sandbox.path("work")).unwrap();
        for folder in [".vscode", ".github"] {
            symlink(&victim, sandbox.path("work").join(folder)).unwrap();
        }
        for words in [
            "install --client vscode --scope project --yes",
            "install --client copilot-cli --scope project --yes",
        ] {
            let refused = mcp(&sandbox, words);
            assert!(refused.code == 1 && refused.stderr.contains("leads out of the project"), "{refused:?}");
        }
        assert!(files_below(&victim).is_empty());
    }
}
