//! From a run's settings to its place and its source of carbon intensity.

use std::{path::PathBuf, time::Duration};

use greentune_core_config::settings::CarbonSettings;

#[cfg(feature = "online")]
use greentune_http_client::{Address, Proxy, TokenHosts};

use super::{Cloud, GridSource, Place};

/// Time between two questions to the service; its figures are hourly, and are published within the hour.
#[cfg(feature = "online")]
const REFRESH: Duration = Duration::from_mins(15);

/// The service's own hosts.
#[cfg(feature = "online")]
const SERVICE: &str = "api.electricitymaps.com api.electricitymap.org";

/// What live figures need beside settings.
#[derive(Clone, Debug, Default)]
pub struct LiveAccess {
    /// Token of the service.
    #[cfg(feature = "online")]
    pub token: Option<super::Secret>,
    /// Hosts of the user's that get the token besides the service itself.
    #[cfg(feature = "online")]
    pub token_hosts: TokenHosts,
    /// Where answers are kept for all runs; without it nothing is asked.
    pub cache: Option<PathBuf>,
    /// Through which the service is asked.
    #[cfg(feature = "online")]
    pub proxy: Option<Proxy>,
}

impl From<&CarbonSettings> for Place {
    /// A cloud counts when both its provider and its region are set.
    fn from(settings: &CarbonSettings) -> Self {
        let cloud = settings.cloud_provider.zip(settings.cloud_region.clone());
        Self {
            country_iso_code: settings.country_iso_code.clone(),
            region: settings.region.clone(),
            cloud: cloud.map(|(provider, region)| Cloud { provider: provider.to_string(), region }),
        }
    }
}

impl GridSource {
    /// Live figures where the settings allow them and a token or an endpoint of one's own is there, else yearly ones.
    pub fn of(settings: &CarbonSettings, access: &LiveAccess) -> Self {
        let place = Place::from(settings);
        #[cfg(feature = "online")]
        if let Some(config) = live_config(settings, access) {
            return Self::live(&place, config);
        }
        let _ = access;
        Self::yearly(&place)
    }
}

/// How the service is asked; `None` when it is not.
#[cfg(feature = "online")]
pub fn live_config(settings: &CarbonSettings, access: &LiveAccess) -> Option<super::LiveConfig> {
    let is_asked =
        !settings.offline_mode && (access.token.is_some() || settings.emissions_endpoint.is_some());
    let endpoint = settings.emissions_endpoint.clone().unwrap_or_else(|| super::DEFAULT_ENDPOINT.to_owned());
    let token = access.token.clone().filter(|_| access.sends_token_to(&endpoint));
    Some(super::LiveConfig {
        is_token_withheld: access.token.is_some() && token.is_none(),
        token,
        endpoint,
        cache: access.cache.clone().filter(|_| is_asked)?,
        zone: None,
        refresh: REFRESH,
        proxy: access.proxy.clone(),
    })
}

#[cfg(feature = "online")]
impl LiveAccess {
    /// Whether `endpoint` is the service itself or on a host that the user named. Others get no token.
    pub fn sends_token_to(&self, endpoint: &str) -> bool {
        let hosts = TokenHosts::parse(SERVICE).and(self.token_hosts.clone());
        Address::parse(endpoint).is_ok_and(|address| hosts.contain(&address))
    }
}

#[cfg(all(test, feature = "online"))]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_the_service_and_to_the_users_hosts_alone() {
        let access = LiveAccess {
            token: super::super::Secret::new("canary"),
            token_hosts: TokenHosts::parse("proxy.example:8443"),
            cache: Some(PathBuf::from("cache.json")),
            ..LiveAccess::default()
        };
        let gets = |endpoint: Option<&str>| {
            let settings = CarbonSettings {
                offline_mode: false,
                emissions_endpoint: endpoint.map(str::to_owned),
                ..CarbonSettings::default()
            };
            let config = live_config(&settings, &access).unwrap();
            assert_eq!(config.is_token_withheld, config.token.is_none());
            config.token.is_some()
        };
        for own in
            [None, Some("https://api.electricitymap.org/v3"), Some("https://proxy.example:8443/v3/latest")]
        {
            assert!(gets(own), "{own:?}");
        }
        for other in [
            "https://evil.example/v3",
            "https://proxy.example/v3",
            "https://evilapi.electricitymaps.com.example/v3",
            "https://evil.electricitymaps.com/v3",
            "http://localhost:1/v3",
        ] {
            assert!(!gets(Some(other)), "{other}");
        }
    }
}
