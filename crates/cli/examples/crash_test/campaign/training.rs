//! The world's first run, which is left alone, and runs that are killed until they are done.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    files::{self, Snapshot, parsed, rows_of},
    world::World,
};

/// Short enough to be killed a thousand times; with dropout, so that the random numbers count.
const SETTINGS: [&str; 12] = [
    "training.stage1.iterations=5",
    "training.stage2.iterations=5",
    "training.stage1.batch_size=2",
    "training.stage2.batch_size=2",
    "training.stage1.gradient_accumulation=1",
    "training.stage2.gradient_accumulation=1",
    "training.save_steps=2",
    "training.eval_steps=3",
    "training.max_seq_length=64",
    "lora.dropout=0.1",
    "training.device=cpu",
    "evaluation.generate_records=1",
];
/// The run that is left alone.
pub const BASE: &str = "base";
/// Time after which a queued run is interrupted (`QUEUED_AT_MOST` of `run-folder`), and some more.
const LONGEST_QUEUED: Duration = Duration::from_secs(75);
/// Times that a run is struck at most before it is left alone.
const BLOWS: u64 = 3;

/// Gives a new world its data, its projects, and what work comes to that is left alone.
pub fn furnish(world: &mut World) -> Result<(), String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for (name, from, lines) in [("train", "general_train", 40), ("valid", "general_validation", 6)] {
        let text = read(&fixtures.join(format!("demo/{from}.jsonl")))?;
        let some: String = text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
        write(&world.input(&format!("{name}.jsonl")), &some)?;
    }
    let record = |n: u64| format!("{{\"instruction\":\"Say {n}\",\"output\":\"It is {n}\",\"n\":{n}}}\n");
    write(&world.input("raw.jsonl"), &(0..4000).map(record).collect::<String>())?;
    let model = fixtures.join("base-model");
    for project in ["p", "q"] {
        world.json(&["new", project, "--base-model", &text_of(&model)])?;
    }
    let run = new_run(world, "p", BASE)?;
    world.timed("train", &["--project", "p", "train", &run])?;
    super::operations::furnish(world, &run)
}

/// Configures a run; its id.
pub fn new_run(world: &mut World, project: &str, name: &str) -> Result<String, String> {
    let arguments = run_arguments(world, project, name);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let answer = world.timed("runs new", &arguments)?;
    answer["run_id"].as_str().map(str::to_owned).ok_or_else(|| format!("no run id in {answer}"))
}

/// The command that configures a run.
pub fn run_arguments(world: &World, project: &str, name: &str) -> Vec<String> {
    let (train, valid) = (text_of(&world.input("train.jsonl")), text_of(&world.input("valid.jsonl")));
    let words =
        ["--project", project, "runs", "new", "--name", name, "--train", &train, "--validation", &valid];
    let settings = SETTINGS.into_iter().flat_map(|setting| ["--set", setting]);
    words.into_iter().chain(settings).map(str::to_owned).collect()
}

/// A run that is struck while it trains, and resumed, until it is done: it is the run that was left alone, bit for bit.
pub fn round(world: &mut World) -> Result<(), String> {
    let name = format!("t{}", world.number());
    let run = new_run(world, "p", &name)?;
    for _ in 0..=world.random.below(BLOWS) {
        let Some(command) = next_command(world, &run)? else { break };
        world.struck("train", &["--project", "p", command, &run], &|path| is_of_run(path, &run))?;
        if world.random.happens(20) {
            world.check_doctor()?;
        }
    }
    finish(world, &run)
}

/// Brings a run to its end undisturbed, and compares it with the one that was left alone.
pub fn finish(world: &mut World, run: &str) -> Result<(), String> {
    if let Some(command) = next_command(world, run)? {
        world.json(&["--project", "p", command, run])?;
    }
    if let Some(command) = next_command(world, run)? {
        return Err(format!("the run would have to {command} again"));
    }
    check_same(world, run)?;
    check_energy(world, run)?;
    world.check_nothing_left()
}

/// The command that brings the run on; `None` when it is done.
fn next_command(world: &mut World, run: &str) -> Result<Option<&'static str>, String> {
    let shown = settled(world, run)?;
    let summary = &shown["summary"];
    let progress = summary["progress_percentage"].as_f64().unwrap_or(-1.0);
    if !(0.0..=100.0).contains(&progress) {
        return Err(format!("progress of {progress} %"));
    }
    match summary["status"].as_str().unwrap_or_default() {
        "completed" => Ok(None),
        "not_started" => Ok(Some("train")),
        "interrupted" | "cancelled" => Ok(Some("resume")),
        "failed" if shown["manifest"]["problem"]["code"] == "disk.full" => Ok(Some("resume")),
        other => Err(format!("the run is {other}: {}", shown["manifest"]["problem"])),
    }
}

