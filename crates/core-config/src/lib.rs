//! greentune's domain model: settings, runs, events, emissions, problems and ports.
//!
//! No IO beyond reading configuration text, and nothing of tokio, clap, burn or polars.

pub mod availability;
pub mod emissions;
pub mod evaluation;
pub mod event;
pub mod ids;
pub mod layout;
pub mod manifest;
pub mod memory;
pub mod model;
pub mod plan;
pub mod port;
pub mod preparation;
pub mod problem;
pub mod resolve;
pub mod selection;
pub mod settings;
pub mod task;

pub use problem::{Diagnostic, Location, Problem, ProblemKind};
