//! The flags that every command has.

use std::path::PathBuf;

use clap::Args;

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct GlobalFlags {
    /// Print one JSON document on standard output, and problems as JSON on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// The project's folder [default: the project around the current folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub project: Option<PathBuf>,
    /// Never ask; refuse what would need an answer
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_input: bool,
    /// Show no progress and no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Show every training step, and the codes of problems
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
}
