//! The command line through its binary: only the wiring.

mod answers;
mod assistant;
mod help;
mod hub;
mod image_runs;
mod parity;
mod plan;
mod problems;
mod sandbox;
mod training;
