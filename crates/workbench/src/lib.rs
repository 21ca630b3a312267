//! The service layer of greentune: one typed operation per thing a user can do.
//!
//! Front ends translate, call one operation of [`Workbench`] and translate back. Training never runs in this
//! process: a run folder is trained by a worker process, and everything anybody wants to know about a run is
//! read from the files that the worker left there.

pub mod background;
mod base_model;
mod carbon_watch;
pub mod command_line;
mod config;
mod data_check;
mod engine;
mod error;
mod git;
mod given_path;
mod hub;
mod inputs;
mod job_store;
mod launch;
mod leftovers;
mod named_run;
mod new_run;
mod observer;
pub mod operation;
mod out_of_memory;
mod path_list;
mod plan;
mod platform;
mod project;
mod reach;
mod run;
mod run_ids;
mod sent_before;
mod tracking;
mod upload;
mod views;
mod workbench;
pub mod worker;

pub use config::{Secrets, WorkbenchConfig};
pub use error::{Result, WorkbenchError};
pub use given_path::given_path;
pub use greentune_durable::remove_own_staging;
pub use greentune_export::{ExportFormat, Quantization};
pub use greentune_platforms_kaggle_hf::hub::{DEFAULT_ENDPOINT, HubSettings, Token};
pub use greentune_reports::{card::Badge, comparison};
pub use greentune_run_folder::{RunSummary, StageProgress};
pub use greentune_scaffold::CardTemplate;
pub use greentune_tracking::{Credentials as TrackingCredentials, SyncReport};
pub use observer::{AwaitedRun, Observer};
pub use project::without_links;
pub use reach::is_too_broad;
pub use run_ids::RunIds;
pub use tracking::TrackingConfig;
pub use workbench::Workbench;
