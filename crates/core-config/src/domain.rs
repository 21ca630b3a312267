//! Runs and what describes them: names, files, events, manifest, evaluations, emissions, problems, and the ports.

pub mod basis;
pub mod choice;
pub mod country;
pub mod emissions;
pub mod evaluation;
pub mod event;
pub mod file_problem;
pub mod gate;
pub mod ids;
pub mod layout;
pub mod manifest;
pub mod platform;
pub mod port;
pub mod problem;
pub mod quantities;
pub mod selection;
pub mod suggestion;
