/// What can go wrong with selection. [`code`](Self::code) and [`key`](Self::key) are for the problem that users see.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// A setting is out of range.
    #[error("{key} is {found}; allowed is {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// The range.
        allowed: &'static str,
    },
    /// No policy has that name.
    #[error("no selection policy is called {found:?}; there are {allowed}")]
    UnknownPolicy {
        /// The name that was asked for.
        found: String,
        /// The names that there are.
        allowed: String,
    },
    /// A sample's id is not below the number of samples.
    #[error("sample {id} was named, but there are {samples} samples, counted from 0")]
    UnknownSample {
        /// The id.
        id: usize,
        /// How many samples there are.
        samples: usize,
    },
    /// Ids and scores do not belong together.
    #[error("{ids} samples came with {scores} scores; one is needed for each")]
    Scores {
        /// Ids given.
        ids: usize,
        /// Scores given.
        scores: usize,
    },
    /// An epoch beyond the last, or selection before the first.
    #[error(
        "epoch {epoch} of {epochs} was {action}; epochs count from 0 and are started before samples are selected"
    )]
    Epoch {
        /// The epoch, from 0.
        epoch: usize,
        /// How many there are.
        epochs: usize,
        /// `started`, `selected in`.
        action: &'static str,
    },
    /// A snapshot is of another policy, another number of samples, or damaged.
    #[error("the snapshot does not fit: {found}, where {needed} is needed")]
    Snapshot {
        /// What it has.
        found: String,
        /// What the policy needs.
        needed: String,
    },
}

impl SelectionError {
    /// Stable code `area.reason`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Setting { .. } => "selection.setting",
            Self::UnknownPolicy { .. } => "selection.unknown_policy",
            Self::UnknownSample { .. } => "selection.unknown_sample",
            Self::Scores { .. } => "selection.scores",
            Self::Epoch { .. } => "selection.epoch",
            Self::Snapshot { .. } => "selection.snapshot",
        }
    }

    /// The setting it is about, where a user gave one: others are defects of the program that selects.
    pub const fn key(&self) -> Option<&'static str> {
        match self {
            Self::Setting { key, .. } => Some(*key),
            Self::UnknownPolicy { .. } => Some("policy"),
            _ => None,
        }
    }

    /// What to do next.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setting { .. } | Self::UnknownPolicy { .. } => Some("Correct the setting."),
            Self::Snapshot { .. } => {
                Some("Resume with the policy and the data set of the run, or start a new one.")
            }
            _ => None,
        }
    }
}
