//! The crate through its public face: a meter on made-up machines, CodeCarbon's CSV, summaries.

mod codecarbon;
mod meter;
mod summary;
