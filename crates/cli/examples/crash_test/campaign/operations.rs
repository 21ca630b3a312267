//! The operations that are killed, each with what must hold after a kill and at its end.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{
    files::{self, Snapshot},
    training::{self, base_run, read, run_arguments, runs_in, text_of},
    world::World,
};

/// An operation that is struck.
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// Strikes it, brings it to its end and checks it.
    pub round: fn(&mut World) -> Result<(), String>,
}

/// All of them.
pub const OPERATIONS: [Operation; 8] = [
    Operation { name: "train", round: training::round },
    Operation { name: "evaluate", round: evaluate },
    Operation { name: "export", round: export },
    Operation { name: "data prepare", round: prepare },
    Operation { name: "emissions track", round: track },
    Operation { name: "runs new", round: configure },
    Operation { name: "index", round: index },
    Operation { name: "new", round: generate },
];

/// The formats of exports.
const EXPORTS: [&[&str]; 4] = [
    &["--format", "huggingface"],
    &["--format", "huggingface", "--merge"],
    &["--format", "safetensors"],
    &["--format", "safetensors", "--merge"],
];
/// Runs in the project `q`, beside those of `p`.
const OTHER_RUNS: usize = 30;
/// Programs that are metered into one file before a new one is begun.
const ROWS: u64 = 12;
/// Chance that `doctor` is asked between a kill and the next try, in percent.
const DOCTOR: u64 = 30;

/// Does each operation once, undisturbed, and keeps what it comes to.
pub fn furnish(world: &mut World, run: &str) -> Result<(), String> {
    world.timed("evaluate", &evaluate_arguments(world, run, 1).each())?;
    for (number, format) in EXPORTS.iter().enumerate() {
        let name = format!("reference-{number}");
        world.timed("export", &export_arguments(run, format, &name))?;
        keep(world, &name)?;
    }
    for seed in ["1", "2"] {
        world.timed("data prepare", &prepare_arguments(world, "prepared", seed).each())?;
        let splits = files::snapshot(&world.path("prepared"));
        world.undisturbed.insert(format!("splits {seed}"), visible(splits));
    }
    fs::create_dir(world.path("metered")).map_err(|error| error.to_string())?;
    world.timed("emissions track", &TRACK_FIRST)?;
    world.timed("new", &generate_arguments().each())?;
    keep(world, "made")?;
    let other = training::new_run(world, "q", "other")?;
    let folder = world.path("q/runs");
    for number in 0..OTHER_RUNS {
        let copy = folder.join(format!("copy{number}-20260101-000000"));
        fs::create_dir(&copy).map_err(|error| error.to_string())?;
        let manifest = folder.join(&other).join("run-manifest.json");
        fs::copy(manifest, copy.join("run-manifest.json")).map_err(|error| error.to_string())?;
    }
    // Listing the project's runs puts the copies into the index.
    world.json(&["--project", "q", "runs", "list"])?;
    world.timed("index", &LIST)?;
    Ok(())
}

const LIST: [&str; 3] = ["runs", "list", "--all"];
const TRACK_FIRST: [&str; 9] =
    ["--project", "p", "emissions", "track", "--to", "metered/first.csv", "--", "sleep", "0.02"];

/// Keeps what lies in the folder `name` as what undisturbed work comes to, and removes it.
fn keep(world: &mut World, name: &str) -> Result<(), String> {
    let folder = world.path(name);
    world.undisturbed.insert(name.to_owned(), files::snapshot(&folder));
    fs::remove_dir_all(folder).map_err(|error| error.to_string())
}

/// Words of a command that are owned, as a command takes them.
trait Words {
    fn each(&self) -> Vec<&str>;
}

impl Words for Vec<String> {
    fn each(&self) -> Vec<&str> {
        self.iter().map(String::as_str).collect()
    }
}

fn owned<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Strikes `arguments` once or more.
fn strike(
    world: &mut World,
    operation: &'static str,
    arguments: &[&str],
    may_change: &dyn Fn(&Path) -> bool,
) -> Result<(), String> {
    world.struck(operation, arguments, may_change)?;
    if world.random.happens(DOCTOR) { world.check_doctor() } else { Ok(()) }
}

fn evaluate(world: &mut World) -> Result<(), String> {
    let run = base_run(world)?;
    let stage = 1 + world.random.below(2);
    let arguments = evaluate_arguments(world, &run, stage);
    let folder = format!("p/runs/{run}/stage{stage}/evaluation");
    strike(world, "evaluate", &arguments.each(), &|path| path.starts_with(&folder))?;
    let answer = world.json(&arguments.each())?;
    let file = answer["results_file"].as_str().ok_or("no results file is named")?;
    let kept: Value = files::parsed(&read(Path::new(file))?)?;
    if kept["evaluation_results"] != answer["evaluation_results"] && !kept.to_string().contains("loss") {
        return Err(format!("{file} does not say what was answered"));
    }
    world.check_nothing_left()
}

