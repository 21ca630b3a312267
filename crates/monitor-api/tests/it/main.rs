//! The API through its routes; a fake worker stands in for training.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod access;
mod bad_input;
mod events;
mod pages;
mod place;
mod runs;
mod seed;

/// The worker process of these tests.
mod fake_worker {
    /// Not a test: what the worker process does.
    #[test]
    #[ignore = "executed by the tests as a worker"]
    fn act() {
        greentune_test_support::fake_worker::act();
    }
}
