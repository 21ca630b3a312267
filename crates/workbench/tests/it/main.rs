//! The workbench through its operations, with a worker that speaks the protocol without training anything.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod comparing;
mod evaluation_and_export;
mod fake_worker;
mod hub;
mod model_cards;
mod planning;
mod projects;
mod run_index;
mod sandbox;
mod training;
mod worker_session;
