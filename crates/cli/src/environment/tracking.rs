//! The variables of MLflow's and Weights & Biases' own clients, with the meaning that those give them.

use greentune_http_client::TokenHosts;
use greentune_workbench::{TrackingConfig, TrackingCredentials};

use super::Environment;

impl Environment {
    /// Where runs are tracked, and the credentials for it.
    pub fn tracking(&self) -> TrackingConfig {
        let text = |name: &str| self.variable(name).map(str::to_owned);
        // In offline mode nothing is sent, even if there is a key.
        let is_online = !matches!(self.variable("WANDB_MODE"), Some("offline" | "dryrun" | "disabled"));
        let own = TokenHosts::parse(self.variable("MLFLOW_TRACKING_URI").unwrap_or_default());
        TrackingConfig {
            mlflow_tracking_uri: text("MLFLOW_TRACKING_URI"),
            credentials: TrackingCredentials {
                mlflow_token: text("MLFLOW_TRACKING_TOKEN"),
                mlflow_username: text("MLFLOW_TRACKING_USERNAME"),
                mlflow_password: text("MLFLOW_TRACKING_PASSWORD"),
                wandb_api_key: text("WANDB_API_KEY").filter(|_| is_online),
                wandb_base_url: text("WANDB_BASE_URL"),
                user: text("LOGNAME").or_else(|| text("USER")).or_else(|| text("USERNAME")),
                proxy: self.proxy(),
                token_hosts: own.and(self.token_hosts("mlflow.tracking_uri")),
                artifact_folders: self.allowed_folders(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;

    #[test]
    fn a_key_is_taken_unless_the_user_stays_offline_and_never_shown() {
        let tracking = |variables: &[(&str, &str)]| environment(variables).tracking();
        let key = ("WANDB_API_KEY", "very-secret-key");
        let config = tracking(&[key, ("WANDB_BASE_URL", "https://wandb.example.org")]);
        assert_eq!(config.credentials.wandb_api_key.as_deref(), Some("very-secret-key"));
        assert_eq!(config.credentials.wandb_base_url.as_deref(), Some("https://wandb.example.org"));
        assert!(!format!("{config:?}").contains("very-secret-key"));
        for mode in ["offline", "disabled"] {
            assert_eq!(tracking(&[key, ("WANDB_MODE", mode)]).credentials.wandb_api_key, None);
        }
        assert!(tracking(&[key, ("WANDB_MODE", "online")]).credentials.wandb_api_key.is_some());
    }
}
