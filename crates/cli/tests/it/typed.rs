//! The command line as a person types it: paths, names of runs, flags, and what is refused.

use std::fs;

use crate::sandbox::{Ran, Sandbox};

const RECORDS: &str = "{\"instruction\":\"a\",\"output\":\"b\"}\n{\"instruction\":\"c\",\"output\":\"d\"}\n";

/// The same in the folder `folder` of the sandbox.
fn run_in(sandbox: &Sandbox, folder: &str, line: &str) -> Ran {
    let mut command = sandbox.command(line.split(' '));
    crate::sandbox::ran(command.current_dir(sandbox.path(folder)))
}

fn run_id(made: &Ran) -> String {
    made.json()["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn paths_start_in_the_current_folder() {
    let sandbox = Sandbox::new();
    let project = sandbox.project();
    sandbox.write("outside.jsonl", RECORDS);
    sandbox.write("p/inside.jsonl", RECORDS);
    let made = run_in(
        &sandbox,
        "p/data",
        "--json runs new --name paths --train ../../outside.jsonl --validation ../inside.jsonl",
    );
    let manifest = project.join("runs").join(run_id(&made)).join("run-manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let outside = fs::canonicalize(sandbox.path("outside.jsonl")).unwrap();
    assert_eq!(manifest["data"]["train"], outside.to_str().unwrap(), "absolute outside of the project");
    assert_eq!(manifest["data"]["validation"], "inside.jsonl", "relative to the project inside of it");

    for line in ["--project p data inspect outside.jsonl", "--project p data inspect p/inside.jsonl"] {
        assert_eq!(run_in(&sandbox, ".", line).code, 0, "{line}");
    }
    let prepared = run_in(
        &sandbox,
        "p/data",
        "--json data prepare ../../outside.jsonl --to ../../split --train 0.5 --validation 0.25 --test 0.25",
    );
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(sandbox.path("split/train.jsonl").is_file());
}

#[cfg(unix)]
#[test]
fn a_link_in_the_project_may_lead_out_of_it() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("disk/data.jsonl", RECORDS);
    std::os::unix::fs::symlink(sandbox.path("disk"), sandbox.path("p/linked")).unwrap();
    let seen = run_in(&sandbox, "p", "data inspect linked/data.jsonl");
    assert_eq!(seen.code, 0, "{seen:?}");
}

#[test]
fn a_file_of_the_project_that_is_not_here_is_named() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("p/inside.jsonl", RECORDS);
    let refused = run_in(&sandbox, ".", "--project p data inspect inside.jsonl");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("no file at"), "{refused:?}");
    assert!(
        refused.stderr.contains("paths are taken from the current folder; the project has"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("p/inside.jsonl"), "{refused:?}");
}

#[test]
fn a_setting_that_is_a_path_starts_in_the_current_folder_too() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/olmo2-tiny");
    std::os::unix::fs::symlink(model, sandbox.path("model")).unwrap();
    let shown =
        run_in(&sandbox, ".", "--json --project p config show --set base_model.local_path=model").json();
    let rows = shown["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == "base_model.local_path").unwrap();
    assert_eq!(row["value"], fs::canonicalize(model).unwrap().to_str().unwrap());
}

#[test]
fn a_run_is_named_by_its_name_or_the_beginning_of_its_id() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("p/data.jsonl", RECORDS);
    let new = |name: &str| {
        run_id(&run_in(
            &sandbox,
            "p",
            &format!("--json runs new --name {name} --train data.jsonl --validation data.jsonl"),
        ))
    };
    let first = new("health");
    for named in ["health", "heal", &first[..first.len() - 2]] {
        let shown = run_in(&sandbox, "p", &format!("--json runs show {named}")).json();
        assert_eq!(shown["manifest"]["run_id"], first.as_str(), "{named}");
        let monitored = run_in(&sandbox, ".", &format!("--json monitor {named}")).json();
        assert_eq!(monitored["run_id"], first.as_str(), "{named}, found by the index");
    }
    let second = new("health");
    for line in ["runs show health", "monitor health --follow", "train heal", "card health", "cancel health"]
    {
        let refused = run_in(&sandbox, "p", line);
        assert_eq!(refused.code, 1, "{line}: {refused:?}");
        assert!(
            refused.stderr.contains(&format!("names several runs: {second}, {first}")),
            "{line}: {refused:?}"
        );
    }
}

