//! Clocks that were set. The system's clock is not touched: every moment that an interrupted run has written down, and the
//! dates of its files, are moved instead, as if the clock had been set since.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    files::parsed,
    training::{self, is_of_run, read, write},
    world::World,
};

/// How far clocks are set, in hours: a zone, a day, a dead battery.
const HOURS: [i64; 6] = [-1, 1, -25, 25, -24 * 400, 24 * 400];
/// Where `at`, `created_at` and their like are.
const DATED: [&str; 3] = ["run-manifest.json", "heartbeat.json", "events.jsonl"];

/// A run that was interrupted before the clock was set is shown and listed, and ends as one that was left alone; so does one
/// that was queued.
pub fn round(world: &mut World) -> Result<(), String> {
    let hours = HOURS[world.random.below(HOURS.len() as u64) as usize];
    let moved = SignedDuration::from_hours(hours);
    let name = format!("c{}", world.number());
    let run = training::new_run(world, "p", &name)?;
    world.struck("train", &["--project", "p", "train", &run], &|path| is_of_run(path, &run))?;
    let folder = world.path(&format!("p/runs/{run}"));
    let in_words = |fault: String| format!("with a clock that was set by {hours} hours: {fault}");
    move_run(&folder, moved).map_err(in_words)?;
    look(world, &run).map_err(in_words)?;
    training::finish(world, &run).map_err(in_words)?;
    look(world, &run).map_err(in_words)?;
    queued(world, moved).map_err(in_words)
}

/// A run that is queued, by a process that is alive, at a moment that is not now.
fn queued(world: &mut World, moved: SignedDuration) -> Result<(), String> {
    let name = format!("c{}", world.number());
    let run = training::new_run(world, "p", &name)?;
    let path = world.path(&format!("p/runs/{run}/run-manifest.json"));
    let mut manifest = parsed(&read(&path)?)?;
    manifest["status"] = json!("queued");
    manifest["pid"] = json!(std::process::id());
    write(&path, &manifest.to_string())?;
    move_run(&world.path(&format!("p/runs/{run}")), moved)?;
    training::finish(world, &run)
}

/// What is said of the run while nobody trains it.
fn look(world: &mut World, run: &str) -> Result<(), String> {
    let progress = world.json(&["--project", "p", "monitor", run])?;
    check_figures(&progress, "monitor")?;
    let listed = world.json(&["--project", "p", "runs", "list"])?;
    check_figures(&listed, "runs list")?;
    if listed.to_string().contains(run) { Ok(()) } else { Err(String::from("the run is not listed")) }
}

/// Shares, times and energies are what such can be.
fn check_figures(value: &Value, within: &str) -> Result<(), String> {
    if let Some(list) = value.as_array() {
        return list.iter().try_for_each(|value| check_figures(value, within));
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let is_share = name.ends_with("percentage") || name.ends_with("percent");
        let is_amount = ["_seconds", "_kwh", "_kg", "_kg_co2"].iter().any(|unit| name.ends_with(unit));
        match value.as_f64() {
            Some(share) if is_share && !(0.0..=100.0).contains(&share) => {
                return Err(format!("{name} in {within} is {share}"));
            }
            // No run of this test takes a minute.
            Some(amount) if is_amount && !(0.0..=3600.0).contains(&amount) => {
                return Err(format!("{name} in {within} is {amount}"));
            }
            _ => check_figures(value, within)?,
        }
    }
    Ok(())
}

/// Moves every moment that the files of a run name, and the dates of the files.
fn move_run(folder: &Path, moved: SignedDuration) -> Result<(), String> {
    for name in DATED {
        let path = folder.join(name);
        if path.exists() {
            write(&path, &with_moments_moved(&read(&path)?, moved))?;
        }
    }
    move_dates(folder, moved).map_err(|error| format!("cannot set the dates of files: {error}"))
}

/// `text` with each moment in quotes moved.
fn with_moments_moved(text: &str, moved: SignedDuration) -> String {
    let moved = |word: &str| word.parse::<Timestamp>().ok().and_then(|at| at.checked_add(moved).ok());
    let words = text.split('"').map(|word| moved(word).map_or_else(|| word.to_owned(), |at| at.to_string()));
    words.collect::<Vec<_>>().join("\"")
}

fn move_dates(folder: &Path, moved: SignedDuration) -> Result<(), std::io::Error> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            move_dates(&entry.path(), moved)?;
        } else {
            let (now, by) = (SystemTime::now(), Duration::try_from(moved.abs()).unwrap_or_default());
            let date = if moved.is_negative() { now - by } else { now + by };
            File::options().write(true).open(entry.path())?.set_modified(date)?;
        }
    }
    Ok(())
}
