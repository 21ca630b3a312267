//! The hosts to which the user sends tokens.

use crate::Address;

/// Hosts, each with its port, that the user named. A token goes to these alone, whatever address a project, a tool or a
/// server brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenHosts(Vec<(String, u16)>);

impl TokenHosts {
    /// The hosts in `list`, parted by commas or white space: `host` (port 443), `host:port`, or an address of http. What is
    /// none of these is no host.
    pub fn parse(list: &str) -> Self {
        let entries = list.split(|letter: char| letter == ',' || letter.is_whitespace());
        Self(entries.filter_map(entry).collect())
    }

    /// With those of `others` too.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether the host and port of `address` are among them.
    pub fn contain(&self, address: &Address) -> bool {
        let origin = address.origin();
        self.0.iter().any(|(host, port)| host == origin.host() && *port == origin.port())
    }
}

fn entry(text: &str) -> Option<(String, u16)> {
    let address =
        if text.contains("://") { Address::parse(text) } else { Address::parse(&format!("https://{text}")) };
    let origin = address.ok()?.origin();
    Some((origin.host().to_owned(), origin.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_its_port_and_nothing_else_is_it() {
        let hosts = TokenHosts::parse("mlflow.example, other.example:5000 http://localhost:5000/x,,");
        let contained = |address: &str| hosts.contain(&Address::parse(address).unwrap());
        for address in [
            "https://mlflow.example/a",
            "https://MLFLOW.example:443",
            "https://other.example:5000",
            "http://localhost:5000",
        ] {
            assert!(contained(address), "{address}");
        }
        for address in [
            "https://mlflow.example:8443",
            "http://mlflow.example",
            "https://mlflow.example.evil.example",
            "https://evilmlflow.example",
            "https://other.example",
            "http://localhost:5001",
            "https://mlflow.example@evil.example",
        ] {
            assert!(!contained(address), "{address}");
        }
        assert!(!TokenHosts::default().contain(&Address::parse("http://localhost").unwrap()));
    }
}
