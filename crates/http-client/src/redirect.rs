//! Where a redirect may lead.

use reqwest::Url;

use crate::{Address, HttpError};

/// Where `location`, relative or absolute, leads from `from`.
///
/// Errors: [`HttpError::Redirect`] for what is no address of http, and for a step from https down to http.
pub(crate) fn target(from: &Address, location: &str) -> Result<Address, HttpError> {
    let nowhere = HttpError::Redirect { why: "to what is no address of http or https" };
    let url: Url = from.url().join(location).map_err(|_| nowhere.clone())?;
    let to = Address::of(url).ok_or(nowhere)?;
    if from.origin().is_encrypted() && !to.origin().is_encrypted() {
        return Err(HttpError::Redirect { why: "from https to http" });
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(from: &str, location: &str) -> Result<String, HttpError> {
        target(&Address::parse(from).unwrap(), location).map(|to| to.url().to_string())
    }

    #[test]
    fn a_location_is_relative_or_absolute() {
        assert_eq!(led("https://a.example/x/y?z", "/w").unwrap(), "https://a.example/w");
        assert_eq!(led("https://a.example/x/y", "w?v=1").unwrap(), "https://a.example/x/w?v=1");
        assert_eq!(led("http://a.example/x", "https://b.example/y").unwrap(), "https://b.example/y");
        assert_eq!(led("http://a.example/x", "//b.example/y").unwrap(), "http://b.example/y");
    }

    #[test]
    fn encryption_is_never_given_up() {
        let down = HttpError::Redirect { why: "from https to http" };
        for location in ["http://a.example/x", "http://localhost/x"] {
            assert_eq!(led("https://a.example/x", location).unwrap_err(), down, "{location}");
        }
    }

    #[test]
    fn other_schemes_are_no_target() {
        for location in ["file:///etc/passwd", "ftp://a.example", "data:text/plain,x", "http://"] {
            assert!(
                matches!(led("http://a.example/x", location), Err(HttpError::Redirect { .. })),
                "{location}"
            );
        }
    }
}
