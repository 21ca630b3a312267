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

    /// Whether the policy needs fresh scores: a forward pass for every candidate before it decides.
    pub const fn scores(self) -> bool {
        matches!(self, Self::Quantile | Self::Sundew)
    }

    /// Whether the policy uses remembered scores, from the last time a sample was trained on, and so needs an earlier
    /// pass.
    pub const fn remembers(self) -> bool {
        matches!(self, Self::Ast | Self::Infobatch)
    }
}
