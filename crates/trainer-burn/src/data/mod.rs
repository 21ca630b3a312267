//! From a file of records to examples: reading, prompt form, tokens and loss mask, drawing.
//!
//! ```text
//! file ─ rows ─> Row ─ schema, record ─> Record ─ encode ─> Example ─ dataset ─> Dataset ─ sampler ─> Draw
//!                                                   ^ tokenizer, template
//! ```
//!
//! Nothing here knows tensors. All that is drawn is a pure function of the seed and the number of draws made, so
//! that a resumed run goes on with the very same records.

mod dataset;
mod encode;
mod error;
mod example;
mod inspect;
mod prepare;
mod record;
mod rows;
mod sampler;
mod schema;
mod store;
mod template;
#[cfg(test)]
mod test_model;
mod tokenizer;

pub use dataset::{Dataset, overlap};
pub use encode::Encoder;
pub use error::DataError;
pub use example::{Example, ExampleText};
pub use inspect::inspect;
pub use prepare::prepare;
pub use sampler::{Draw, Replay, Sampler};
pub use store::Examples;
pub use template::PromptTemplate;
pub use tokenizer::{ChatTemplate, Tokenizer};
