//! Whole runs with a real worker: train, monitor, evaluate, export, cancel, kill, resume.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, ran};

/// A project with a little data and one configured run.
struct Fixture {
    sandbox: Sandbox,
    project: PathBuf,
    run_id: String,
}

impl Fixture {
    /// Two stages of `iterations` steps each.
    fn new(iterations: u32) -> Self {
        let sandbox = Sandbox::new();
        let project = sandbox.project();
        for (name, records) in [("general", 24), ("narratives", 24), ("validation", 6), ("test", 5)] {
            std::fs::write(project.join(format!("{name}.jsonl")), jsonl(name, records)).unwrap();
        }
        let mut fixture = Self { sandbox, project, run_id: String::new() };
        fixture.run_id = fixture.configure(iterations);
        fixture
    }

    fn configure(&self, iterations: u32) -> String {
        self.configure_with(iterations, &[])
    }

    /// A run with further settings.
    fn configure_with(&self, iterations: u32, further: &[&str]) -> String {
        let settings = [
            format!("training.stage1.iterations={iterations}"),
            format!("training.stage2.iterations={iterations}"),
            "training.stage1.learning_rate=1e-3".into(),
            "training.stage2.learning_rate=1e-3".into(),
            "training.stage1.warmup_steps=2".into(),
            "training.stage2.warmup_steps=2".into(),
            "training.max_seq_length=64".into(),
            "training.eval_steps=50".into(),
            "training.save_steps=3".into(),
            "training.device=cpu".into(),
            "evaluation.generate_records=2".into(),
        ];
        let new = [
            "runs",
            "new",
            "--json",
            "--name",
            "tiny",
            "--train",
            "general.jsonl",
            "--validation",
            "validation.jsonl",
            "--stage2-train",
            "narratives.jsonl",
        ];
        let all = settings.iter().map(String::as_str).chain(further.iter().copied());
        let flags = all.flat_map(|setting| ["--set", setting]);
        let made = ran(self.command(&[]).args(new).args(flags)).json();
        made["run_id"].as_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.current_dir(&self.project);
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        ran(self.command(arguments).arg("--json")).json()
    }

    fn run_folder(&self) -> PathBuf {
        self.project.join("runs").join(&self.run_id)
    }

    fn status(&self) -> Value {
        self.json(&["monitor", &self.run_id])["status"].clone()
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run_folder().join("events.jsonl")).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the worker has done `step` of `stage`.
    fn wait_for_step(&self, stage: u64, step: u64) {
        let is_there = |event: &Value| {
            event["kind"] == "step" && event["stage"] == stage && event["step"].as_u64() >= Some(step)
        };
        wait_until(|| self.events().iter().any(is_there));
    }

    fn adapters(&self, stage: u8) -> Vec<u8> {
        std::fs::read(self.run_folder().join(format!("stage{stage}/adapters/adapter_model.safetensors")))
            .unwrap()
    }

    fn worker(&self) -> Pid {
        let shown = self.json(&["runs", "show", &self.run_id]);
        let pid = shown["manifest"]["pid"].as_i64().unwrap();
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    }

    fn kill_worker(&self) {
        kill_process(self.worker(), Signal::KILL).unwrap();
        wait_until(|| self.status() == "interrupted");
    }
}

impl Drop for Fixture {
    /// A worker that a failed test left behind would go on training.
    fn drop(&mut self) {
        let _ = self.command(&["cancel", &self.run_id]).output();
    }
}

