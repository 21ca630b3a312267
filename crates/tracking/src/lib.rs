//! Sends runs to MLflow and Weights & Biases.
//!
//! A run's `events.jsonl` is the queue: append-only, numbered, kept. [`Tracking`] reads it in separate threads beside
//! training and sends what is new; `tracking/{tracker}.json` in the run's folder records what was acknowledged. A
//! server that does not answer costs training nothing: what is missing is sent when it answers again, by a later
//! attempt, or by [`sync`].

mod destinations;
mod error;
mod events;
mod follow;
mod http;
mod metrics;
mod mlflow;
mod proto;
mod sink;
mod state;
mod tracker;
mod wandb;

pub use error::TrackingError;
pub use follow::{SyncReport, TrackerReport, Tracking, sync};
pub use http::check_address;
pub use tracker::Tracker;

use std::path::PathBuf;

use greentune_http_client::{Address, Proxy, TokenHosts};

/// Who sends, and through which proxy. Kept in memory alone.
#[derive(Clone, Default)]
pub struct Credentials {
    /// `MLFLOW_TRACKING_TOKEN`: sent as bearer token.
    pub mlflow_token: Option<String>,
    /// `MLFLOW_TRACKING_USERNAME`: sent with the password, where there is no token.
    pub mlflow_username: Option<String>,
    /// `MLFLOW_TRACKING_PASSWORD`.
    pub mlflow_password: Option<String>,
    /// `WANDB_API_KEY`: with it runs go to Weights & Biases at once, without it into a folder for `wandb sync`.
    pub wandb_api_key: Option<String>,
    /// `WANDB_BASE_URL`: a server of one's own; no secret.
    pub wandb_base_url: Option<String>,
    /// Name of the user, for the tag `mlflow.user`; no secret.
    pub user: Option<String>,
    /// Through which servers are asked.
    pub proxy: Option<Proxy>,
    /// Where the user sends credentials of MLflow; an address that a project brings gets none.
    pub token_hosts: TokenHosts,
    /// Folders into which a server on this machine may have files written, besides the run's project.
    pub artifact_folders: Vec<PathBuf>,
}

impl Credentials {
    /// Whether `address` is on a host that the user named.
    pub fn is_users_host(&self, address: &str) -> bool {
        Address::parse(address).is_ok_and(|address| self.token_hosts.contain(&address))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = |secret: &Option<String>| secret.as_ref().map(|_| "(set)");
        f.debug_struct("Credentials")
            .field("mlflow_token", &set(&self.mlflow_token))
            .field("mlflow_username", &set(&self.mlflow_username))
            .field("mlflow_password", &set(&self.mlflow_password))
            .field("wandb_api_key", &set(&self.wandb_api_key))
            .field("wandb_base_url", &set(&self.wandb_base_url))
            .field("user", &self.user)
            .field("proxy", &self.proxy)
            .field("token_hosts", &self.token_hosts)
            .field("artifact_folders", &self.artifact_folders)
            .finish()
    }
}
