use serde::{Deserialize, Serialize};

use crate::{Observation, Score, SelectionError, Settings, Significance, Snapshot};

mod ast;
mod full;
mod infobatch;
mod quantile;
mod random;
mod sundew;

pub use ast::Ast;
pub use full::Full;
pub use infobatch::InfoBatch;
pub use quantile::Quantile;
pub use random::Random;
pub use sundew::Sundew;

/// A rule that selects samples. [`Selector`](crate::Selector) drives it, checks what goes in and counts what comes out.
pub trait Policy: Send {
    /// Its name in [`POLICIES`], or one of your own.
    fn name(&self) -> &'static str;

    /// Begins an epoch and says what selection needs in it.
    fn start_epoch(&mut self, progress: Progress) -> Needs;

    /// Appends the selected of `candidates`, in their order. `fresh` are observations of the candidates, where the
    /// epoch needs them, else empty.
    fn select(&mut self, candidates: &[usize], fresh: &[Observation], selected: &mut Vec<Selected>);

    /// Records the observations that training made of the samples `ids`.
    fn observe(&mut self, ids: &[usize], observations: &[Observation]);

    /// The score from which samples are selected, where there is one.
    fn threshold(&self) -> Option<f64> {
        None
    }

    /// Adds its state to a snapshot.
    fn save(&self, snapshot: &mut Snapshot);

    /// Takes its state from a snapshot. An error leaves the policy unusable.
    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError>;
}

/// Where training is: `epoch` of `epochs`, from 0. Both count the sparse phase alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch, from 0.
    pub epoch: usize,
    /// All epochs of the sparse phase.
    pub epochs: usize,
}

/// What a policy needs to select in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it may be offered samples at any time, and observations do not matter to it.
    Nothing,
    /// Observations of the samples trained on, which cost no forward pass.
    Remembered,
    /// Observations of every candidate, which cost a forward pass over each chunk.
    Fresh,
}

/// A sample to train on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selected {
    /// The sample.
    pub id: usize,
    /// Factor of its loss before the mean over the batch.
    pub weight: f32,
    /// Whether a floor or the bound on age chose it, not its score.
    pub forced: bool,
}

type Build = fn(&Settings) -> Result<Box<dyn Policy>, SelectionError>;

const REGISTRY: [(&str, Build); 6] = [
    ("full", |_| Ok(Box::new(Full))),
    ("sundew", |settings| Ok(Box::new(Sundew::new(settings, significance(settings)?)?))),
    ("quantile", |settings| Ok(Box::new(Quantile::new(settings, significance(settings)?)?))),
    ("infobatch", |settings| Ok(Box::new(InfoBatch::new(settings)?))),
    ("random", |settings| Ok(Box::new(Random::new(settings)?))),
    ("ast", |settings| Ok(Box::new(Ast::new(settings, significance(settings)?)?))),
];

/// The names of the policies.
pub const POLICIES: [&str; REGISTRY.len()] = {
    let mut names = [""; REGISTRY.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = REGISTRY[index].0;
        index += 1;
    }
    names
};

/// The policy that `settings` name.
pub fn policy(settings: &Settings) -> Result<Box<dyn Policy>, SelectionError> {
    settings.check()?;
    let Some((_, build)) = REGISTRY.iter().find(|(name, _)| *name == settings.policy) else {
        return Err(SelectionError::UnknownPolicy {
            found: settings.policy.clone(),
            allowed: POLICIES.join(", "),
        });
    };
    build(settings)
}

fn significance(settings: &Settings) -> Result<Box<dyn Score>, SelectionError> {
    Ok(Box::new(Significance::new(settings.entropy_weight)?))
}
