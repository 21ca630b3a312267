//! `greentune completions`: prints the completion script of a shell.

use clap::{Args, builder::EnumValueParser};
use clap_complete::{Shell, generate};

use crate::{any_case::AnyCase, failure::Failure, session::Session};

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_parser = AnyCase(EnumValueParser::<Shell>::new()))]
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
