//! Whole runs of image classifiers through the binary: trained, killed and resumed, compared, described, refused.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/digits");

fn greentune(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greentune"));
    command.current_dir(folder).env("GREENTUNE_HOME", folder.join("home")).arg("--json");
    command
}

fn train(folder: &Path, more: &[&str]) -> Command {
    let mut command = greentune(folder);
    command.args(["train", "--platform", "local", "--model", "simplecnn", "--dataset", DIGITS]);
    command.args(["--epochs", "4", "--batch-size", "64", "--seed", "3", "--warmup-epochs", "1"]);
    command.args(["--set", "vision.augmentation=crop"]).args(more);
    command
}

fn spawned(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn answer(command: &mut Command) -> Value {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn problem(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(!out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).unwrap()
}

fn run_of(folder: &Path, id: &str) -> std::path::PathBuf {
    folder.join("digits-training/runs").join(id)
}

fn manifest(folder: &Path, id: &str) -> Value {
    serde_json::from_slice(&fs::read(run_of(folder, id).join("run-manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_sparse_run_and_its_baseline_are_trained_compared_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sparse = answer(&mut train(folder, &["--ast", "--target-activation-rate", "0.4"]));
    let dense = answer(&mut train(folder, &["--baseline"]));
    let [sparse, dense] = [&sparse, &dense].map(|run| run["run_id"].as_str().unwrap().to_owned());

    let stages = manifest(folder, &sparse)["stages"].clone();
    assert_eq!(stages[0]["epochs"].as_array().unwrap().len(), 1, "the warm-up");
    let selection = &stages[1]["selection"];
    let count = |name: &str| selection[name].as_f64().unwrap();
    assert_eq!(count("candidates") as u64, 3 * 1437);
    assert!((count("selected") / count("candidates") - 0.4).abs() < 0.02, "{selection}");
    assert_eq!(count("scored") as u64, 0, "remembered scores cost no forward pass");
    assert!(manifest(folder, &dense)["stages"][1].get("selection").is_none());
    // The twin meets the warm-up's images in the same order, and so ends it with the same figures.
    let warmup = |id: &str| manifest(folder, id)["stages"][0]["epochs"][0]["validation_loss"].clone();
    assert_eq!(warmup(&sparse), warmup(&dense));
    let model = run_of(folder, &sparse).join("final-model");
    assert!(model.join("model.safetensors").is_file());
    let config: Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["classes"].as_array().unwrap().len(), 10);

    let project = folder.join("digits-training");
    let compared = answer(greentune(&project).args(["compare", &sparse]));
    assert_eq!(compared["baseline_run_ids"][0], dense.as_str(), "the twin is found");
    assert_ne!(compared["energy_savings_basis"], Value::Null);
    let monitored = answer(greentune(&project).args(["monitor", &sparse]));
    assert!(monitored["metrics"]["accuracy"].as_f64().unwrap() > 0.1);
    let card = answer(greentune(&project).args(["card", &sparse, "--baseline", &dense]));
    assert!(card["badges"].as_array().unwrap().contains(&Value::from("ast-trained")), "{}", card["badges"]);
    let found = answer(greentune(&project).args(["card", &sparse]));
    assert!(found["markdown"].as_str().unwrap().contains(&dense), "the card finds the twin as compare does");
    let alone = answer(greentune(&project).args(["compare", &dense]));
    let caveat = alone["caveats"][0]["message"].as_str().unwrap();
    assert!(caveat.contains(&format!("greentune compare {sparse} {dense}")), "{caveat}");
    // The test part of the data set was the run's validation part, there being no other.
    let evaluated = answer(greentune(&project).args(["evaluate", &sparse, "--test", DIGITS, "--stage", "2"]));
    let at_the_end = &manifest(folder, &sparse)["stages"][1]["classification"];
    for figure in ["accuracy", "loss", "images", "confusion"] {
        assert_eq!(evaluated["classification"][figure], at_the_end[figure]);
    }
    assert_eq!(evaluated["evaluation_results"]["custom_metrics"]["images"], 360.0);
    let refused = problem(greentune(&project).args(["evaluate", &sparse, "--test", DIGITS, "--stage", "1"]));
    assert!(refused.contains("the model of the last stage is kept"), "{refused}");
    // What timm and torchvision load is compared with them by `fixtures/interop/timm_loads.py`.
    let export = |format: &str| {
        let mut command = greentune(&project);
        command.args(["export", &sparse, "--stage", "2", "--format", format, "--to", format]);
        command
    };
    let exported = answer(&mut export("safetensors"));
    assert!(exported["not_compared"].as_str().unwrap().contains("image classifier"), "{exported}");
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap().len();
    assert!(weights(&project.join("safetensors")) > 1000);
    for (format, said) in [("huggingface", "timm has no simplecnn"), ("mlx", "it is for language models")] {
        let refused = problem(&mut export(format));
        assert!(refused.contains(said), "{refused}");
        assert!(!project.join(format).exists());
    }
    let refused = problem(export("safetensors").args(["--quantization", "f16"]));
    assert!(refused.contains("exported as it was trained"), "{refused}");
    // What is for language models alone says so.
    let refused = problem(greentune(&project).args(["runs", "plan", &sparse]));
    assert!(refused.contains("image classifier"), "{refused}");
}

#[test]
fn a_run_and_its_twin_are_two_commands() {
    let folder = tempfile::tempdir().unwrap();
    let mut both = train(folder.path(), &["--ast", "--target-activation-rate", "0.4", "--baseline"]);
    let refused = problem(&mut both);
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["location"]["key"], "--baseline");
    let hint = refused["hint"].as_str().unwrap();
    assert!(hint.contains("--ast --target-activation-rate 0.4 "), "{hint}");
    assert!(hint.contains(" --baseline ") && !hint.contains("--ast --baseline"), "{hint}");
    assert!(!folder.path().join("digits-training").exists(), "nothing is written");
}

/// The words are listed in lower case and with `_`; the sparse phase cannot begin before its warm-up.
#[test]
fn words_are_taken_in_any_case_and_nothing_is_announced_of_a_job_that_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_greentune"));
    command.current_dir(folder.path()).env("GREENTUNE_HOME", folder.path().join("home"));
    command.args([
        "train",
        "--platform",
        "LOCAL",
        "--model",
        "SimpleCNN",
        "--dataset",
        DIGITS,
        "--epochs",
        "4",
    ]);
    command.args(["--ast", "--policy", "Quantile", "--warmup-epochs", "1", "--stage", "2"]);
    command.args(["--set", "vision.augmentation=NONE", "--set", "vision.scheduler=One-Cycle"]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("stage 1"), "{said}");
    assert!(!said.contains("made the run") && !said.contains("allowed:"), "{said}");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "");
    assert!(!folder.path().join("digits-training").exists(), "nothing is left");
}

/// The same job sent twice at once makes one run, and the second says so.
#[test]
fn a_job_that_is_sent_twice_makes_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let sent = [(), ()].map(|()| spawned(train(folder, &["--baseline"])));
    let [first, second] = sent.map(|child| {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<Value>(&out.stdout).unwrap()
    });
    assert_eq!(first["run_id"], second["run_id"]);
    let repeated = [&first, &second].map(|answer| answer["repeated"] == true);
    assert!(repeated[0] != repeated[1], "one made the run, the other was told of it: {first} {second}");
    assert_eq!(fs::read_dir(folder.join("digits-training/runs")).unwrap().count(), 1);
    // A run that has ended is no reason not to train again, but for a key of the caller's.
    let again = answer(&mut train(folder, &["--baseline", "--idempotency-key", "k"]));
    assert_ne!(again["run_id"], first["run_id"]);
    let same = answer(&mut train(folder, &["--baseline", "--idempotency-key", "k"]));
    assert_eq!((&same["run_id"], &same["repeated"]), (&again["run_id"], &Value::from(true)));
    let refused = problem(&mut train(folder, &["--ast", "--idempotency-key", "k"]));
    assert!(refused.contains("request.key_used"), "{refused}");
}

