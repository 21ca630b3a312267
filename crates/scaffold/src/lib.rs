//! Templates to files: fine-tuning projects.
//!
//! Everything is rendered first, written to a folder beside the destination and renamed into place, so that a project
//! is there whole or not at all. Values are encoded for the format they go into (TOML literals, Markdown text); scripts
//! hold none.

mod config_file;
mod error;
mod markdown;
mod project;

pub use error::ScaffoldError;
pub use project::{GeneratedProject, ProjectSpec, generate_project};
