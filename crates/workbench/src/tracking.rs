//! Where runs are tracked, as the surroundings say.

use greentune_core_config::settings::Settings;
use greentune_tracking::Credentials;

/// What the environment says of trackers.
#[derive(Clone, Debug, Default)]
pub struct TrackingConfig {
    /// `MLFLOW_TRACKING_URI`: goes before `mlflow.tracking_uri`.
    pub mlflow_tracking_uri: Option<String>,
    /// Who sends.
    pub credentials: Credentials,
}

impl TrackingConfig {
    /// `settings` with the server that the environment names.
    pub fn settings(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        if let Some(uri) = &self.mlflow_tracking_uri {
            settings.mlflow.tracking_uri.clone_from(uri);
        }
        settings
    }
}
