//! Answers are on standard output: for people, or one JSON document.

use crate::sandbox::{Sandbox, ran};

#[test]
fn a_new_project_is_made_and_found_from_inside() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    let mut command = sandbox.command(["config", "show", "--json"]);
    let shown = ran(command.current_dir(project.join("data"))).json();
    assert_eq!(shown["settings"]["project"]["name"], "p");
    assert!(shown["settings"]["base_model"]["local_path"].as_str().unwrap().ends_with("olmo2-tiny"));
}

#[test]
fn settings_say_where_they_come_from() {
    let sandbox = Sandbox::new();
    sandbox.write("user/greentune/config.toml", "[lora]\nrank = 4\nalpha = 4\n");
    let mut command = sandbox.command(["config", "show", "--set", "training.seed=7"]);
    let shown = ran(command.env("GREENTUNE_LORA__ALPHA", "32"));
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    let line = |key: &str| {
        let line = shown.stdout.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("training.seed"), "= 7 (--set)");
    assert_eq!(line("lora.alpha"), "= 32.0 (GREENTUNE_LORA__ALPHA)");
    assert_eq!(
        line("lora.rank"),
        format!("= 4 ({}:2)", sandbox.path("user/greentune/config.toml").display())
    );
    assert_eq!(line("lora.dropout"), "= 0.05 (built in)");
    assert!(!shown.stdout.contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn runs_are_configured_listed_and_shown() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    std::fs::write(project.join("train.jsonl"), "{\"instruction\":\"a\",\"output\":\"b\"}\n").unwrap();
    // Both from the current folder, inside of the project or not.
    sandbox.write("validation.jsonl", "{\"instruction\":\"c\",\"output\":\"d\"}\n");
    let new = [
        "--project",
        "p",
        "runs",
        "new",
        "--name",
        "first",
        "--train",
        "p/train.jsonl",
        "--validation",
        "validation.jsonl",
        "--set",
        "lora.rank=2",
        "--json",
    ];
    let made = sandbox.run(new).json();
    let run_id = made["run_id"].as_str().unwrap();
    assert_eq!(made["configuration_summary"]["lora_rank"], 2);
    assert_eq!(made["configuration_summary"]["sources"]["lora.rank"], "--set");

    let list = sandbox.run(["--project", "p", "runs", "list"]);
    assert!(list.stdout.starts_with("RUN") && list.stdout.contains(run_id), "{list:?}");
    // Outside of the project the index knows it.
    let everywhere = sandbox.run(["runs", "list", "--json"]).json();
    assert_eq!(everywhere["runs"][0]["run_id"], run_id);

    let shown = sandbox.run(["runs", "show", run_id]);
    assert!(shown.stdout.starts_with(&format!("{run_id}  not_started\n")), "{shown:?}");
    assert!(shown.stdout.contains("lora.rank = 2  (--set)"), "{shown:?}");
    let shown = sandbox.run(["runs", "show", run_id, "--json"]).json();
    assert!(shown["manifest"]["data"]["validation"].as_str().unwrap().ends_with("validation.jsonl"));
    let monitored = sandbox.run(["monitor", run_id]);
    assert!(monitored.stdout.contains(&format!("greentune train {run_id}")), "{monitored:?}");

    // A platform that is not available takes no run, and leaves it as it was.
    let refused = sandbox.run(["train", run_id, "--platform", "ray"]);
    assert!(refused.code == 69 && refused.stderr.contains("on the platform \"ray\""), "{refused:?}");
    let shown = sandbox.run(["runs", "show", run_id, "--json"]).json();
    assert_eq!(
        (&shown["manifest"]["status"], &shown["manifest"]["platform"]["kind"]),
        (&"not_started".into(), &"local".into())
    );
}
