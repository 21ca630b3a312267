//! A proxy, where the user's surroundings name one.

use std::fmt;

use reqwest::{NoProxy, Url};

use crate::HttpError;

/// How a proxy may be spoken to.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
/// This machine is never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// A proxy for every request but those to hosts that it is not for.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    address: String,
    exceptions: String,
}

impl Proxy {
    /// The proxy at `address`, `http://user:password@host:port` with all but the host optional, or one of SOCKS. `exceptions` is a list of
    /// hosts, domains and networks separated by commas, as in `NO_PROXY`.
    ///
    /// Errors: [`HttpError::Proxy`].
    pub fn new(address: &str, exceptions: Option<&str>) -> Result<Self, HttpError> {
        let address = address.trim();
        let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let url = Url::parse(&address).map_err(|_| HttpError::Proxy)?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        if !has_host || !SCHEMES.contains(&url.scheme()) {
            return Err(HttpError::Proxy);
        }
        let exceptions =
            exceptions.map_or_else(|| LOOPBACK.to_owned(), |hosts| format!("{hosts},{LOOPBACK}"));
        Ok(Self { address, exceptions })
    }

    pub(crate) fn build(&self) -> Result<reqwest::Proxy, HttpError> {
        let proxy = reqwest::Proxy::all(&self.address).map_err(|_| HttpError::Proxy)?;
        Ok(proxy.no_proxy(NoProxy::from_string(&self.exceptions)))
    }
}

impl fmt::Debug for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(url) = Url::parse(&self.address) else { return f.write_str("Proxy(..)") };
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "Proxy({}://{}{port})", url.scheme(), url.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_scheme_and_its_password_is_never_shown() {
        let proxy = Proxy::new("ann:hunter2@proxy.example:3128", None).unwrap();
        assert_eq!(format!("{proxy:?}"), "Proxy(http://proxy.example:3128)");
        assert!(proxy.build().is_ok());
        let socks = Proxy::new("socks5h://ann:hunter2@proxy.example:1080", Some("internal.example")).unwrap();
        assert_eq!(format!("{socks:?}"), "Proxy(socks5h://proxy.example:1080)");
        assert!(socks.build().is_ok());
        for unusable in ["", "ftp://proxy.example", "http://"] {
            assert_eq!(Proxy::new(unusable, None).unwrap_err(), HttpError::Proxy, "{unusable}");
        }
    }
}
