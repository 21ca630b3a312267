//! The hosts to which the user sends tokens: those that the user's own file and the environment name, never a project.

use std::fs;

use greentune_core_config::resolve::{ConfigText, Layers, Source, resolve};
use greentune_http_client::TokenHosts;

use super::Environment;

/// Further hosts, parted by commas: `host`, `host:port` or an address.
const ALLOWED_HOSTS: &str = "GREENTUNE_ALLOWED_HOSTS";

impl Environment {
    /// The hosts that get the token for the server in the setting `key`: that server, where the user's own file or a
    /// variable sets it, and the hosts that the user allows for every token.
    pub(super) fn token_hosts(&self, key: &str) -> TokenHosts {
        let allowed = TokenHosts::parse(self.variable(ALLOWED_HOSTS).unwrap_or_default());
        let own = self.own_setting(key).unwrap_or_default();
        allowed.and(TokenHosts::parse(&own))
    }

    /// This environment, in which the user allows the hosts of `addresses` too.
    #[must_use]
    pub fn allowing_hosts_of<'a>(&'a self, addresses: impl Iterator<Item = &'a str>) -> Self {
        let allowed: Vec<_> = self.variable(ALLOWED_HOSTS).into_iter().chain(addresses).collect();
        let allowed = allowed.join(",");
        let others = self.variables.iter().filter(|(name, _)| name != ALLOWED_HOSTS);
        let variables = others.cloned().chain([(ALLOWED_HOSTS.to_owned(), allowed)]).collect();
        Self { variables, ..self.clone() }
    }

    /// The setting `key` where the user's own file or a variable sets it. Settings that cannot be read are none here; they
    /// are refused where they are used.
    fn own_setting(&self, key: &str) -> Option<String> {
        let user_file = self.user_config().and_then(|path| {
            let text = fs::read_to_string(&path).ok()?;
            Some(ConfigText { path, text })
        });
        let layers = Layers {
            user_file,
            environment: self.settings(),
            home: self.user_home.clone(),
            ..Layers::default()
        };
        let resolved = resolve(&layers).ok()?;
        let is_own = matches!(resolved.source(key), Source::UserFile { .. } | Source::Environment { .. });
        let row = resolved.rows().into_iter().find(|row| is_own && row.key == key)?;
        row.value.as_str().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use greentune_http_client::Address;

    use super::{super::tests::environment, *};

    fn contained(hosts: &TokenHosts, address: &str) -> bool {
        hosts.contain(&Address::parse(address).unwrap())
    }

    #[test]
    fn each_token_goes_to_its_own_server_and_to_the_hosts_that_are_allowed() {
        let environment = environment(&[
            ("MLFLOW_TRACKING_URI", "https://mlflow.example"),
            ("GREENTUNE_CARBON__EMISSIONS_ENDPOINT", "https://carbon.example/v3"),
            ("GREENTUNE_ALLOWED_HOSTS", "other.example:8443"),
        ]);
        let mlflow = environment.tracking().credentials.token_hosts;
        let carbon = environment.meter().live.token_hosts;
        for (address, of_mlflow, of_carbon) in [
            ("https://mlflow.example", true, false),
            ("https://carbon.example", false, true),
            ("https://other.example:8443", true, true),
            ("https://other.example", false, false),
            ("https://evil.example", false, false),
            // Built in, and set by nobody.
            ("http://localhost:5000", false, false),
        ] {
            assert_eq!(contained(&mlflow, address), of_mlflow, "{address}");
            assert_eq!(contained(&carbon, address), of_carbon, "{address}");
        }
    }

    #[test]
    fn the_users_own_file_names_a_host_and_a_broken_one_names_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("greentune/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let environment = environment(&[("XDG_CONFIG_HOME", folder.path().to_str().unwrap())]);
        let hosts = |text: &str| {
            fs::write(&file, text).unwrap();
            environment.token_hosts("mlflow.tracking_uri")
        };
        let named = "[mlflow]\ntracking_uri = \"https://mine.example\"\n";
        assert!(contained(&hosts(named), "https://mine.example/x"));
        assert_eq!(hosts("[mlflow]\ntracking_uri = 3\n"), TokenHosts::default());
    }

    #[test]
    fn what_is_typed_is_allowed_here_and_for_the_worker() {
        let environment = environment(&[("GREENTUNE_ALLOWED_HOSTS", "a.example")]);
        let environment = environment.allowing_hosts_of(["https://b.example:1/v3"].into_iter());
        let hosts = environment.tracking().credentials.token_hosts;
        assert!(contained(&hosts, "https://a.example") && contained(&hosts, "https://b.example:1"));
        let config = environment.workbench_config().map_err(|_| "no configuration").unwrap();
        let passed =
            (String::from("GREENTUNE_ALLOWED_HOSTS"), String::from("a.example,https://b.example:1/v3"));
        assert!(config.worker_environment.contains(&passed), "{:?}", config.worker_environment);
    }
}
