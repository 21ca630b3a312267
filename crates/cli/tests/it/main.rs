//! The command line through its binary: only the wiring.

mod answers;
mod assistant;
mod help;
mod hub;
mod problems;
mod sandbox;
mod training;
