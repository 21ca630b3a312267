//! Settings: what can be set, how the layers are put together, and what the engine cannot do yet.

pub mod availability;
pub mod resolve;
pub mod settings;
