//! Where a run is trained, as a request names it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, WorkbenchError};

/// The platform that is this machine.
pub(crate) const LOCAL: &str = TrainingPlatform::Local.as_str();

/// Where a run is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrainingPlatform {
    /// This machine.
    #[default]
    Local,
    /// A Kaggle kernel; not available yet.
    Kaggle,
    /// A job of the Hugging Face Hub; not available yet.
    Huggingface,
    /// A Ray cluster; not available yet.
    Ray,
}

impl TrainingPlatform {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Local, Self::Kaggle, Self::Huggingface, Self::Ray];

    /// The word that chooses it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kaggle => "kaggle",
            Self::Huggingface => "huggingface",
            Self::Ray => "ray",
        }
    }

    /// The platform of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.as_str() == word)
    }
}

/// Refuses a platform that is not available yet.
pub(crate) fn check_available(platform: Option<TrainingPlatform>) -> Result<()> {
    match platform {
        None | Some(TrainingPlatform::Local) => Ok(()),
        Some(other) => Err(WorkbenchError::NotAvailableYet {
            what: format!("training on the platform {:?}", other.as_str()),
            instead: String::from("leave `platform` out to train on this machine"),
        }),
    }
}
