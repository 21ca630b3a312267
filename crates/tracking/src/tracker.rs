/// A service that receives the figures of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// MLflow.
    Mlflow,
    /// Weights & Biases.
    Wandb,
}

impl Tracker {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlflow => "MLflow",
            Self::Wandb => "Weights & Biases",
        }
    }

    /// Where its address is set.
    pub(crate) fn address_key(self) -> &'static str {
        match self {
            Self::Mlflow => "mlflow.tracking_uri",
            Self::Wandb => "WANDB_BASE_URL",
        }
    }

    /// How credentials are given.
    pub(crate) fn credentials_hint(self) -> &'static str {
        match self {
            Self::Mlflow => {
                "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            }
            Self::Wandb => "set WANDB_API_KEY to a key of that server that may write to the project",
        }
    }

    /// What an address is like.
    pub(crate) fn address_allowed(self) -> &'static str {
        match self {
            Self::Mlflow => "the address of an MLflow server, such as http://localhost:5000",
            Self::Wandb => "the address of a Weights & Biases server, such as https://api.wandb.ai",
        }
    }
}

impl std::fmt::Display for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
