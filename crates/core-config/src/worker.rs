//! What a worker process is asked to do besides training, and what it answers.

pub mod agreement;
mod counts;
pub mod generation;
pub mod plan;
pub mod preparation;
pub mod task;
pub mod tuning;
