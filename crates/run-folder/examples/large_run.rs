//! What it costs to look at a run of many steps.
//!
//! usage: `large_run [STEPS]` (1 000 000 when absent); writes such a run into a temporary folder and prints seconds as JSON:
//! the first look, looks after one more step each, and the same by reading every event.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use std::{
    error::Error,
    fs,
    io::{BufWriter, Write as _},
    time::Instant,
};

use greentune_core_config::{
    event::{Event, EventKind, StepMetrics},
    layout::ProjectLayout,
    manifest::FORMAT_VERSION,
    settings::Settings,
};
use greentune_run_folder::{LocalLiveness, Run, RunView};
use jiff::Timestamp;
use serde_json::json;

/// Looks that are timed.
const LOOKS: u64 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let steps: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |steps| steps.parse())?;
    let folder = tempfile::tempdir()?;
    let run = ProjectLayout::new(fs::canonicalize(folder.path())?).run("large-20260101-000000");
    fs::create_dir_all(run.folder())?;
    let stage = json!({"stage": 1, "status": "running", "total_steps": 2 * steps, "steps_done": 0});
    let manifest = json!({
        "format_version": FORMAT_VERSION, "greentune_version": "0.1.0", "run_id": run.run_id(), "run_name": "large",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "status": "interrupted",
        "platform": {"kind": "local"}, "settings": Settings::default(), "sources": {},
        "data": {"train": "", "validation": ""}, "base_model_path": "", "input_hashes": {}, "stages": [stage],
    });
    fs::write(run.manifest(), manifest.to_string())?;
    let mut log = BufWriter::new(fs::File::create(run.events())?);
    for seq in 0..steps {
        writeln!(log, "{}", line(seq, steps)?)?;
    }
    log.flush()?;

    let first = Instant::now();
    let mut view = RunView::open(run.clone(), &LocalLiveness)?;
    let first = first.elapsed().as_secs_f64();
    let mut looks = Vec::new();
    for seq in steps..steps + LOOKS {
        writeln!(log, "{}", line(seq, steps)?)?;
        log.flush()?;
        let look = Instant::now();
        view.refresh(&LocalLiveness)?;
        looks.push(look.elapsed().as_secs_f64());
        assert_eq!(view.manifest().stages[0].steps_done, seq + 1);
    }
    looks.sort_by(f64::total_cmp);
    let whole = Instant::now();
    assert_eq!(Run::read(run.clone(), &LocalLiveness)?.events.len() as u64, steps + LOOKS);
    let result = json!({
        "steps": steps,
        "megabytes": fs::metadata(run.events())?.len() as f64 / 1e6,
        "first_look_seconds": first,
        "later_look_median_seconds": looks[looks.len() / 2],
        "later_look_longest_seconds": looks.last(),
        "every_event_seconds": whole.elapsed().as_secs_f64(),
    });
    println!("{result}");
    Ok(())
}

fn line(seq: u64, steps: u64) -> serde_json::Result<String> {
    let kind = EventKind::Step(StepMetrics {
        stage: 1,
        step: seq + 1,
        total_steps: 2 * steps,
        train_loss: 1.0 + 1.0 / (seq + 1) as f64,
        learning_rate: 1.234_567_8e-5,
        gradient_norm: 0.987_654_321,
        tokens: 1024,
        tokens_per_second: 4711.5,
        samples: None,
    });
    let at = Timestamp::from_millisecond(1_767_225_600_000 + seq.cast_signed() * 250).unwrap_or_default();
    serde_json::to_string(&Event { seq, at, kind })
}
