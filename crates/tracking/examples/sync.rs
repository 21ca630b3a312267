//! Sends a run folder to the MLflow server and the Weights & Biases project that are named.
//!
//! usage: `sync RUN_FOLDER [--mlflow URI] [--wandb PROJECT] [--wandb-server URI] [--follow SECONDS]`; prints the report
//! as JSON. With `--wandb-server` the run goes to that server with a key of zeros, without it into a folder.
//! With `--follow` the run is followed for so long, as beside training, and the problems are printed.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]
#![allow(clippy::print_stdout)]

use std::{error::Error, fs, thread, time::Duration};

use greentune_core_config::layout::RunLayout;
use greentune_tracking::{Credentials, Tracking, sync};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = fs::canonicalize(arguments.next().ok_or("which run folder?")?)?;
    let layout = RunLayout::at(folder).ok_or("a run folder lies at PROJECT/runs/ID")?;
    let mut settings = greentune_run_folder::manifest::read(&layout)?.settings;
    let mut credentials = Credentials::default();
    let mut follow = None;
    while let (Some(option), Some(value)) = (arguments.next(), arguments.next()) {
        match option.as_str() {
            "--mlflow" => (settings.mlflow.enabled, settings.mlflow.tracking_uri) = (true, value),
            "--wandb" => settings.wandb.project = Some(value),
            "--wandb-server" => {
                credentials.wandb_api_key = Some("0".repeat(40));
                credentials.wandb_base_url = Some(value);
            }
            "--follow" => follow = Some(Duration::from_secs_f64(value.parse()?)),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let Some(time) = follow else {
        println!("{}", serde_json::to_string_pretty(&sync(&layout, &settings, &credentials)?)?);
        return Ok(());
    };
    let mut tracking = Tracking::start(&layout, &settings, &credentials)?;
    thread::sleep(time);
    let mut problems = tracking.problems();
    problems.extend(tracking.finish(Duration::from_secs(10)));
    println!("{}", serde_json::to_string_pretty(&problems)?);
    Ok(())
}
