//! Addresses of servers that a request names.

use greentune_core_config::{
    resolve::{Resolved, Source},
    settings::Settings,
};

use crate::{Result, Workbench, WorkbenchConfig, WorkbenchError, project::check_addresses};

impl Workbench {
    /// Refuses an address that somebody else than the user gave in a request, unless it is the built-in one or on a host
    /// that the user named.
    pub(crate) fn check_given_addresses(&self, resolved: &Resolved) -> Result<()> {
        let given = |key: &str| self.is_restricted() && resolved.source(key) == Source::RunOverride;
        let Settings { carbon, mlflow, .. } = &resolved.settings;
        let WorkbenchConfig { tracking, meter, .. } = self.config();
        let uri = &mlflow.tracking_uri;
        let built_in = Settings::default().mlflow.tracking_uri;
        let is_known = *uri == built_in || tracking.credentials.is_users_host(uri);
        if given("mlflow.tracking_uri") && !is_known {
            check_addresses(&resolved.settings)?;
            return Err(WorkbenchError::AddressNotAllowed { key: "mlflow.tracking_uri" });
        }
        let is_known = |endpoint: &String| meter.live.sends_token_to(endpoint);
        if given("carbon.emissions_endpoint") && !carbon.emissions_endpoint.as_ref().is_none_or(is_known) {
            check_addresses(&resolved.settings)?;
            return Err(WorkbenchError::AddressNotAllowed { key: "carbon.emissions_endpoint" });
        }
        Ok(())
    }
}
