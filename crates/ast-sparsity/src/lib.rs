//! Sample selection for adaptive sparse training: losses in, sample ids and weights out.
//!
//! A [`Selector`] is driven by a training loop of any framework. At the start of an epoch it says what it [needs](Needs);
//! of each chunk of candidates it tells which to train on, and with which weight in the loss; afterwards it is told
//! their losses, which training computed anyway. A sample is whatever has a loss: an image, a sequence, a token.
//!
//! ```
//! use greentune_ast_sparsity::{Needs, Observation, Progress, Selected, Selector, Settings};
//!
//! # fn main() -> Result<(), greentune_ast_sparsity::SelectionError> {
//! # let score = |ids: &[usize]| vec![Observation { loss: 1.0, entropy: 0.5 }; ids.len()];
//! # let train = |batch: &[Selected]| vec![Observation { loss: 1.0, entropy: 0.5 }; batch.len()];
//! let mut selector = Selector::new(&Settings { target_activation_rate: 0.4, ..Settings::new(1000) })?;
//! let mut selected = Vec::new();
//! for epoch in 0..10 {
//!     let needs = selector.start_epoch(Progress { epoch, epochs: 10 })?;
//!     let permutation: Vec<usize> = (0..1000).collect(); // shuffled, in earnest
//!     for chunk in permutation.chunks(100) {
//!         let fresh = if needs == Needs::Fresh { score(chunk) } else { Vec::new() }; // a forward pass
//!         selector.select(chunk, &fresh, &mut selected)?;
//!         while selected.len() >= 100 {
//!             let batch: Vec<_> = selected.drain(..100).collect();
//!             let observations = train(&batch); // mean of the losses times their weights; backward; step
//!             let ids: Vec<usize> = batch.iter().map(|sample| sample.id).collect();
//!             selector.observe(&ids, &observations)?;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The policies are one trait, [`Policy`]; [`POLICIES`] names them. `docs/adaptive-sparse-training.md` says what each
//! does, what it costs and when it can help.

mod accounting;
mod budget;
mod control;
mod draws;
mod error;
mod plan;
mod policy;
mod score;
mod selector;
mod settings;
mod snapshot;

pub use accounting::Accounting;
pub use budget::Budget;
pub use control::PiController;
pub use error::SelectionError;
pub use policy::{
    Ast, Full, InfoBatch, Needs, POLICIES, Policy, Progress, Quantile, Random, Selected, Sundew, policy,
};
pub use score::{Observation, Score, Significance, entropy};
pub use selector::Selector;
pub use settings::Settings;
pub use snapshot::Snapshot;
