//! The server as clients meet it, over an in-memory connection; a fake worker stands in for training.
#![cfg(unix)]

mod downloads;
mod fake_worker;
mod listing;
mod refusals;
mod session;
mod whole_run;
