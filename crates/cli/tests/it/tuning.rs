//! Learning rates of a new project, and `runs tune`, with a real worker.

use std::{fs, path::Path};

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, ran};

fn in_project(sandbox: &Sandbox, project: &Path, arguments: &[&str]) -> Ran {
    ran(sandbox.command(arguments).current_dir(project))
}

fn project() -> (Sandbox, std::path::PathBuf) {
    let sandbox = Sandbox::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/base-model");
    assert_eq!(sandbox.run(["new", "p", "--base-model", model]).code, 0);
    let project = sandbox.path("p");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo");
    for (name, file) in [("train", "narratives_train.jsonl"), ("validation", "narratives_validation.jsonl")] {
        fs::copy(data.join(file), project.join(format!("{name}.jsonl"))).unwrap();
    }
    (sandbox, project)
}

fn configure(sandbox: &Sandbox, project: &Path, settings: &[&str]) -> String {
    let new =
        ["runs", "new", "--name", "small", "--train", "train.jsonl", "--validation", "validation.jsonl"];
    let fixed = ["training.device=cpu", "training.stage2.iterations=10", "evaluation.generate_records=1"];
    let flags = fixed.iter().chain(settings).flat_map(|setting| ["--set", setting]);
    let arguments: Vec<_> = new.into_iter().chain(flags).chain(["--json"]).collect();
    in_project(sandbox, project, &arguments).json()["run_id"].as_str().unwrap().to_owned()
}

/// The training settings in a run's manifest.
fn manifest(project: &Path, run: &str) -> Value {
    let text = fs::read_to_string(project.join("runs").join(run).join("run-manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The codes of a run's warnings.
fn warnings(project: &Path, run: &str) -> Vec<String> {
    let text = fs::read_to_string(project.join("runs").join(run).join("events.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let warnings = events.filter(|event| event["kind"] == "warning");
    warnings.map(|event| event["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_new_project_learns_and_says_why_and_named_rates_stay_and_are_warned_of() {
    let (sandbox, project) = project();
    let config = fs::read_to_string(project.join("config/fine_tuning_config.toml")).unwrap();
    assert!(
        config.contains(
            "\n# Chosen so that adapters with alpha 16 learn in 100 steps on a base model of width 192"
        ),
        "{config}"
    );
    assert!(config.contains("learning_rate = 0.005\n"), "{config}");
    let readme = fs::read_to_string(project.join("README.md")).unwrap();
    assert!(readme.contains("| 1 | 100 | 0.005 | the validation loss falls"), "{readme}");

    let learns = configure(&sandbox, &project, &["training.stage1.iterations=30"]);
    let source = manifest(&project, &learns)["sources"]["training.stage1.learning_rate"].clone();
    assert!(source.as_str().unwrap().contains("fine_tuning_config.toml:"), "{source}");
    in_project(&sandbox, &project, &["train", &learns, "--stage", "1", "--json"]).json();
    assert_eq!(warnings(&project, &learns), Vec::<String>::new());

    let low = ["training.stage1.iterations=30", "training.stage1.learning_rate=2e-5"];
    let learns_little = configure(&sandbox, &project, &low);
    in_project(&sandbox, &project, &["train", &learns_little, "--stage", "1", "--json"]).json();
    assert_eq!(warnings(&project, &learns_little), ["training.loss_stands"]);
}

#[test]
fn trials_choose_the_rates_of_a_run_and_are_charged() {
    let (sandbox, project) = project();
    let low = ["training.stage1.learning_rate=2e-5", "training.stage2.learning_rate=1e-6"];
    let run = configure(&sandbox, &project, &low);
    let tuned = in_project(&sandbox, &project, &["runs", "tune", &run, "--steps", "8", "--json"]).json();
    let chosen = tuned["stages"][0]["learning_rate"].as_f64().unwrap();
    assert!(chosen > 5e-4, "{tuned}");
    let kept = manifest(&project, &run);
    assert_eq!(kept["settings"]["training"]["stage1"]["learning_rate"], chosen);
    assert_eq!(kept["sources"]["training.stage1.learning_rate"], "tune");
    assert_eq!(kept["tuning"]["changes"][0]["before"], 2e-5);
    let energy = tuned["emissions"]["energy_kwh"].as_f64().unwrap();
    assert!(energy > 0.0 && Path::new(tuned["emissions_file"].as_str().unwrap()).is_file(), "{tuned}");
    let all = in_project(&sandbox, &project, &["emissions", "aggregate", "--json"]).json();
    let charged = all["total_energy_kwh"].as_f64().unwrap();
    assert!((charged - energy).abs() < 1e-6 * energy.max(1e-12) + 1e-12, "{charged} and {energy}");

    in_project(&sandbox, &project, &["train", &run, "--stage", "1", "--json"]).json();
    let refused = in_project(&sandbox, &project, &["runs", "tune", &run, "--json"]).problem();
    assert_eq!(refused["code"], "run.started", "{refused}");
}

/// A long call goes on when the server that began it is killed, and the terminal finds its result.
#[test]
fn trials_in_the_background_outlive_the_server_that_began_them() {
    let (sandbox, project) = project();
    let run = configure(&sandbox, &project, &[]);
    let with = serde_json::json!({ "run_id": run, "steps": 8, "async_mode": true });
    let begin = || {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/base-model");
        let mut server = sandbox.command(["mcp", "--allow-dir", model]);
        server.current_dir(&project).env("HOME", sandbox.path("user-home"));
        crate::assistant::answered_and_killed(server, "tune_training", &with)
    };
    let begun = begin();
    let task =
        begun["structuredContent"]["task_id"].as_str().expect("it takes longer than a second").to_owned();
    let listed = sandbox.run(["tasks", "show"]);
    assert!(listed.stdout.contains(&format!("The task {task} is at work")), "{}", listed.stdout);
    let ended = sandbox.run(["tasks", "show", &task, "--wait", "120", "--json"]).json();
    let ended = &ended["tasks"][0];
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["result"]["run_id"], run.as_str());
    let rate = manifest(&project, &run)["settings"]["training"]["stage1"]["learning_rate"].clone();
    assert_eq!(ended["result"]["stages"][0]["learning_rate"], rate);
    // Stopped: nothing of a second one is kept.
    let begun = begin();
    let task = begun["structuredContent"]["task_id"].as_str().unwrap().to_owned();
    let stopped = sandbox.run(["tasks", "cancel", &task]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert!(stopped.stdout.contains("was cancelled"), "{}", stopped.stdout);
    let settings = manifest(&project, &run)["settings"]["training"]["stage1"]["learning_rate"].clone();
    assert_eq!(settings, rate);
    assert_ne!(sandbox.run(["tasks", "show", "nothing"]).code, 0);
}
