//! What the policies of sample selection are to a user and to a plan. The engine has them in `ast-sparsity`; a test of
//! the trainer, which sees both, holds the two together.

use crate::settings::AstPolicy;

impl AstPolicy {
    /// What it does, in a few words for a help text.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Ast => "Remembered scores of bounded age, made up for by weights",
            Self::Infobatch => "Prunes samples of below-average loss at random",
            Self::Quantile => "A running quantile of fresh scores",
            Self::Sundew => "The rule of the package adaptive-sparse-training",
            Self::Random => "A random subset: the control",
            Self::Full => "All samples",
        }
    }

    /// Whether it asks what the model says of a sample before it decides: a forward pass for every candidate.
    pub const fn scores(self) -> bool {
        matches!(self, Self::Quantile | Self::Sundew)
    }

    /// Whether it goes by what training saw of a sample the last time, so that there has to be a pass before.
    pub const fn remembers(self) -> bool {
        matches!(self, Self::Ast | Self::Infobatch)
    }
}
