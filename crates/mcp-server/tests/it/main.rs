//! The server as clients meet it, over an in-memory connection and over HTTP; a fake worker stands in for training.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod arguments;
mod consent;
mod downloads;
mod http;
mod listing;
mod refusals;
mod resources;
mod roots;
mod session;
mod tasks;
mod tool_calls;
mod whole_run;

/// The worker process of these tests.
mod fake_worker {
    /// Not a test: what the worker process does.
    #[test]
    #[ignore = "executed by the tests as a worker"]
    fn act() {
        greentune_test_support::fake_worker::act();
    }
}
