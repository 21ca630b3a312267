//! A token or password, and the one place that gets it.

use std::fmt;

use reqwest::header::{HeaderName, HeaderValue};

use crate::{Address, HttpError, Origin};

/// A header with a secret, for one scheme, host and port. It is sent to nobody else and shown nowhere.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
    origin: Origin,
}

impl Credential {
    /// The header `name: value` for the scheme, host and port of `address`.
    ///
    /// Errors: [`HttpError::InClear`] for plain http to another machine, [`HttpError::Header`] for a value that no header
    /// can hold.
    pub fn new(name: &'static str, value: &str, address: &Address) -> Result<Self, HttpError> {
        let origin = address.origin();
        if !origin.is_encrypted() && !origin.is_loopback() {
            return Err(HttpError::InClear { host: origin.host().to_owned() });
        }
        let unusable = || HttpError::Header { name: name.to_owned() };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(Self { header, value, origin })
    }

    /// The header, where `origin` is the one that it is for.
    pub(crate) fn for_origin(&self, origin: &Origin) -> Option<(HeaderName, HeaderValue)> {
        (self.origin == *origin).then(|| (self.header.clone(), self.value.clone()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} for {})", self.header, self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(address: &str) -> Result<Credential, HttpError> {
        Credential::new("authorization", "Bearer secret", &Address::parse(address).unwrap())
    }

    #[test]
    fn it_is_for_one_scheme_host_and_port() {
        let credential = credential("https://example.org/v3").unwrap();
        let is_sent =
            |address: &str| credential.for_origin(&Address::parse(address).unwrap().origin()).is_some();
        assert!(is_sent("https://example.org/elsewhere?x"));
        for other in [
            "http://example.org/v3",
            "https://example.org:8443/v3",
            "https://example.org.evil.example/v3",
            "https://api.example.org/v3",
        ] {
            assert!(!is_sent(other), "{other}");
        }
    }

    #[test]
    fn it_goes_in_clear_to_this_machine_alone() {
        let refused = credential("http://example.org").unwrap_err();
        assert_eq!(refused, HttpError::InClear { host: "example.org".into() });
        for local in ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"] {
            assert!(credential(local).is_ok(), "{local}");
        }
    }

    #[test]
    fn it_is_shown_nowhere() {
        let shown = format!("{:?}", credential("https://example.org").unwrap());
        assert_eq!(shown, "Credential(authorization for https://example.org:443)");
        let address = Address::parse("https://example.org").unwrap();
        let unusable = Credential::new("authorization", "sec\nret", &address).unwrap_err();
        assert!(!format!("{unusable} {unusable:?}").contains("sec"));
    }
}