#[test]
fn messages_name_flags() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("p/data.jsonl", RECORDS);
    let refused = run_in(
        &sandbox,
        "p",
        "runs new --name a/b --train none.jsonl --validation none.jsonl --test data.jsonl",
    );
    for flag in ["--name: ", "--train: ", "--validation: "] {
        assert!(refused.stderr.contains(flag), "{flag}: {refused:?}");
    }
    for field in ["run_name", "train_dataset", "validation_dataset", "training_data"] {
        assert!(!refused.stderr.contains(field), "{field}: {refused:?}");
    }
}

#[test]
fn what_is_announced_and_not_there_is_refused_by_name() {
    let sandbox = Sandbox::new();
    for (line, said) in [
        ("submit RUN", "`greentune submit`: submitting to a competition is not available yet"),
        ("login kaggle", "`greentune login`"),
        ("sweep spec.toml", "`greentune sweep`"),
    ] {
        let refused = run_in(&sandbox, ".", line);
        assert_eq!((refused.code, refused.stdout.as_str()), (69, ""), "{line}: {refused:?}");
        assert!(refused.stderr.contains(said) && refused.stderr.contains("hint: "), "{line}: {refused:?}");
    }
    let problem = run_in(&sandbox, ".", "--json sweep").problem();
    assert_eq!(problem["code"], "feature.unavailable");
    let refused = run_in(&sandbox, ".", "sweeep");
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn what_is_allowed_names_nothing_that_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("p/data.jsonl", RECORDS);
    let refused = run_in(&sandbox, "p", "train --platform cloud --model simplecnn --dataset data.jsonl");
    assert!(refused.stderr.contains("local") && !refused.stderr.contains("kaggle"), "{refused:?}");
    run_in(&sandbox, "p", "runs new --name one --train data.jsonl --validation data.jsonl");
    let refused = run_in(&sandbox, "p", "export one --stage 1 --format onnx --to out");
    assert!(refused.stderr.contains("safetensors, huggingface, mlx, gguf"), "{refused:?}");
}

#[test]
fn the_old_names_of_flags_still_work() {
    let sandbox = Sandbox::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/olmo2-tiny");
    for flag in ["--to", "--output-dir", "--dir"] {
        let name = flag.trim_start_matches('-');
        let made = sandbox.run(["new", "p", "--base-model", model, flag, name]);
        assert_eq!(made.code, 0, "{made:?}");
        assert!(sandbox.path(name).join("p/config").is_dir());
    }
}

#[test]
fn records_are_split_without_a_base_model() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(["new", "bare"]).code, 0);
    sandbox.write("records.jsonl", &RECORDS.repeat(20));
    let split = run_in(&sandbox, "bare", "data prepare ../records.jsonl");
    assert_eq!(split.code, 0, "{split:?}");
    assert!(split.stdout.contains("without counting tokens"), "{split:?}");
    assert!(!split.stdout.contains("0 tokens on average"), "{split:?}");
    assert!(sandbox.path("bare/data/processed/train.jsonl").is_file());
    let refused = run_in(&sandbox, "bare", "data inspect ../records.jsonl");
    assert!(refused.stderr.contains("no base model"), "what the model sees needs one: {refused:?}");
}

#[cfg(unix)]
#[test]
fn a_projects_scripts_take_paths_from_the_current_folder() {
    let sandbox = Sandbox::new();
    sandbox.project();
    sandbox.write("records.jsonl", &RECORDS.repeat(20));
    let binary = std::path::PathBuf::from(sandbox.command([""; 0]).get_program());
    let mut command = sandbox.command([""; 0]);
    let path =
        format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let environment: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = std::process::Command::new("sh");
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["p/scripts/prepare.sh", "records.jsonl"]).env("PATH", path).current_dir(sandbox.path("."));
    let split = crate::sandbox::ran(&mut command);
    assert_eq!(split.code, 0, "{split:?}");
    assert!(sandbox.path("p/data/processed/train.jsonl").is_file());
}

#[test]
fn printed_commands_are_quoted() {
    let sandbox = Sandbox::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/olmo2-tiny");
    let made = sandbox.run(["new", "p", "--base-model", model, "--to", "a folder"]);
    let cd = made.stdout.lines().find(|line| line.contains("cd ")).unwrap();
    assert!(cd.ends_with("a folder/p'`"), "{cd}");
    let record = |number: u32| format!("{{\"instruction\":\"say {number}\",\"output\":\"{number}\"}}\n");
    sandbox.write("a folder/p/records.jsonl", &(0..40).map(record).collect::<String>());
    let split = run_in(&sandbox, "a folder/p", "data prepare records.jsonl");
    let next = split.stdout.lines().find(|line| line.starts_with("next: ")).unwrap();
    assert!(next.contains("--train '") && next.ends_with("validation.jsonl'"), "{next}");
}
