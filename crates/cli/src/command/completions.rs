//! `greentune completions`: prints the completion script of a shell.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::{arguments::CommandLine, failure::Failure, session::Session};

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut CommandLine::command(), "greentune", &mut script);
        let script = String::from_utf8_lossy(&script);
        session.output.answer(&script, |_| script.to_string())
    }
}