fn jsonl(name: &str, records: usize) -> String {
    let record = |number: usize| {
        json!({
            "instruction": format!("Repeat the {name} number."),
            "input": format!("number {number}"),
            "output": format!("The number is {}.", number % 7),
            "quality": if number.is_multiple_of(3) { 0.9 } else { 0.4 },
        })
    };
    (0..records).map(|number| record(number).to_string() + "\n").collect()
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain");
        sleep(Duration::from_millis(10));
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn a_run_is_trained_evaluated_and_exported() {
    let fixture = Fixture::new(6);
    let run_id = fixture.run_id.as_str();
    // The newest run that is not completed is meant when none is named.
    let trained = ran(&mut fixture.command(&["train"]));
    assert_eq!(trained.code, 0, "{trained:?}");
    assert!(trained.stdout.starts_with(&format!("the run {run_id} is completed")), "{trained:?}");
    for words in ["base", "stage 1", "stage 2", "token accuracy", "exact match"] {
        assert!(trained.stdout.contains(words), "{words}: {trained:?}");
    }
    for words in ["training on cpu", "stage 1: 6 steps, 24 records", "stage 2: step 6/6", "stage 2: done in"]
    {
        assert!(trained.stderr.contains(words), "{words}: {trained:?}");
    }

    let monitored = fixture.json(&["monitor", run_id, "--follow"]);
    assert_eq!(
        (&monitored["status"], &monitored["progress_percentage"]),
        (&json!("completed"), &json!(100.0))
    );
    let refused = ran(&mut fixture.command(&["train", run_id, "--json"]));
    assert_eq!((refused.code, &refused.problem()["code"]), (1, &json!("run.completed")));

    let evaluated = fixture.json(&["evaluate", run_id, "--test", "test.jsonl", "--stage", "2"]);
    assert_eq!(evaluated["reports"][0]["records"], 5);
    assert!(Path::new(evaluated["results_file"].as_str().unwrap()).is_file());
    let shown = ran(&mut fixture.command(&["evaluate", run_id, "--test", "test.jsonl", "--stage", "1"]));
    assert!(shown.stdout.contains("stage 1") && shown.stdout.contains("threshold"), "{shown:?}");

    let export = ["export", run_id, "--stage", "2", "--format", "huggingface", "--to", "out", "--merge"];
    let exported = ran(&mut fixture.command(&export));
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(exported.stdout.contains("3 of 3 texts the same"), "{exported:?}");
    assert!(fixture.project.join("out/model.safetensors").is_file());
    let adapters = ["export", run_id, "--stage", "1", "--format", "safetensors", "--to", "adapters"];
    let agreement = fixture.json(&adapters)["agreement"].clone();
    assert_eq!((&agreement["largest_difference"], &agreement["same_prompts"]), (&json!(0.0), &json!(3)));
    // In other layouts they are read back from what was written.
    for format in ["mlx", "gguf"] {
        let adapters = ["export", run_id, "--stage", "2", "--format", format, "--to", format];
        let agreement = fixture.json(&adapters)["agreement"].clone();
        assert_eq!((&agreement["same_texts"], &agreement["same_prompts"]), (&json!(3), &json!(3)));
        assert!(agreement["largest_difference"].as_f64().unwrap() < 1e-4, "{format}: {agreement}");
    }
    let again = ran(&mut fixture.command(&export));
    assert_eq!((again.code, again.stdout.as_str()), (1, ""), "{again:?}");

    answers_as_it_was_evaluated(&fixture, &evaluated["reports"]);

    chooses_in_either_form(&fixture);

    let used = fixture.json(&["emissions", "summary"]);
    assert_eq!((&used["run_id"], &used["summary"]["num_stages"]), (&json!(run_id), &json!(2)));
    let used = ran(&mut fixture.command(&["emissions", "summary", run_id]));
    assert!(used.stdout.contains("g CO2e"), "{used:?}");
}

/// Multiple choice is asked in the form of the records, unless the other one is wanted.
fn chooses_in_either_form(fixture: &Fixture) {
    let question =
        json!({ "question": "Repeat the number 3.", "choices": ["number 3", "number 4"], "answer": 0 });
    std::fs::write(fixture.project.join("choices.jsonl"), question.to_string()).unwrap();
    let evaluate = ["evaluate", fixture.run_id.as_str(), "--stage", "2", "--json", "--test"];
    let ask = |file: &str, further: &[&str]| ran(fixture.command(&evaluate).arg(file).args(further));
    let reports = ask("choices.jsonl", &[]).json()["reports"].clone();
    assert!(
        reports.as_array().unwrap().iter().all(|report| report["choice_form"] == "chat template"),
        "{reports}"
    );
    let other = ask("choices.jsonl", &["--chat-template", "false"]).json()["reports"].clone();
    assert_eq!(other[0]["choice_form"], "plain");
    let refused = ask("test.jsonl", &["--chat-template", "false"]).problem();
    assert_eq!(refused["code"], "data.no_choices");
}

/// `generate` writes what the evaluation wrote for the same request, and the merged export what its stage writes.
fn answers_as_it_was_evaluated(fixture: &Fixture, reports: &Value) {
    let run_id = fixture.run_id.as_str();
    let sample = &reports[0]["samples"][0];
    let prompt = "Repeat the test number.\n\nnumber 0";
    // Records have their input apart; a request has it in its words, so that the form is given as it stands.
    let as_it_stands =
        ["generate", run_id, "--raw", "--max-tokens", "40", "--prompt", sample["prompt"].as_str().unwrap()];
    let answers = fixture.json(&as_it_stands)["generations"][0]["answers"].clone();
    let of = |model: &str| {
        answers.as_array().unwrap().iter().find(|answer| answer["model"] == model).unwrap().clone()
    };
    let evaluated = sample["generated"].as_str().unwrap();
    assert!(!evaluated.is_empty(), "nothing would be compared");
    assert!(of("stage 2")["text"].as_str().unwrap().trim().starts_with(evaluated), "{answers} {evaluated}");
    let of_base = reports[1]["samples"][0]["generated"].as_str().unwrap();
    assert!(of("base")["text"].as_str().unwrap().trim().starts_with(of_base), "{answers} {of_base}");

    let side_by_side = [
        "generate",
        run_id,
        "--model",
        "out",
        "--stage",
        "2",
        "--no-base",
        "--max-tokens",
        "12",
        "--prompt",
        prompt,
    ];
    let answers = fixture.json(&side_by_side)["generations"][0]["answers"].clone();
    assert_eq!(answers[0]["text"], answers[1]["text"], "{answers}");
    assert_eq!((&answers[0]["model"], &answers[1]["model"]), (&json!("stage 2"), &json!("out")));

    let shown = ran(&mut fixture.command(&side_by_side));
    let text = answers[0]["text"].as_str().unwrap();
    assert!(shown.stdout.starts_with(&format!("stage 2\n{text}\n(")), "{shown:?}");
    assert!(shown.stdout.contains(" tokens/s, "), "{shown:?}");
}

#[test]
fn a_run_is_cancelled_and_goes_on_from_its_checkpoint() {
    let fixture = Fixture::new(100_000);
    let run_id = fixture.run_id.as_str();
    let begun = fixture.json(&["train", run_id, "--detach"]);
    assert_eq!(begun["status"], "running");
    fixture.wait_for_step(1, 4);
    let cancelled = fixture.json(&["cancel", run_id]);
    assert_eq!((&cancelled["status"], &cancelled["success"]), (&json!("cancelled"), &json!(true)));

    let done = fixture.json(&["monitor", run_id])["current_iteration"].as_u64().unwrap();
    assert_eq!(fixture.json(&["resume", run_id, "--detach"])["resumed"], true);
    fixture.wait_for_step(1, done + 1);
    let stages = fixture.events().into_iter().filter(|event| event["kind"] == "stage_started");
    let from: Vec<_> = stages.map(|event| event["from_step"].as_u64().unwrap()).collect();
    assert_eq!(from, [0, done]);
    assert_eq!(fixture.json(&["cancel", run_id])["status"], "cancelled");
}

#[test]
fn a_killed_and_resumed_run_ends_with_the_adapters_of_an_undisturbed_one() {
    let undisturbed = Fixture::new(40);
    assert_eq!(undisturbed.json(&["train"])["status"], "completed");

    let killed = Fixture::new(40);
    let run_id = killed.run_id.as_str();
    killed.json(&["train", run_id, "--detach"]);
    killed.wait_for_step(1, 8);
    killed.kill_worker();
    killed.json(&["resume", run_id, "--detach"]);
    killed.wait_for_step(2, 5);
    killed.kill_worker();
    assert_eq!(killed.json(&["resume", run_id])["status"], "completed");
    for stage in [1, 2] {
        assert!(undisturbed.adapters(stage) == killed.adapters(stage), "stage {stage} differs");
    }
}

#[test]
fn two_workers_cannot_train_one_run() {
    let fixture = Fixture::new(100_000);
    let run_id = fixture.run_id.as_str();
    fixture.json(&["train", run_id, "--detach"]);
    for arguments in [["train", run_id], ["resume", run_id]] {
        let refused = ran(fixture.command(&arguments).arg("--json"));
        assert_eq!((refused.code, &refused.problem()["code"]), (1, &json!("run.already_running")));
    }
    let folder = fixture.run_folder();
    let second = ran(fixture.command(&["worker"]).arg(&folder));
    assert_eq!((second.code, second.stdout.as_str()), (1, ""), "{second:?}");
    assert_eq!(fixture.status(), "running");
    assert_eq!(fixture.json(&["cancel", run_id])["status"], "cancelled");
}

#[test]
fn ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on() {
    let fixture = Fixture::new(100_000);
    let mut train = fixture.command(&["train", &fixture.run_id]);
    let train = train.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fixture.wait_for_step(1, 2);
    interrupt(&train);
    let output = train.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("stopping at the next step"), "{stderr}");
    assert!(stderr.contains(&format!("greentune resume {}", fixture.run_id)), "{stderr}");
    assert_eq!(fixture.status(), "cancelled");
}