/// A worker that is killed goes on from its checkpoint and ends with the same bits.
#[test]
fn a_killed_run_ends_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let often = ["--ast", "--policy", "quantile", "--set", "training.save_steps=5"];
    let whole = answer(&mut train(folder, &often));
    let killed = answer(train(folder, &often).arg("--detach"));
    let [whole, killed] = [&whole, &killed].map(|run| run["run_id"].as_str().unwrap().to_owned());
    let checkpoint = run_of(folder, &killed).join("stage2/checkpoints");
    for _ in 0..600 {
        if fs::read_dir(&checkpoint).is_ok_and(|entries| entries.count() > 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // It may have ended by itself on a fast machine; then nothing is proven, and nothing is wrong.
    if let Some(pid) = manifest(folder, &killed)["pid"].as_u64() {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
    let project = folder.join("digits-training");
    for _ in 0..100 {
        let status = answer(greentune(&project).args(["monitor", &killed]))["status"].clone();
        if status != "running" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if manifest(folder, &killed)["status"] != "completed" {
        answer(greentune(&project).args(["resume", &killed]));
    }
    let weights = |id: &str| fs::read(run_of(folder, id).join("final-model/model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&killed), "the weights differ");
    assert_eq!(
        manifest(folder, &whole)["stages"][1]["selection"],
        manifest(folder, &killed)["stages"][1]["selection"]
    );
}

#[test]
fn what_cannot_be_learnt_from_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let one_class = folder.join("pictures/train/only");
    fs::create_dir_all(&one_class).unwrap();
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/images/picture.png"),
        one_class.join("a.png"),
    )
    .unwrap();
    let try_with = |dataset: &str, more: &[&str]| {
        let mut command = greentune(folder);
        command.args(["train", "--model", "resnet18", "--dataset", dataset]).args(more);
        problem(&mut command)
    };
    let said = try_with("pictures", &[]);
    assert!(said.contains("class"), "{said}");
    let said = try_with("nowhere", &[]);
    assert!(said.contains("nowhere"), "{said}");
    let said = try_with(DIGITS, &["--ast", "--target-activation-rate", "0"]);
    assert!(said.contains("ast.target_activation_rate") && said.contains("above 0 and at most 1"), "{said}");
    let said = try_with(DIGITS, &["--platform", "kaggle"]);
    assert!(said.contains("kaggle"), "{said}");
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "pictures" || name == "home"), "{left:?}");
}

/// Runs without a warm-up, in every mode, and the totals that their steps announce.
#[test]
fn one_epoch_and_no_warm_up_are_trained() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = |more: &[&str]| {
        let mut command = greentune(folder);
        command.args(["train", "--platform", "local", "--model", "simplecnn", "--dataset", DIGITS]);
        answer(command.args(["--batch-size", "128"]).args(more))["run_id"].as_str().unwrap().to_owned()
    };
    for (more, epochs) in [
        (["--epochs", "1", "--baseline"].as_slice(), 1),
        (&["--epochs", "1", "--ast"], 1),
        (&["--epochs", "2", "--warmup-epochs", "0", "--baseline"], 2),
        (&["--epochs", "2", "--warmup-epochs", "0", "--ast"], 2),
        (&["--epochs", "1", "--ast", "--policy", "quantile"], 1),
    ] {
        let run = train(more);
        let manifest = manifest(folder, &run);
        assert_eq!(manifest["status"], "completed", "{more:?}");
        assert_eq!(manifest["stages"].as_array().unwrap().len(), 1, "{more:?}");
        assert_eq!(manifest["stages"][0]["epochs"].as_array().unwrap().len(), epochs, "{more:?}");
        if more.contains(&"--baseline") {
            // 1437 images: eleven whole batches and one of 29 in each epoch.
            let events = fs::read_to_string(run_of(folder, &run).join("events.jsonl")).unwrap();
            let totals: Vec<u64> = events
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["total_steps"].as_u64())
                .collect();
            assert!(
                totals.len() > 1 && totals.iter().all(|total| *total == 12 * epochs as u64),
                "{totals:?}"
            );
        }
    }
}

