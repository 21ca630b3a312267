//! What greentune's tests stand on: services that really serve, without the internet.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

#[cfg(all(unix, feature = "fake-worker"))]
pub mod elsewhere;
pub mod fake_hub;
#[cfg(all(unix, feature = "fake-worker"))]
pub mod fake_worker;
