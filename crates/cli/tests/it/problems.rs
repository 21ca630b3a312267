//! What goes wrong is said on standard error, with the exit code of its kind.

use std::process::Stdio;

use serde_json::json;

use crate::sandbox::{Sandbox, ran};

#[test]
fn what_is_no_command_is_a_usage_error() {
    let sandbox = Sandbox::new();
    for arguments in [
        vec!["trian"],
        vec![],
        vec!["train", "--stage", "3"],
        vec!["export", "run"],
        vec!["worker"],
        vec!["--quiet", "--verbose", "doctor"],
    ] {
        let refused = sandbox.run(&arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{arguments:?}: {refused:?}");
    }
    assert!(sandbox.run(["trian"]).stderr.contains("train"));
}

#[test]
fn usage_errors_are_json_when_asked() {
    let refused = Sandbox::new().run(["--json", "train", "--stage", "3"]);
    let problem = refused.problem();
    assert_eq!(refused.code, 2);
    assert_eq!((&problem["kind"], &problem["code"]), (&json!("invalid_input"), &json!("arguments.invalid")));
    assert!(problem["message"].as_str().unwrap().contains("3 is not in 1..=2"), "{problem}");
}

#[test]
fn a_folder_that_is_not_empty_is_refused_and_stays_as_it_is() {
    let sandbox = Sandbox::new();
    let kept = sandbox.write("p/kept.txt", "mine");
    let refused = sandbox.run(["new", "p", "--json"]);
    assert_eq!((refused.code, &refused.problem()["kind"]), (1, &json!("conflict")));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(sandbox.path("p")).unwrap().count(), 1);
    let refused = sandbox.run(["demo", "--dir", "p", "--json"]);
    assert_eq!((refused.code, &refused.problem()["kind"]), (1, &json!("conflict")));
}

#[test]
fn a_broken_configuration_shows_every_mistake_at_once() {
    let sandbox = Sandbox::new();
    let project = sandbox.write(
        "p/config/fine_tuning_config.toml",
        "[lora]\nrank = 0\nrnak = 8\n[training.stage1]\nlearning_rate = -1\n",
    );
    let project = project.parent().unwrap().parent().unwrap().to_str().unwrap();
    let refused = sandbox.run(["config", "show", "--project", project]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    let shown = refused.stderr.replace(project, "P");
    insta::assert_snapshot!(shown);
    let problem = sandbox.run(["--json", "config", "show", "--project", project]).problem();
    assert_eq!(problem["code"], "config.invalid");
    assert_eq!(problem["problems"].as_array().unwrap().len(), 3);
    assert_eq!(problem["problems"][0]["location"]["line"], 2);
}

#[test]
fn a_wrong_set_flag_names_itself() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run(["config", "show", "--set", "lora.rank"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.starts_with("error: --set: found `lora.rank`"), "{refused:?}");
    let refused = sandbox.run(["config", "show", "--set", "lora.rank=eight"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("lora.rank"), "{refused:?}");
}

#[test]
fn outside_of_a_project_it_says_how_to_make_one() {
    let sandbox = Sandbox::new();
    for arguments in [
        vec!["train"],
        vec!["emissions", "summary"],
        vec!["data", "inspect", "data.jsonl"],
        vec!["runs", "new", "--name", "r", "--train", "t.jsonl", "--validation", "v.jsonl"],
    ] {
        let refused = sandbox.run(&arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains("hint: make one with `greentune new NAME`"), "{refused:?}");
    }
}

#[test]
fn an_unknown_run_suggests_the_nearest() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    std::fs::write(project.join("data.jsonl"), "{\"instruction\":\"a\",\"output\":\"b\"}\n").unwrap();
    let at = ["--project", "p"];
    let new = [
        "runs",
        "new",
        "--json",
        "--name",
        "health",
        "--train",
        "p/data.jsonl",
        "--validation",
        "p/data.jsonl",
    ];
    let run_id = sandbox.run(new.iter().chain(&at)).json()["run_id"].as_str().unwrap().to_owned();
    let wrong = run_id.replace("health", "helth");
    for arguments in [
        vec!["runs", "show"],
        vec!["monitor"],
        vec!["train"],
        vec!["resume"],
        vec!["cancel"],
        vec!["emissions", "summary"],
        vec!["export", "--stage", "1", "--format", "huggingface", "--to", "out"],
        vec!["evaluate", "--stage", "1", "--test", "p/data.jsonl"],
    ] {
        let refused = sandbox.run(arguments.iter().chain(&at).chain(&[wrong.as_str()]));
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(&run_id), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn a_reader_that_stops_listening_is_no_failure() {
    let sandbox = Sandbox::new();
    for arguments in [vec!["config", "show"], vec!["completions", "bash"], vec!["--help"]] {
        let mut command = sandbox.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), [].as_slice()),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_home_that_is_a_file_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("file", "");
    let mut command = sandbox.command(["runs", "list"]);
    let refused = ran(command.env("GREENTUNE_HOME", &file));
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains(file.to_str().unwrap()), "{refused:?}");
}
