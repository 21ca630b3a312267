//! Text data sets: from a file of records to examples of token ids with their loss mask, and the order in which
//! training draws them.
//!
//! [`Dataset::load`] reads a file (JSON lines, CSV or Parquet) and makes [`Examples`] of its records with an
//! [`Encoder`], which knows the model's [`Tokenizer`] and the form of its prompts. A [`Sampler`] says which one comes
//! next. [`inspect`] shows what a model will see of a file; [`prepare`] splits, deduplicates and checks files.
//!
//! ```text
//! file ─ rows ─> Row ─ schema, record ─> Record ─ encode ─> Example ─ dataset ─> Dataset ─ sampler ─> Draw
//!                                                   ^ tokenizer, template
//! ```
//!
//! Nothing here knows tensors. All that is drawn is a pure function of the seed and the number of draws made, so
//! that a resumed run continues with the same records.
#![allow(clippy::single_range_in_vec_init)] // labels are a list of ranges, often of one

#[cfg(test)]
mod attacks;
mod batch;
#[cfg(test)]
mod cases;
mod check;
mod choices;
mod control_tokens;
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
mod spelled_out;
mod store;
mod template;
#[cfg(test)]
mod test_model;
mod tokenizer;
mod watch;

pub use check::check;
pub use choices::{ChoiceForm, Question, Questions};
pub use dataset::{Dataset, overlap};
pub use encode::{Encoder, Prompt};
pub use error::DataError;
pub use example::{Example, ExampleText};
pub use inspect::inspect;
pub use prepare::prepare;
pub use sampler::{Draw, Replay, Sampler};
pub use store::Examples;
pub use tokenizer::Tokenizer;
