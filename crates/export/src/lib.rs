//! greentune's exports: LoRA adapters as they are, or merged into their base model.
//!
//! Tensors are read by offset and written one by one, so that the peak memory is about one tensor whatever the
//! model's size. Everything is written to a hidden folder beside the destination, read back, proven against the
//! inputs and only then renamed: a failed export leaves nothing behind.

mod affine;
mod classifier;
mod content;
mod error;
mod export;
mod format;
mod merge;
mod packing;
pub mod peft;
mod quantization;
mod readable;
mod request;
mod rows;
mod shard_size;
mod staging;
mod verify;
mod weights;

pub use classifier::{ClassifierRequest, stage_classifier};
pub use error::ExportError;
pub use export::{ExportReport, ExportedFile, StagedExport, export, stage};
pub use quantization::Quantization;
pub use request::{ExportFormat, ExportRequest};
pub use shard_size::ShardSize;
pub use staging::existing_ancestor;
pub use verify::Verification;