#[test]
fn a_second_ctrl_c_leaves_the_worker_to_itself() {
    let fixture = Fixture::new(100_000);
    let mut train = fixture.command(&["train", &fixture.run_id]);
    let train = train.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fixture.wait_for_step(1, 2);
    // A worker that stands still cannot stop before the second.
    let worker = fixture.worker();
    kill_process(worker, Signal::STOP).unwrap();
    interrupt(&train);
    wait_until(|| fixture.run_folder().join("cancel").exists());
    interrupt(&train);
    let output = train.wait_with_output().unwrap();
    kill_process(worker, Signal::CONT).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("its worker goes on without this terminal"), "{stderr}");
    wait_until(|| fixture.status() == "cancelled");
}

#[test]
fn a_run_that_fails_says_why_with_the_exit_code_of_the_problem() {
    let fixture = Fixture::new(6);
    // Everything was fine when the run was configured.
    std::fs::write(fixture.project.join("general.jsonl"), "").unwrap();
    let changed = ran(fixture.command(&["train", &fixture.run_id]).arg("--json")).problem();
    assert_eq!((&changed["kind"], &changed["code"]), (&json!("conflict"), &json!("run.inputs_changed")));
    let accepting = ["train", &fixture.run_id, "--accept-changed-inputs", "--json"];
    let failed = ran(&mut fixture.command(&accepting));
    assert_eq!((failed.code, &failed.problem()["kind"]), (2, &json!("invalid_input")));
    assert_eq!(fixture.status(), "failed");
    let log = fixture.project.join(format!("logs/{}.log", fixture.run_id));
    assert!(std::fs::read_to_string(log).unwrap().contains("error: "));
}

