//! Settings: what can be set, how the layers are put together, and what the engine cannot do yet.

pub mod availability;
mod epochs;
pub mod image_defaults;
pub mod lora_rate;
mod policy;
pub mod resolve;
pub mod settings;
