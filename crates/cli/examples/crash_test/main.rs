//! The crash test: kills `greentune` at random instants, fills its disk and moves its clocks, and checks after each that
//! nothing is lost, nothing half is visible and nothing is left behind.
//!
//! `crash_test [--kills N | --minutes M] [--seed S] [--only OPERATION] [--binary PATH]`. Exits 1 when a fault was found; each
//! fault is printed where it happens. What it promises to check is listed in `docs/benchmarks/crash.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads what it was told")]

#[cfg(target_os = "linux")]
mod campaign;
#[cfg(target_os = "linux")]
mod command_line;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    command_line::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("crash_test: it looks for processes in /proc, which Linux alone has");
}
