//! greentune's training engine on burn: decoders, LoRA, image classifiers, the training loops, evaluation.
//!
//! [`train`] trains the stages of a run and tells a [`greentune_core_config::port::RunReporter`] what happens;
//! [`answer`] does a worker's other tasks. Everything below is generic over burn's backends and instantiated in one
//! file, `backend.rs`.

mod backend;
mod durable;
mod error;
pub mod evaluate;
pub mod model;
pub mod ops;
mod stage;
mod task;
pub mod training;
pub mod vision;

pub use backend::train;
pub use error::TrainError;
pub use stage::Outcome;
pub use task::answer;
