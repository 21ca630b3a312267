//! Where live figures are asked for, and who asks.

use std::{fmt, path::PathBuf, time::Duration};

use greentune_http_client::{Address, Proxy};

use super::service_error::{ServiceError, ServiceErrorKind};
use crate::CarbonError;

/// Electricity Maps. Its older host, `api.electricitymap.org`, goes as well.
pub const DEFAULT_ENDPOINT: &str = "https://api.electricitymaps.com/v3/carbon-intensity/latest";

/// How live figures are fetched.
#[derive(Clone, Debug)]
pub struct LiveConfig {
    /// Address of the latest figure, with or without `/latest` at its end; [`DEFAULT_ENDPOINT`].
    pub endpoint: String,
    /// Sent as `auth-token` to the endpoint's host alone.
    pub token: Option<Secret>,
    /// Whether there is a token that this endpoint does not get, because a project named it.
    pub is_token_withheld: bool,
    /// JSON file that runs share; its folder is created.
    pub cache: PathBuf,
    /// Zone of Electricity Maps that goes before the place.
    pub zone: Option<String>,
    /// A figure is fetched anew after this long, and when an hour begins.
    pub refresh: Duration,
    /// Through which the endpoint is asked.
    pub proxy: Option<Proxy>,
}

impl LiveConfig {
    /// The endpoint's host, or what stands in for it where the endpoint is no address.
    pub(crate) fn host(&self) -> String {
        let parts = address(&self.endpoint);
        parts.map_or_else(|| "an unknown service".into(), |(_, address)| address.origin().host().to_owned())
    }
}

/// A token. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The token in `text`; none when there is nothing but white space, or what no header can hold.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self(text.to_owned()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Refuses an endpoint that is no address, or that holds a user, a password or a query; it is not shown.
pub fn check_endpoint(endpoint: &str) -> Result<(), CarbonError> {
    let trouble = ServiceError { host: "carbon.emissions_endpoint".into(), what: ServiceErrorKind::Endpoint };
    let refused = || CarbonError::Live { kind: trouble.kind(), message: trouble.to_string() };
    address(endpoint).map(drop).ok_or_else(refused)
}

/// The address without `/latest`, as text and in parts.
pub(super) fn address(endpoint: &str) -> Option<(String, Address)> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let base = endpoint.strip_suffix("/latest").unwrap_or(endpoint).to_owned();
    let address = Address::parse(&base).ok().filter(Address::is_bare)?;
    Some((base, address))
}