#[test]
fn data_is_shown_as_the_model_sees_it() {
    let fixture = Fixture::new(6);
    std::fs::write(fixture.project.join("broken.jsonl"), jsonl("broken", 2) + "{not json\n").unwrap();
    let seen = ran(&mut fixture.command(&["data", "inspect", "broken.jsonl", "--show", "1"]));
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.stdout.contains("3 read, 2 kept, 1 dropped: broken lines"), "{seen:?}");
    assert!(seen.stdout.contains("⟦") && seen.stdout.contains("The number is 0."), "{seen:?}");
    assert!(seen.stdout.contains("broken.jsonl:3"), "{seen:?}");
    let seen = fixture.json(&["data", "inspect", "broken.jsonl", "--show", "1"]);
    assert_eq!((&seen["counts"]["broken_lines"], seen["records"].as_array().unwrap().len()), (&json!(1), 1));
}

#[test]
fn a_table_is_prepared_and_its_splits_can_be_trained_on() {
    let fixture = Fixture::new(6);
    let rows: Vec<_> = (0..40).map(|n| format!("Say {n}.,\"{n}, as you wish\"\n")).collect();
    let rows = rows.concat();
    let raw = fixture.project.join("data/raw/table.csv");
    std::fs::write(&raw, format!("instruction,output\n{rows}Say 1.,\"1,  as you WISH\"\nragged\n")).unwrap();
    let prepare = ["data", "prepare", "data/raw/table.csv", "--seed", "7"];
    let prepared = fixture.json(&prepare);
    assert_eq!((&prepared["duplicates"], &prepared["counts"]["broken_lines"]), (&json!(1), &json!(1)));
    let sizes: Vec<_> =
        prepared["splits"].as_array().unwrap().iter().map(|split| &split["records"]).collect();
    assert_eq!(sizes, [32, 4, 4]);
    assert!(fixture.project.join("data/quality_reports/table-tokens.svg").is_file());
    let again = ran(fixture.command(&prepare).arg("--json"));
    assert_eq!((again.code, &again.problem()["code"]), (1, &json!("data.exists")));
    let again = ran(fixture.command(&prepare).args([
        "--force",
        "--train",
        "0.5",
        "--validation",
        "0.5",
        "--test",
        "0",
    ]));
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again.stdout.contains("20 records") && again.stdout.contains("duplicates  1 left out"),
        "{again:?}"
    );
    let validation = "data/processed/validation.jsonl";
    let seen = fixture.json(&["data", "inspect", validation]);
    assert_eq!((&seen["schema"], &seen["counts"]["kept"]), (&json!("alpaca"), &json!(20)));
}

