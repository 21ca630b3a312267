//! The hosts to which the user sends tokens: those that the user's own file and the environment name, never a project.

use std::fs;

use greentune_core_config::resolve::{ConfigText, Layers, resolve};
use greentune_http_client::TokenHosts;

use super::Environment;

/// Further hosts, parted by commas: `host`, `host:port` or an address.
const ALLOWED_HOSTS: &str = "GREENTUNE_ALLOWED_HOSTS";
/// The MLflow server.
const MLFLOW: &str = "MLFLOW_TRACKING_URI";

impl Environment {
    /// The hosts that the user named. Settings that cannot be read name none, and are refused where they are used.
    pub(super) fn token_hosts(&self) -> TokenHosts {
        let user_file = self.user_config().and_then(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some(ConfigText { path, text })
        });
        let is_setting = |(name, _): &&(String, String)| name.starts_with("GREENTUNE_");
        let layers = Layers {
            user_file,
            environment: self.variables.iter().filter(is_setting).cloned().collect(),
            home: self.user_home.clone(),
            ..Layers::default()
        };
        let own = resolve(&layers).map(|resolved| resolved.settings).ok();
        // The built-in address of MLflow is greentune's choice and no project's.
        let mlflow = own.as_ref().map(|own| own.mlflow.tracking_uri.clone());
        let carbon = own.and_then(|own| own.carbon.emissions_endpoint);
        let named = [MLFLOW, ALLOWED_HOSTS].iter().filter_map(|name| self.variable(name));
        let hosts = named.map(TokenHosts::parse).fold(TokenHosts::default(), TokenHosts::and);
        [mlflow, carbon]
            .iter()
            .flatten()
            .map(|address| TokenHosts::parse(address))
            .fold(hosts, TokenHosts::and)
    }
}

#[cfg(test)]
mod tests {
    use greentune_http_client::Address;

    use super::super::tests::environment;

    #[test]
    fn the_users_addresses_name_hosts() {
        let hosts = environment(&[
            ("MLFLOW_TRACKING_URI", "https://mlflow.example"),
            ("GREENTUNE_CARBON__EMISSIONS_ENDPOINT", "https://carbon.example/v3"),
            ("GREENTUNE_ALLOWED_HOSTS", "other.example:8443"),
        ])
        .token_hosts();
        let contained = |address: &str| hosts.contain(&Address::parse(address).unwrap());
        for address in [
            "https://mlflow.example",
            "https://carbon.example",
            "https://other.example:8443",
            "http://localhost:5000",
        ] {
            assert!(contained(address), "{address}");
        }
        assert!(!contained("https://evil.example") && !contained("https://other.example"));
    }
}
