//! The workbench through its operations, with a worker that speaks the protocol without training anything.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod background;
mod changed_inputs;
mod comparing;
mod evaluation_and_export;
mod generation;
mod hub;
mod metering;
mod model_cards;
mod planning;
mod platforms;
mod projects;
mod reach;
mod registry;
mod run_index;
mod sandbox;
mod training;
mod tuning;
mod uploads;
mod worker_environment;
mod worker_session;

/// The worker process of these tests.
mod fake_worker {
    /// Not a test: what the worker process does.
    #[test]
    #[ignore = "executed by the tests as a worker"]
    fn act() {
        greentune_test_support::fake_worker::act();
    }
}
