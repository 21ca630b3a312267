//! Where a request goes.

use std::{fmt, net::IpAddr};

use reqwest::Url;

use crate::HttpError;

/// An address that starts with `http://` or `https://` and names a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// The address in `text`.
    ///
    /// Errors: [`HttpError::Address`].
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let url = Url::parse(text.trim()).map_err(|_| HttpError::Address)?;
        Self::of(url).ok_or(HttpError::Address)
    }

    pub(crate) fn of(url: Url) -> Option<Self> {
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        (matches!(url.scheme(), "http" | "https") && has_host).then_some(Self(url))
    }

    /// Whether it has no user, password, query or fragment, which may hold a secret.
    pub fn is_bare(&self) -> bool {
        let Self(url) = self;
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    }

    /// With a parameter more in its query.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.0.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Its scheme, host and port.
    pub fn origin(&self) -> Origin {
        let Self(url) = self;
        Origin {
            is_encrypted: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    /// Without path and query: such an address can be a credential itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}/..)", self.origin())
    }
}

/// Scheme, host and port. A credential belongs to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_encrypted: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Name or IP address; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, the usual one of the scheme where the address names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is reached over https.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Address::parse(text).unwrap().origin()
    }

    #[test]
    fn what_is_no_address_of_http_is_refused() {
        for text in ["", "nonsense", "ftp://example.org", "http://", "file:///etc/passwd", "//example.org"] {
            assert_eq!(Address::parse(text).unwrap_err(), HttpError::Address, "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://example.org/a?b"), origin("https://EXAMPLE.org:443"));
        assert_ne!(origin("https://example.org"), origin("http://example.org"));
        assert_ne!(origin("https://example.org"), origin("https://example.org:8443"));
        assert_eq!(origin("http://[::1]:80/").to_string(), "http://[::1]:80");
    }

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        for text in ["http://localhost", "http://127.0.0.9:1", "http://[::1]"] {
            assert!(origin(text).is_loopback(), "{text}");
        }
        for text in ["http://10.0.0.1", "http://localhost.example.org", "http://[::2]"] {
            assert!(!origin(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn an_address_is_bare_without_anything_that_may_be_secret() {
        assert!(Address::parse("https://example.org/v3").unwrap().is_bare());
        for text in [
            "https://a:b@example.org",
            "https://a@example.org",
            "https://example.org?k",
            "https://example.org#k",
        ] {
            let address = Address::parse(text).unwrap();
            assert!(!address.is_bare(), "{text}");
            assert_eq!(format!("{address:?}"), "Address(https://example.org:443/..)");
        }
    }
}
