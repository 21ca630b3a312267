//! From a file of records to batches: reading, prompt form, tokens and loss mask, drawing, padding.
//!
//! ```text
//! train.jsonl ─ record ─> Record ─ encode ─> Example ─ dataset ─> Dataset ─ sampler, batch ─> Batch
//!                                   ^ tokenizer, template
//! ```
//!
//! Nothing here knows tensors. All that is drawn is a pure function of the seed and the number of draws made, so
//! that a resumed run goes on with the very same records.

mod batch;
mod dataset;
mod encode;
mod error;
mod inspect;
mod record;
mod sampler;
mod template;
#[cfg(test)]
mod test_model;
mod tokenizer;

pub use batch::Batch;
pub use dataset::{Dataset, overlap};
pub use encode::{Encoder, Example};
pub use error::DataError;
pub use inspect::inspect;
pub use sampler::{Draw, Replay, Sampler};
pub use template::{PromptTemplate, Rendered};
pub use tokenizer::{ChatTemplate, Tokenizer};
