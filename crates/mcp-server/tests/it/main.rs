//! The server as clients meet it, over an in-memory connection; a fake worker stands in for training.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod downloads;
mod fake_worker;
mod listing;
mod refusals;
mod session;
mod whole_run;
