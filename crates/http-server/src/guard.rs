//! Who may be meant by `Host`, and which pages may call (`Origin`): a page in a browser must not reach the server by a name
//! that its own server gave this machine's address.

use std::net::IpAddr;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use super::{Ends, error::ServerError, refusal::Refusal};

/// What a page of an allowed origin may send and read.
fn cors(origin: HeaderValue) -> [(header::HeaderName, HeaderValue); 5] {
    const SENT: &str = "Accept, Authorization, Content-Type, Last-Event-ID, Mcp-Method, Mcp-Name, Mcp-Protocol-Version, \
        Mcp-Session-Id";
    const READ: &str = "Mcp-Session-Id, Retry-After, WWW-Authenticate";
    [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT)),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ)),
        (header::VARY, HeaderValue::from_static("Origin")),
    ]
}

/// The names of this machine and the pages that may be meant.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    hosts: Vec<Authority>,
    /// In lower case, as browsers write them.
    origins: Vec<String>,
}

impl Guard {
    /// A guard that lets `hosts` be meant besides this machine's own names, and pages of `origins` call besides those that
    /// come from `port` of this machine.
    ///
    /// Errors: a host is no name with or without a port; an origin is not a scheme and such a host.
    pub(crate) fn new(hosts: &[String], origins: &[String], port: u16) -> Result<Self, ServerError> {
        let hosts = hosts.iter().map(|host| authority(host).ok_or_else(|| ServerError::Host(host.clone())));
        let own = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("http://{host}:{port}"));
        let given = origins.iter().map(|origin| {
            let lower = origin.to_ascii_lowercase();
            let host = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
            match host.and_then(authority) {
                Some(_) => Ok(lower),
                None => Err(ServerError::Origin(origin.clone())),
            }
        });
        let origins = own.into_iter().map(Ok).chain(given).collect::<Result<_, _>>()?;
        Ok(Self { hosts: hosts.collect::<Result<_, _>>()?, origins })
    }

    /// Refuses a request whose `Host` or `Origin` is not allowed.
    pub(crate) async fn check(State(guard): State<Self>, request: Request, next: Next) -> Response {
        use axum::response::IntoResponse as _;
        let local = request.extensions().get::<Ends>().map(|ends| ends.local);
        let origin = match guard.admit(request.headers(), local) {
            Ok(origin) => origin.cloned(),
            Err(refusal) => return refusal.into_response(),
        };
        let Some(origin) = origin else { return next.run(request).await };
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let mut response = if is_preflight {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        } else {
            next.run(request).await
        };
        response.headers_mut().extend(cors(origin));
        response
    }

    /// The origin of the page that calls, if it is one; `local` is this machine's end of the connection.
    fn admit<'a>(
        &self,
        headers: &'a HeaderMap,
        local: Option<IpAddr>,
    ) -> Result<Option<&'a HeaderValue>, Refusal> {
        let refused =
            |code, message, hint: &str| Refusal::new(StatusCode::FORBIDDEN, code, message).with_hint(hint);
        let hosts = headers.get_all(header::HOST).iter().collect::<Vec<_>>();
        let host = match hosts[..] {
            [host] => host.to_str().ok().and_then(authority),
            _ => None,
        };
        let Some(host) = host else {
            let message = "the request names no host, or several, in its Host";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "http.host", message));
        };
        if !self.may_be_meant(&host, local) {
            return Err(refused(
                "http.host",
                format!("the host {host} is not allowed"),
                "use the address that the server listens on, or start it with --allowed-host",
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        if self.origins.contains(&text) {
            return Ok(Some(origin));
        }
        Err(refused(
            "http.origin",
            String::from("pages of this origin may not call the server"),
            "the user who starts the server allows an origin with --allowed-origin",
        ))
    }

    fn may_be_meant(&self, host: &Authority, local: Option<IpAddr>) -> bool {
        let name = host.host().trim_matches(['[', ']']);
        // No name server gives out an address as a name.
        let is_own = name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || Some(ip) == local);
        let is_given = |given: &Authority| {
            given.host().eq_ignore_ascii_case(host.host())
                && given.port_u16().is_none_or(|port| host.port_u16() == Some(port))
        };
        is_own || self.hosts.iter().any(is_given)
    }
}

/// A host with or without a port.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    (!text.ends_with(':') && !text.contains(['@', '*'])).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(guard: &Guard, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        guard.admit(&headers, Some(IpAddr::from([192, 168, 1, 5]))).is_ok()
    }

    fn guard(hosts: &[&str], origins: &[&str]) -> Result<Guard, ServerError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Guard::new(&owned(hosts), &owned(origins), 8788)
    }

    #[test]
    fn only_this_machine_and_named_hosts_may_be_meant() {
        let strict = guard(&[], &[]).unwrap();
        let own =
            ["localhost", "LOCALHOST:9000", "127.0.0.1:8788", "[::1]:8788", "127.8.8.8", "192.168.1.5:8788"];
        for host in own {
            assert!(admitted(&strict, &[("host", host)]), "{host}");
        }
        let others = [
            "evil.example",
            "localhost.evil.example",
            "192.168.1.6",
            "user@localhost",
            "",
            "127.0.0.1.evil.example",
        ];
        for host in others {
            assert!(!admitted(&strict, &[("host", host)]), "{host}");
        }
        assert!(
            !admitted(&strict, &[]) && !admitted(&strict, &[("host", "localhost"), ("host", "localhost")])
        );
        let named = guard(&["Tune.Example", "other.example:444"], &[]).unwrap();
        assert!(admitted(&named, &[("host", "tune.example:443")]));
        assert!(admitted(&named, &[("host", "other.example:444")]));
        assert!(!admitted(&named, &[("host", "other.example")]));
    }

    #[test]
    fn pages_call_from_named_origins_and_the_servers_own() {
        let strict = guard(&[], &[]).unwrap();
        let from = |guard: &Guard, origin| admitted(guard, &[("host", "localhost"), ("origin", origin)]);
        assert!(from(&strict, "http://localhost:8788") && from(&strict, "http://127.0.0.1:8788"));
        let others = ["null", "", "http://localhost", "https://localhost:8788", "http://localhost:3000"];
        for origin in others.into_iter().chain(["https://page.example"]) {
            assert!(!from(&strict, origin), "{origin}");
        }
        let named = guard(&[], &["https://Page.example"]).unwrap();
        assert!(from(&named, "https://page.example"));
        assert!(!from(&named, "https://page.example:444") && !from(&named, "http://page.example"));
    }

    #[test]
    fn what_is_no_host_and_no_origin_is_refused_at_once() {
        for host in ["https://a.example", "a b", "", "*", "me@a.example", "a.example:"] {
            assert!(guard(&[host], &[]).is_err(), "{host}");
        }
        for origin in ["a.example", "*", "ftp://a.example", "https://", "https://a.example/", "null"] {
            assert!(guard(&[], &[origin]).is_err(), "{origin}");
        }
    }
}
