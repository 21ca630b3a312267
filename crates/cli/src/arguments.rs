//! The command line as it is typed.

use clap::Parser;

use crate::{command::Command, global_flags::GlobalFlags};

/// Fine-tune language models with LoRA on this machine, with the energy of every run metered.
#[derive(Debug, Parser)]
#[command(name = "greentune", version, max_term_width = 100)]
pub struct CommandLine {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalFlags,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}
