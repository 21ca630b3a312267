//! greentune's domain model: settings, runs, events, emissions, problems and ports.
//!
//! No IO beyond reading configuration text, and nothing of tokio, clap, burn or polars.
//!
//! The folders say what is where: `domain` (runs and what is said of them), `configuration` (settings), `model` (what a
//! base model's `config.json` means, and the memory formula), `worker` (tasks and answers of a worker process).

mod configuration;
mod domain;
pub mod model;
mod worker;

pub use basis::Basis;
pub use configuration::{availability, image_defaults, lora_rate, resolve, settings};
pub use domain::{
    basis, choice, country, emissions, evaluation, event, file_problem, gate, ids, layout, manifest,
    platform, port, problem, quantities, selection, suggestion,
};
pub use file_problem::FileFault;
pub use model::memory;
pub use problem::{Diagnostic, Location, Problem, ProblemKind};
pub use suggestion::Suggestion;
pub use worker::{agreement, generation, plan, preparation, task, tuning};
