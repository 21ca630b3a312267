//! MLflow's own variables, with the meaning that its client gives them.

use greentune_workbench::{TrackingConfig, TrackingCredentials};

use super::Environment;

impl Environment {
    /// Where runs are tracked and who sends.
    pub fn tracking(&self) -> TrackingConfig {
        let text = |name: &str| self.variable(name).map(str::to_owned);
        TrackingConfig {
            mlflow_tracking_uri: text("MLFLOW_TRACKING_URI"),
            credentials: TrackingCredentials {
                mlflow_token: text("MLFLOW_TRACKING_TOKEN"),
                mlflow_username: text("MLFLOW_TRACKING_USERNAME"),
                mlflow_password: text("MLFLOW_TRACKING_PASSWORD"),
                user: text("LOGNAME").or_else(|| text("USER")).or_else(|| text("USERNAME")),
            },
        }
    }
}
