use serde_json::json;

use super::*;
use crate::command::mcp::client::find;

fn slot(client: &str) -> Slot<'static> {
    Slot { client: find(client).unwrap(), name: "greentune" }
}

fn entry() -> Map<String, Value> {
    json!({ "command": "/bin/greentune", "args": ["mcp", "--allow-dir", "/data"] })
        .as_object()
        .cloned()
        .unwrap()
}

fn written(client: &str, text: &str) -> String {
    slot(client).write(text, &entry()).unwrap()
}

/// What is written is read again, writing it once more changes nothing, and taking it out leaves the rest.
fn round_trip(client: &str, text: &str) -> String {
    let slot = slot(client);
    assert_eq!(slot.read(text), Ok(None));
    let with = written(client, text);
    assert_eq!(slot.read(&with), Ok(Some(Value::Object(entry()))));
    assert_eq!(slot.write(&with, &entry()).as_ref(), Ok(&with));
    let without = slot.remove(&with).unwrap();
    assert_eq!(slot.read(&without), Ok(None));
    assert_eq!(slot.remove(&without).as_ref(), Ok(&without));
    with
}

#[test]
fn settings_that_are_not_there_are_begun() {
    for text in ["", "  \n"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(round_trip("cursor", text).trim_start(), @r#"
            {
              "mcpServers": {
                "greentune": {
                  "command": "/bin/greentune",
                  "args": ["mcp", "--allow-dir", "/data"]
                }
              }
            }
            "#);
        }
    }
    insta::assert_snapshot!(round_trip("codex", ""), @r#"
    [mcp_servers.greentune]
    command = "/bin/greentune"
    args = ["mcp", "--allow-dir", "/data"]
    "#);
}

#[test]
fn comments_commas_order_and_unknown_keys_stay() {
    let zed = r#"// Zed settings
{
    /* what I like */
    "vim_mode": true, // always
    "context_servers": {
        // the other one
        "other": {
            "command": "npx",
            "env": { "TOKEN": "secret" },
        },
    },
    "theme": "One Dark", // dark
}
"#;
    insta::assert_snapshot!(round_trip("zed", zed), @r#"
    // Zed settings
    {
        /* what I like */
        "vim_mode": true, // always
        "context_servers": {
            // the other one
            "other": {
                "command": "npx",
                "env": { "TOKEN": "secret" },
            },
            "greentune": {
                "command": "/bin/greentune",
                "args": ["mcp", "--allow-dir", "/data"],
            },
        },
        "theme": "One Dark", // dark
    }
    "#);
    assert_eq!(slot("zed").remove(&written("zed", zed)).as_deref(), Ok(zed));
}

#[test]
fn toml_keeps_comments_order_and_its_own_way_of_writing() {
    let codex = r#"# my settings
model = "gpt-5"   # the usual

[mcp_servers.docs]   # documentation
command = 'npx'
args = [
    "-y", # yes
    "docs",
]

[tui]
theme = "dark"
"#;
    insta::assert_snapshot!(round_trip("codex", codex), @r#"
    # my settings
    model = "gpt-5"   # the usual

    [mcp_servers.docs]   # documentation
    command = 'npx'
    args = [
        "-y", # yes
        "docs",
    ]

    [mcp_servers.greentune]
    command = "/bin/greentune"
    args = ["mcp", "--allow-dir", "/data"]

    [tui]
    theme = "dark"
    "#);
    assert_eq!(slot("codex").remove(&written("codex", codex)).as_deref(), Ok(codex));
    let inline = "mcp_servers = { docs = { command = \"npx\" } }\n";
    insta::assert_snapshot!(round_trip("codex", inline), @r#"mcp_servers = { docs = { command = "npx" } , greentune = { command = "/bin/greentune", args = ["mcp", "--allow-dir", "/data"] } }"#);
}

#[test]
fn line_ends_and_byte_order_marks_stay() {
    let json = "\u{feff}{\r\n  \"mcpServers\": {\r\n  }\r\n}\r\n";
    let with = round_trip("cursor", json);
    assert!(with.starts_with('\u{feff}') && with.ends_with("}\r\n"), "{with:?}");
    assert_eq!(with.matches("\r\n").count(), with.matches('\n').count(), "{with:?}");
    let toml = "model = \"a\"\r\n\r\n[tui]\r\nx = 1\r\n";
    let with = round_trip("codex", toml);
    assert!(with.starts_with(toml), "{with:?}");
    assert_eq!(with.matches("\r\n").count(), with.matches('\n').count(), "{with:?}");
    assert_eq!(slot("codex").write("a = 1\r\nb = 2\n", &entry()), Err(Unusable::NotKept));
}

#[test]
fn an_entry_that_is_there_keeps_what_else_it_says() {
    let json = r#"{
  "mcpServers": {
    "greentune": {
      "command": "/old/greentune", // by hand
      "args": ["mcp"],
      "env": { "GREENTUNE_HOME": "/x" }
    }
  }
}
"#;
    insta::assert_snapshot!(written("cursor", json), @r#"
    {
      "mcpServers": {
        "greentune": {
          "command": "/bin/greentune", // by hand
          "args": ["mcp", "--allow-dir", "/data"],
          "env": { "GREENTUNE_HOME": "/x" }
        }
      }
    }
    "#);
    let toml = "[mcp_servers.greentune]\ncommand = \"/old/greentune\" # by hand\nargs = [\"mcp\"]\nenabled = false\n";
    insta::assert_snapshot!(written("codex", toml), @r#"
    [mcp_servers.greentune]
    command = "/bin/greentune" # by hand
    args = ["mcp", "--allow-dir", "/data"]
    enabled = false
    "#);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let write = |client, text| slot(client).write(text, &entry()).unwrap_err();
    for (client, text) in [
        ("claude-desktop", "{ \"a\": 1, }"),
        ("claude-desktop", "// comment\n{}"),
        ("cursor", "{ \"mcpServers\": {"),
        ("cursor", "{} {}"),
        ("cursor", "not json"),
        ("codex", "[mcp_servers\n"),
        ("codex", "a = 1\na = 2\n"),
    ] {
        assert!(matches!(write(client, text), Unusable::Damaged(_)), "{client} {text}");
        assert!(matches!(slot(client).read(text), Err(Unusable::Damaged(_))), "{client} {text}");
    }
    for (client, text, keys) in [
        ("cursor", "[]", "mcpServers"),
        ("cursor", "{ \"mcpServers\": [] }", "mcpServers"),
        ("vscode", "{ \"servers\": null }", "servers"),
        ("codex", "mcp_servers = 1", "mcp_servers"),
    ] {
        assert_eq!(write(client, text), Unusable::NoServers(keys.to_owned()), "{client} {text}");
    }
    // The client reads the second one, which the change would not reach.
    let twice = r#"{ "mcpServers": {}, "mcpServers": { "a": { "command": "b" } } }"#;
    assert_eq!(write("cursor", twice), Unusable::NotKept);
}

#[test]
fn a_damaged_file_is_named_with_the_place() {
    let failure = |client: &str, text: &str| {
        let slot = slot(client);
        slot.failure(Path::new("/h/settings"), slot.read(text).unwrap_err()).0.message
    };
    insta::assert_snapshot!(failure("claude-desktop", "{\n  \"a\": 1,\n}\n"), @"/h/settings is not changed: it cannot be read as JSON: Trailing commas are not allowed on line 2 column 9");
    insta::assert_snapshot!(failure("claude-code", "{\n} // end\n"), @"/h/settings is not changed: it cannot be read as JSON: no plain JSON (a comment?) on line 2 column 3");
    assert!(
        failure("codex", "a = 1\nb = \n").ends_with(" on line 2"),
        "{}",
        failure("codex", "a = 1\nb = \n")
    );
}
