//! The proxy that every program of the user goes through.

use greentune_http_client::Proxy;

use super::Environment;

/// Addresses of the proxy; the first that is one counts, for http and https alike.
const PROXIES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
/// Hosts, domains and networks that are reached without it.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Environment {
    /// The proxy, where a variable names one that can be used.
    pub(super) fn proxy(&self) -> Option<Proxy> {
        let exceptions = EXCEPTIONS.iter().find_map(|name| self.variable(name));
        PROXIES.iter().find_map(|name| Proxy::new(self.variable(name)?, exceptions).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::environment;

    fn proxy(variables: &[(&str, &str)]) -> Option<String> {
        environment(variables).proxy().map(|proxy| format!("{proxy:?}"))
    }

    #[test]
    fn the_first_variable_with_an_address_counts() {
        assert_eq!(proxy(&[]), None);
        assert_eq!(proxy(&[("HTTPS_PROXY", "")]), None);
        let both = [("http_proxy", "http://plain:1"), ("HTTPS_PROXY", "secure:3128")];
        assert_eq!(proxy(&both).as_deref(), Some("Proxy(http://secure:3128)"));
        let unusable = [("ALL_PROXY", "ftp://other"), ("http_proxy", "http://plain:1")];
        assert_eq!(proxy(&unusable).as_deref(), Some("Proxy(http://plain:1)"));
    }

    #[test]
    fn every_client_gets_it_and_its_password_is_never_shown() {
        let environment =
            environment(&[("https_proxy", "http://ann:hunter2@proxy:3128"), ("NO_PROXY", "here")]);
        assert!(environment.meter().live.proxy.is_some());
        assert!(environment.tracking().credentials.proxy.is_some());
        let config = environment.workbench_config().map_err(|_| "no configuration").unwrap();
        assert!(config.hub.proxy.is_some());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