#[test]
fn the_doctor_finds_the_worker_and_the_processor() {
    let examined = Sandbox::new().run(["doctor", "--json"]).json();
    let cpu =
        examined["devices"].as_array().unwrap().iter().find(|device| device["device"] == "cpu").unwrap();
    assert_eq!(cpu["available"], true);
}

#[test]
fn a_spent_budget_stops_a_run_and_a_larger_one_lets_it_go_on() {
    let mut fixture = Fixture::new(4);
    fixture.run_id = fixture.configure_with(4, &["carbon.budget_kwh=1e-9", "wandb.project=tiny"]);
    let run_id = fixture.run_id.clone();
    let refused = ran(fixture.command(&["train", &run_id]).arg("--json")).problem();
    assert_eq!(refused["code"], "carbon.budget_spent", "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("--budget-kwh"), "{refused}");
    assert_eq!(fixture.status(), "cancelled");
    let again = ran(fixture.command(&["resume", &run_id]).arg("--json")).problem();
    assert_eq!(again["code"], "carbon.budget_spent");
    let resumed = ran(&mut fixture.command(&["resume", &run_id, "--budget-kwh", "5"]));
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(fixture.status(), "completed");
    let events = fixture.events();
    let steps = events.iter().filter(|event| event["kind"] == "step").count();
    assert_eq!(steps, 8, "no step is done twice");
    // What the trackers have is behind the run's last event.
    let sent = fixture.json(&["runs", "sync", &run_id]);
    let tracker = &sent["trackers"][0];
    assert_eq!((&tracker["total"], &tracker["problems"]), (&json!(events.len()), &json!([])), "{sent}");
    let folder = std::fs::read_dir(fixture.project.join("wandb")).unwrap().next().unwrap().unwrap().path();
    assert!(folder.is_dir() && tracker["then"].as_str().unwrap().starts_with("wandb sync"), "{sent}");
}

#[test]
fn emissions_of_runs_are_added_up_compared_and_drawn() {
    let fixture = Fixture::new(4);
    let run_id = fixture.run_id.as_str();
    let none = fixture.json(&["emissions", "aggregate"]);
    assert_eq!((&none["total_emissions_kg_co2"], &none["total_runs"]), (&json!(0.0), &json!(0)));
    assert_eq!(ran(&mut fixture.command(&["train", run_id])).code, 0);
    let second = fixture.configure(4);
    assert_eq!(ran(&mut fixture.command(&["train", &second])).code, 0);
    let current = fixture.json(&["emissions", "current", run_id]);
    assert!(current["current_emissions_kg_co2"].as_f64().unwrap() > 0.0, "{current}");
    let summary = fixture.json(&["emissions", "summary", run_id]);
    let [low, high] = [0, 1].map(|end| summary["summary"]["emissions_range_kg"][end].as_f64().unwrap());
    let kg = summary["summary"]["total_emissions_kg_co2"].as_f64().unwrap();
    assert!(low < kg && kg < high, "{summary}");
    assert_eq!(summary["sci"]["per"]["unit"], "million tokens trained");
    let all = fixture.json(&["emissions", "aggregate"]);
    assert_eq!((&all["total_runs"], &all["total_files"]), (&json!(2), &json!(4)), "{all}");
    assert!(all["total_emissions_kg_co2"].as_f64().unwrap() > kg);
    let compared = fixture.json(&["emissions", "compare", run_id, &second]);
    assert!(compared["runs"][1]["difference"]["verdict"].is_string(), "{compared}");
    let charts = fixture.json(&["emissions", "plot", run_id, "--to", "charts"]);
    let files: Vec<PathBuf> = serde_json::from_value(charts["files"].clone()).unwrap();
    assert!(files.len() >= 2, "energy as SVG and PNG; the run may be too short for its power over time");
    assert!(files.iter().all(|file| file.is_file() && file.starts_with(fixture.project.join("charts"))));
}

/// What a wall meter showed becomes a file that later figures are scaled by.
#[test]
fn any_program_is_metered_and_a_wall_meter_calibrates_it() {
    let fixture = Fixture::new(4);
    let track = ["emissions", "track", "--tracking-mode", "machine"];
    let tracked = ran(fixture.command(&track).args(["--", "sh", "-c", "sleep 0.3; exit 7"]));
    assert_eq!(tracked.code, 7, "{tracked:?}");
    assert!(tracked.stderr.contains("row added to"), "{tracked:?}");
    let row = std::fs::read_to_string(fixture.project.join("emissions.csv")).unwrap();
    assert_eq!(row.lines().count(), 2, "{row}");
    let calibrate =
        ["emissions", "calibrate", "--wall-meter", "plug", "--from", "emissions.csv", "--to", "wall.json"];
    let calibrated = ran(fixture.command(&calibrate).args(["--wall-wh", "1.0", "--json"])).json();
    assert_eq!(calibrated["measurements"], 1);
    let factor = calibrated["factor"].as_f64().unwrap();
    let setting = ["--set", "carbon.calibration_file=wall.json", "--json"];
    let scaled = ran(fixture.command(&track).args(setting).args(["--", "sleep", "0.3"])).json();
    let applied = &scaled["provenance"]["calibration"];
    let [raw, wall] = ["raw_energy_kwh", "energy_kwh"].map(|key| applied[key].as_f64().unwrap());
    assert!((wall / raw / factor - 1.0).abs() < 1e-6 && factor > 1.0, "{applied}");
    // A calibrated row cannot calibrate again.
    let again = ran(fixture.command(&calibrate).args(["--wall-wh", "1.0", "--json"])).problem();
    assert_eq!(again["code"], "carbon.calibration", "{again}");
    let missing =
        ran(&mut fixture.command(&["emissions", "track", "--json", "--", "no-such-program"])).problem();
    assert_eq!(missing["code"], "carbon.program", "{missing}");
}

#[test]
fn a_worker_that_is_asked_to_end_leaves_a_checkpoint_and_its_energy() {
    let fixture = Fixture::new(4000);
    let run_id = fixture.run_id.as_str();
    assert_eq!(ran(&mut fixture.command(&["train", run_id, "--detach"])).code, 0);
    fixture.wait_for_step(1, 2);
    kill_process(fixture.worker(), Signal::TERM).unwrap();
    wait_until(|| fixture.status() == "cancelled");
    let last = fixture.events().pop().unwrap();
    assert!(last["reason"].as_str().unwrap().contains("asked the worker to end"), "{last}");
    let summary = fixture.json(&["emissions", "summary", run_id]);
    assert!(summary["summary"]["total_energy_kwh"].as_f64().unwrap() > 0.0, "{summary}");
    assert!(fixture.run_folder().join("stage1/checkpoints").read_dir().unwrap().next().is_some());
}

#[test]
fn data_that_cannot_be_trained_on_is_refused_when_the_run_is_made() {
    let fixture = Fixture::new(6);
    let record = |n: usize| {
        let record = json!({"instruction": "long ".repeat(200 + n), "output": "x"});
        format!("{record}\n")
    };
    std::fs::write(fixture.project.join("long.jsonl"), (0..30).map(record).collect::<String>()).unwrap();
    std::fs::write(fixture.project.join("other.jsonl"), "{\"question\":\"a\",\"answer\":\"b\"}\n").unwrap();
    let new = |train: &str, validation: &str| {
        let mut command =
            fixture.command(&["runs", "new", "--name", "n", "--train", train, "--validation", validation]);
        ran(command.args(["--set", "training.max_seq_length=64"]))
    };
    let refused = new("long.jsonl", "validation.jsonl");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(refused.stderr.matches("the prompt has").count(), 1, "{refused:?}");
    assert!(refused.stderr.contains("30 records: the prompt has"), "{refused:?}");
    let both = new("long.jsonl", "other.jsonl").stderr;
    assert!(both.contains("2 data sets cannot be trained on") && both.contains("`question`"), "{both}");
    let runs = std::fs::read_dir(fixture.project.join("runs")).unwrap();
    let runs = runs.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(runs, 1, "no run is left behind");

    std::fs::write(fixture.project.join("some.jsonl"), jsonl("some", 4) + &record(0)).unwrap();
    let warned = new("some.jsonl", "validation.jsonl");
    assert!(warned.stdout.contains("some.jsonl: of its 5 records, 1 cannot be used"), "{warned:?}");
}

#[test]
fn columns_of_other_names_are_offered_read_and_noted() {
    let fixture = Fixture::new(6);
    let rows: String = (0..40).flat_map(|n| [format!("Say {n}.,{n} it is"), String::from("\n")]).collect();
    std::fs::write(fixture.project.join("data/raw/faq.csv"), format!("Question,Answer\n{rows}")).unwrap();
    let refused = ran(&mut fixture.command(&["data", "prepare", "data/raw/faq.csv"]));
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--columns instruction=Question,output=Answer"), "{refused:?}");
    let columns = "instruction=Question,output=Answer";
    fixture.json(&["data", "prepare", "data/raw/faq.csv", "--columns", columns]);
    // The splits are read by the names that the project has now.
    let seen = fixture.json(&["data", "inspect", "data/processed/train.jsonl"]);
    assert_eq!(seen["counts"]["kept"], 32);
    let config = fixture.project.join("config/fine_tuning_config.toml");
    assert!(std::fs::read_to_string(config).unwrap().contains("instruction_field = \"Question\""));
}
