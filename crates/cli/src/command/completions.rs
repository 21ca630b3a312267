//! `greentune completions`: prints the completion script of a shell.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::{failure::Failure, session::Session};

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for `command_line`, which is all of greentune's.
    pub(super) fn run(self, session: &Session, mut command_line: clap::Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut command_line, "greentune", &mut script);
        let script = String::from_utf8_lossy(&script);
        session.output.answer(&script, |_| script.to_string())
    }
}
