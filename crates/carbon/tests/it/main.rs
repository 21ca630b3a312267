//! The crate through its public face: a meter on made-up machines, CodeCarbon's CSV, summaries, reports on many runs.
#![allow(clippy::disallowed_methods, reason = "tests start programs and read what they were told")]

mod aggregate;
mod codecarbon;
mod compare;
mod meter;
#[cfg(feature = "plots")]
mod plots;
mod summary;
mod track;
mod writers;
