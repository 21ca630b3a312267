//! `greentune`: fine-tune language models on this machine, and know what it cost in energy.
//!
//! An adapter: arguments in, one operation of the workbench, its answer out.
#![allow(
    clippy::disallowed_methods,
    reason = "the one crate that reads environment, home folder and terminal"
)]

mod advice;
mod announced;
mod any_case;
mod application;
mod arguments;
mod bundle;
mod command;
mod comparison;
mod consent;
mod environment;
mod exit_code;
mod failure;
mod global_flags;
mod huge_pages;
mod log_queue;
mod output;
mod printable;
mod progress;
mod session;
mod signals;
mod table;
#[cfg(unix)]
mod watch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before there is any memory to speak of; commands that do not serve take it back.
    huge_pages::avoid();
    application::run()
}