/// What is said of the run once it is not queued any more: a run whose worker was killed before it began is queued for a
/// minute.
fn settled(world: &mut World, run: &str) -> Result<Value, String> {
    let began = Instant::now();
    loop {
        let shown = world.json(&["--project", "p", "runs", "show", run])?;
        if shown["summary"]["status"] != "queued" || began.elapsed() > LONGEST_QUEUED {
            return Ok(shown);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Whether the file belongs to the run.
pub fn is_of_run(path: &Path, run: &str) -> bool {
    path.to_string_lossy().contains(run)
}

fn check_same(world: &World, run: &str) -> Result<(), String> {
    let base = base_run(world)?;
    let (expected, found) = (models(world, &base), models(world, run));
    if expected != found {
        let other = expected.iter().filter(|(path, digest)| found.get(*path) != Some(digest));
        let other: Vec<_> = other.map(|(path, _)| path.display().to_string()).collect();
        return Err(format!("trained to something else: {}", other.join(", ")));
    }
    let expected = learnt(world, &base)?;
    for (what, value) in learnt(world, run)? {
        if expected.get(&what) != Some(&value) {
            return Err(format!("{what} is {value} instead of {:?}", expected.get(&what)));
        }
    }
    Ok(())
}

/// Adapters, the final model and the evaluations of a run.
fn models(world: &World, run: &str) -> Snapshot {
    let files = files::snapshot(&world.path(&format!("p/runs/{run}")));
    let is_model = |path: &Path| {
        ["stage1/adapters", "stage2/adapters", "final-model"].iter().any(|folder| path.starts_with(folder))
    };
    files.into_iter().filter(|(path, _)| is_model(path)).collect()
}

/// What the events say of every step and evaluation, without times.
fn learnt(world: &World, run: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut learnt = BTreeMap::new();
    for mut event in events(world, run)? {
        let what = format!("{} of step {} of stage {}", event["kind"], event["step"], event["stage"]);
        if event["kind"] == "step" || event["kind"] == "evaluated" {
            for of_time in ["seq", "at", "tokens_per_second"] {
                if let Some(fields) = event.as_object_mut() {
                    fields.remove(of_time);
                }
            }
            // A step that was repeated after a kill must be what it was before.
            let before = learnt.insert(what.clone(), event.clone());
            if before.as_ref().is_some_and(|before| *before != event) {
                return Err(format!("{what} was {before:?} and is {event}"));
            }
        }
    }
    Ok(learnt)
}

fn events(world: &World, run: &str) -> Result<Vec<Value>, String> {
    read(&world.path(&format!("p/runs/{run}/events.jsonl")))?.lines().map(parsed).collect()
}

/// One row for each stage, with no less energy than any event said.
fn check_energy(world: &World, run: &str) -> Result<(), String> {
    let events = events(world, run)?;
    for stage in 1..=2 {
        let name = format!("p/emissions/{run}_stage{stage}_emissions.csv");
        let text = read(&world.path(&name))?;
        let rows = rows_of(&text).map_err(|error| format!("{name}: {error}"))?;
        let [row] = rows[..] else { return Err(format!("{name} has {} rows", rows.len())) };
        let column =
            text.lines().next().unwrap_or_default().split(',').position(|name| name == "energy_consumed");
        let energy =
            column.and_then(|column| row.split(',').nth(column)?.parse::<f64>().ok()).unwrap_or(-1.0);
        let of_stage =
            events.iter().filter(|event| event["stage"] == stage || event["emissions"]["stage"] == stage);
        let said = of_stage
            .filter_map(|event| event["emissions"]["energy_kwh"].as_f64().or(event["energy_kwh"].as_f64()));
        let most = said.fold(0.0, f64::max);
        if energy <= 0.0 || energy < most * (1.0 - 1e-9) {
            return Err(format!("{name} has {energy} kWh, and an event said {most} kWh before"));
        }
    }
    Ok(())
}

/// The id of the run that was left alone.
pub fn base_run(world: &World) -> Result<String, String> {
    run_named(world, "p", BASE).ok_or_else(|| String::from("the first run is gone"))
}

/// The id of the run `name` of a project.
pub fn run_named(world: &World, project: &str, name: &str) -> Option<String> {
    runs_in(&world.path(project)).into_iter().find(|run| run.starts_with(&format!("{name}-")))
}

/// The ids of the runs that can be seen in a project.
pub fn runs_in(project: &Path) -> Vec<String> {
    let entries = fs::read_dir(project.join("runs")).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes a text file.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// A path as a word of a command.
pub fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
