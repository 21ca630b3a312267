//! What greentune's tests stand on: services that really serve, without the internet.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

pub mod fake_hub;
