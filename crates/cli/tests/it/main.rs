//! The command line through its binary: only the wiring.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod answers;
mod assistant;
mod clients;
#[cfg(target_os = "linux")]
mod crash;
#[cfg(unix)]
mod elsewhere;
mod emissions;
mod exports;
mod help;
mod hub;
mod image_runs;
#[cfg(unix)]
mod mcp_http;
mod parity;
mod plan;
mod problems;
mod sandbox;
#[cfg(unix)]
mod survival;
#[cfg(unix)]
mod tokens;
mod training;
mod tuning;
mod typed;