/// What is chosen where nobody set it is said with its reason, and suits digits.
#[test]
fn defaults_suit_architecture_and_data() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut command = greentune(folder);
    command.args(["train", "--model", "simplecnn", "--dataset", DIGITS, "--baseline", "--epochs", "6"]);
    let run = answer(&mut command)["run_id"].as_str().unwrap().to_owned();
    let manifest = manifest(folder, &run);
    let vision = &manifest["settings"]["vision"];
    assert_eq!(vision["batch_size"], 16, "few images and epochs leave enough steps with small batches alone");
    assert!(!vision["augmentation"].as_str().unwrap().contains("flip"), "digits are not mirrored");
    let why = manifest["sources"]["vision.augmentation"].as_str().unwrap();
    assert!(why.contains("digits or letters"), "{why}");
    let accuracy = manifest["stages"][1]["classification"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.93, "{accuracy}");
}

/// A job in one line that is refused leaves neither a run nor the project that it would have had.
#[test]
fn a_refused_job_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut command = greentune(folder);
    command.args(["train", "--model", "simplecnn", "--dataset", DIGITS, "--epochs", "1", "--stage", "1"]);
    let said = problem(&mut command);
    assert!(said.contains("2, the run's only stage"), "{said}");
    assert!(!folder.join("digits-training").exists());
    // In a project that was there before, the project stays.
    let out = greentune(folder)
        .args(["train", "--model", "simplecnn", "--dataset", DIGITS, "--epochs", "1", "--baseline"])
        .output()
        .unwrap();
    assert!(out.status.success());
    let runs = || fs::read_dir(folder.join("digits-training/runs")).unwrap().count();
    let before = runs();
    command = greentune(folder);
    command.args(["train", "--model", "simplecnn", "--dataset", DIGITS, "--epochs", "1", "--stage", "1"]);
    problem(&mut command);
    assert_eq!(runs(), before);
}
