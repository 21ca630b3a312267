//! What the command line says of itself.

use crate::sandbox::Sandbox;

#[test]
fn help_names_every_command_and_hides_the_worker() {
    let help = Sandbox::new().run(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(help.stdout);
}

#[test]
fn help_of_every_command() {
    let sandbox = Sandbox::new();
    let commands = [
        "demo",
        "new",
        "data inspect",
        "runs new",
        "runs list",
        "runs show",
        "runs plan",
        "train",
        "monitor",
        "cancel",
        "resume",
        "evaluate",
        "generate",
        "export",
        "sync",
        "emissions summary",
        "tasks show",
        "tasks cancel",
        "doctor",
        "config show",
        "completions",
        "mcp",
        "mcp install",
        "mcp uninstall",
    ];
    let own = |command: &str| {
        let help = sandbox.run(command.split(' ').chain(["--help"]));
        assert_eq!(help.code, 0, "{help:?}");
        // The flags of every command are the same.
        let own = help.stdout.split("Global options:").next().unwrap();
        format!("# {command}\n{}", own.trim())
    };
    insta::assert_snapshot!(commands.map(own).join("\n\n"));
}

#[test]
fn version_is_that_of_the_package() {
    let version = Sandbox::new().run(["--version"]);
    assert_eq!(version.stdout, concat!("greentune ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!((version.code, version.stderr.as_str()), (0, ""));
}

#[test]
fn completions_know_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = sandbox.run(["completions", shell]);
        assert_eq!((script.code, script.stderr.as_str()), (0, ""), "{shell}");
        assert!(script.stdout.contains("emissions"), "{shell}");
    }
    assert_eq!(sandbox.run(["completions", "tcsh"]).code, 2);
}
