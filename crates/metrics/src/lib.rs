//! Scores of generated texts against references, and how far they can be trusted.
//!
//! [`BleuCounts`] and [`ChrfCounts`] give sacrebleu's figures, [`rouge_l`] gives rouge-score's, [`Structured`] compares
//! JSON answers field by field, [`Choices`] decides multiple choice as lm-evaluation-harness does. [`bootstrap`] and
//! [`wilson`] say in which interval a figure lies. All scores are in `[0, 1]`.
//!
//! Texts and numbers alone: nothing here knows tensors, files or tokenizers.

mod bleu;
mod choices;
mod chrf;
mod interval;
mod python;
mod rouge;
mod structured;

pub use bleu::BleuCounts;
pub use choices::{Choices, Scored};
pub use chrf::ChrfCounts;
pub use interval::{Interval, bootstrap, wilson};
pub use rouge::rouge_l;
pub use structured::{FieldCounts, Structured};
