//! Templates to files: fine-tuning projects, model cards.
//!
//! A project is rendered first, written to a folder beside the destination and renamed into place, so that a project
//! is there whole or not at all. Values are encoded for the format they go into (TOML literals, Markdown text); scripts
//! hold none.

mod card;
mod config_file;
mod error;
mod markdown;
mod project;
mod yaml;

pub use card::{CardTemplate, render_card, settings_as_toml};
pub use config_file::with_settings;
pub use error::ScaffoldError;
pub use project::{GeneratedProject, ProjectSpec, generate_project};
