//! Decoders: what their `config.json` says, their weights, and the forward pass.

mod adapter_files;
pub mod adapters;
pub mod config;
pub mod decoder;
pub mod parameters;
pub mod weights;

pub use adapters::{Adapters, LoraSettings};
pub use config::ModelConfig;
pub use decoder::{Batch, Decoder, KeyValueCache};
pub use parameters::{HostTensor, Parameters, Weights};