fn evaluate_arguments(world: &World, run: &str, stage: u64) -> Vec<String> {
    let (stage, test) = (stage.to_string(), text_of(&world.input("valid.jsonl")));
    owned(["--project", "p", "evaluate", run, "--stage", &stage, "--test", &test, "--generate", "1"])
}

fn export(world: &mut World) -> Result<(), String> {
    let run = base_run(world)?;
    let number = world.random.below(EXPORTS.len() as u64) as usize;
    let name = format!("export-{}", world.number());
    let arguments = export_arguments(&run, EXPORTS[number], &name);
    let expected = world.undisturbed.get(&format!("reference-{number}")).cloned().unwrap_or_default();
    let expected = without_readme(expected);
    // The run's manifest lists its exports.
    let manifest = format!("p/runs/{run}/run-manifest.json");
    strike(world, "export", &arguments, &|path| path.starts_with(&name) || path == Path::new(&manifest))?;
    let whole = |world: &World| without_readme(files::snapshot(&world.path(&name))) == expected;
    if world.path(&name).exists() {
        if !whole(world) {
            return Err(String::from("a killed export can be seen and is not whole"));
        }
    } else {
        world.json(&arguments)?;
        if !whole(world) {
            return Err(String::from("the export differs from one that was left alone"));
        }
    }
    fs::remove_dir_all(world.path(&name)).map_err(|error| error.to_string())?;
    // What a killed export left is swept by the next one.
    world.json(&export_arguments(&run, EXPORTS[0], "swept"))?;
    fs::remove_dir_all(world.path("swept")).map_err(|error| error.to_string())?;
    world.check_nothing_left()
}

fn export_arguments<'a>(run: &'a str, format: &[&'a str], name: &'a str) -> Vec<&'a str> {
    [&["--project", "p", "export", run, "--stage", "1", "--to", name], format].concat()
}

/// The card in an export says when it was made.
fn without_readme(mut files: Snapshot) -> Snapshot {
    files.remove(Path::new("README.md"));
    files
}

fn prepare(world: &mut World) -> Result<(), String> {
    let of_seed = |world: &World, seed: &str| world.undisturbed.get(&format!("splits {seed}")).cloned();
    let now = visible(files::snapshot(&world.path("prepared")));
    let seed = if Some(&now) == of_seed(world, "1").as_ref() { "2" } else { "1" };
    let arguments = prepare_arguments(world, "prepared", seed);
    strike(world, "data prepare", &arguments.each(), &|path| {
        path.starts_with("prepared") || path.starts_with("p/data/quality_reports")
    })?;
    let seen = visible(files::snapshot(&world.path("prepared")));
    // While the first file is there, the others are those that were made with it.
    if seen.contains_key(Path::new("train.jsonl"))
        && seen != now
        && Some(&seen) != of_seed(world, seed).as_ref()
    {
        return Err(String::from("splits of two preparations can be seen at once"));
    }
    world.json(&arguments.each())?;
    if Some(visible(files::snapshot(&world.path("prepared")))) != of_seed(world, seed) {
        return Err(String::from("the splits differ from those of a preparation that was left alone"));
    }
    check_disjoint(world)?;
    world.check_nothing_left()
}

fn prepare_arguments(world: &World, to: &str, seed: &str) -> Vec<String> {
    let raw = text_of(&world.input("raw.jsonl"));
    owned(["--project", "p", "data", "prepare", &raw, "--to", to, "--force", "--seed", seed])
}

/// The files that have their names.
fn visible(files: Snapshot) -> Snapshot {
    files
        .into_iter()
        .filter(|(path, _)| {
            path.extension().is_some_and(|ending| ending == "jsonl") && !files::is_unfinished(path)
        })
        .collect()
}

fn check_disjoint(world: &World) -> Result<(), String> {
    let text = |name: &str| read(&world.path(&format!("prepared/{name}.jsonl")));
    let (train, validation) = (text("train")?, text("validation")?);
    let train: BTreeSet<_> = train.lines().collect();
    let both = validation.lines().filter(|line| train.contains(line)).count();
    if both == 0 { Ok(()) } else { Err(format!("{both} training records are in validation")) }
}

