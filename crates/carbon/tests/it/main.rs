//! The crate through its public face: a meter on made-up machines, CodeCarbon's CSV, summaries, reports on many runs.

mod aggregate;
mod codecarbon;
mod compare;
mod meter;
#[cfg(feature = "plots")]
mod plots;
mod summary;
mod track;
mod writers;
