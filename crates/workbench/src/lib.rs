//! The service layer of greentune: one typed operation per thing a user can do.
//!
//! Front ends translate, call one operation of [`Workbench`] and translate back. Training never runs in this
//! process: a run folder is trained by a worker process, and everything anybody wants to know about a run is
//! read from the files that the worker left there.

mod base_model;
mod carbon_watch;
mod card;
pub mod comparison;
mod config;
mod engine;
mod error;
mod events;
mod fold;
mod git;
mod hub;
mod input_hash;
mod job_store;
mod json_file;
mod launch;
mod local;
mod lock;
pub mod operation;
mod out_of_memory;
mod plan;
mod progress;
mod project;
mod run;
mod run_energy;
mod shell;
mod tracking;
mod workbench;
pub mod worker;

pub use card::Badge;
pub use config::WorkbenchConfig;
pub use error::{Result, WorkbenchError};
pub use greentune_export::ExportFormat;
pub use greentune_platforms_kaggle_hf::hub::{DEFAULT_ENDPOINT, HubSettings, Token};
pub use greentune_tracking::{Credentials as TrackingCredentials, SyncReport};
pub use run::{RunSummary, StageProgress};
pub use tracking::TrackingConfig;
pub use workbench::Workbench;