fn track(world: &mut World) -> Result<(), String> {
    let name = format!("metered/{}.csv", world.number() / ROWS);
    let rows = |world: &World| {
        let text = fs::read_to_string(world.path(&name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = rows(world);
    let arguments = ["--project", "p", "emissions", "track", "--to", &name, "--", "sleep", "0.02"];
    strike(world, "emissions track", &arguments, &|path| {
        // The project notes the file.
        path.starts_with("metered") || path == Path::new("p/emissions/metered-elsewhere.txt")
    })?;
    let after = rows(world);
    // The header comes with the first row.
    let most = if before.is_empty() { 2 } else { before.len() + 1 };
    if !after.starts_with(&before) || after.len() > most {
        return Err(format!("{name} had {} lines and has {}", before.len(), after.len()));
    }
    world.json(&arguments)?;
    let last = rows(world);
    let expected = if after.is_empty() { 2 } else { after.len() + 1 };
    if !last.starts_with(&after) || last.len() != expected {
        return Err(format!(
            "{name} had {} lines and has {} after one program more",
            after.len(),
            last.len()
        ));
    }
    check_provenance(world)?;
    world.check_nothing_left()
}

/// Every row has its provenance. A tracker that is killed between the two writes can leave a provenance without a row.
fn check_provenance(world: &World) -> Result<(), String> {
    let (mut rows, mut provenances) = (BTreeSet::new(), BTreeSet::new());
    for path in files::snapshot(&world.path("metered")).into_keys() {
        let name = path.to_string_lossy().into_owned();
        if let Some(run) = name.strip_suffix("_provenance.json") {
            provenances.insert(run.to_owned());
        } else if path.extension().is_some_and(|end| end == "csv") {
            let text = read(&world.path("metered").join(&path))?;
            rows.extend(text.lines().skip(1).filter_map(|row| row.split(',').nth(2).map(str::to_owned)));
        }
    }
    let alone: Vec<_> = rows.difference(&provenances).collect();
    if alone.is_empty() { Ok(()) } else { Err(format!("rows without provenance: {alone:?}")) }
}

fn configure(world: &mut World) -> Result<(), String> {
    let name = format!("n{}", world.number());
    let arguments = run_arguments(world, "p", &name);
    let begin = format!("p/runs/{name}-");
    strike(world, "runs new", &arguments.each(), &|path| path.to_string_lossy().starts_with(&begin))?;
    check_runs(world)?;
    world.json(&arguments.each())?;
    check_runs(world)?;
    world.check_nothing_left()?;
    for run in runs_in(&world.path("p")).into_iter().filter(|run| run.starts_with(&format!("{name}-"))) {
        fs::remove_dir_all(world.path(&format!("p/runs/{run}"))).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Every run that can be seen is whole, and is listed.
fn check_runs(world: &mut World) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for project in ["p", "q"] {
        for run in runs_in(&world.path(project)) {
            if !world.path(&format!("{project}/runs/{run}/run-manifest.json")).is_file() {
                return Err(format!("the run {run} can be seen and has no manifest"));
            }
            seen.insert(run);
        }
    }
    let answer = world.json(&LIST)?;
    let listed = answer["runs"].as_array().into_iter().flatten();
    let listed: BTreeSet<_> = listed.filter_map(|run| Some(run["run_id"].as_str()?.to_owned())).collect();
    if seen == listed {
        return Ok(());
    }
    let other: Vec<_> = seen.symmetric_difference(&listed).collect();
    Err(format!("{} runs can be seen and {} are listed: {other:?}", seen.len(), listed.len()))
}

fn index(world: &mut World) -> Result<(), String> {
    if world.random.happens(60) {
        // As if it had been lost, so that it is made anew.
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            let _ = fs::remove_file(world.path("home").join(name));
        }
    }
    strike(world, "index", &LIST, &|_| false)?;
    check_runs(world)?;
    world.check_nothing_left()
}

fn generate(world: &mut World) -> Result<(), String> {
    let arguments = generate_arguments();
    strike(world, "new", &arguments.each(), &|path| path.starts_with("made"))?;
    let expected = world.undisturbed.get("made").cloned().unwrap_or_default();
    let is_whole = |world: &World| files::snapshot(&world.path("made")) == expected;
    if world.path("made").exists() {
        if !is_whole(world) {
            return Err(String::from("a project that was killed can be seen and is not whole"));
        }
        fs::remove_dir_all(world.path("made")).map_err(|error| error.to_string())?;
    }
    world.json(&arguments.each())?;
    if !is_whole(world) {
        return Err(String::from("the project differs from one that was left alone"));
    }
    fs::remove_dir_all(world.path("made")).map_err(|error| error.to_string())?;
    world.check_nothing_left()
}

fn generate_arguments() -> Vec<String> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/base-model");
    owned(["new", "made", "--base-model", &text_of(&model)])
}
