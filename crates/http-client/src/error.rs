//! Why there is no answer. Neither a credential nor an address stands in any of it.

use std::{error::Error as _, io, time::Duration};

/// Why there is no connection where TLS is refused.
pub(crate) const NO_TLS: &str = "no secure connection";

/// Why a request brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No address that starts with `http://` or `https://`.
    #[error("no address that starts with http:// or https:// and names a host")]
    Address,
    /// A credential would be sent over plain http to another machine.
    #[error("{host} would get a credential in clear; https is needed")]
    InClear {
        /// The host.
        host: String,
    },
    /// A header's name or value holds what no header can.
    #[error("the header {name} cannot be sent: it holds characters that are not allowed in one")]
    Header {
        /// Its name.
        name: String,
    },
    /// A proxy's address cannot be used.
    #[error(
        "the proxy's address cannot be used; allowed is http://host:port, https://host:port or socks5://host:port"
    )]
    Proxy,
    /// No connection, or one that broke.
    #[error("{reason}")]
    Unreachable {
        /// Why, such as `connection refused`.
        reason: String,
    },
    /// Nothing came in time.
    #[error("{phase} took longer than {limit:?}")]
    TimedOut {
        /// What was waited for.
        phase: Phase,
        /// How long.
        limit: Duration,
    },
    /// A redirect that is not followed.
    #[error("redirected {why}")]
    Redirect {
        /// Why not, without the address.
        why: &'static str,
    },
    /// A body that is longer than allowed.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The server asks to slow down: status 429, or 503 with `Retry-After`.
    #[error("asked to slow down with status {status}")]
    RateLimited {
        /// HTTP status.
        status: u16,
        /// How long it asks to wait, a day at most.
        retry_after: Option<Duration>,
    },
    /// The file that was to be sent cannot be read.
    #[error("the file that was to be sent cannot be read ({0})")]
    File(io::ErrorKind),
    /// The caller ended the exchange.
    #[error("ended on request")]
    Stopped,
    /// The server says no.
    #[error("answered with status {status}")]
    Status {
        /// HTTP status, from 300.
        status: u16,
        /// The first characters of the body.
        excerpt: String,
    },
    /// The thread that talks to servers could not be started.
    #[error("no thread for connections could be started ({0})")]
    Thread(io::ErrorKind),
}

/// A part of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution, connection, TLS.
    Connect,
    /// Until the head of the answer is there.
    Answer,
    /// Between two pieces of the answer's body.
    Idle,
    /// Between two pieces of the body that is sent.
    Sending,
    /// The whole exchange.
    Whole,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Answer => "the answer",
            Self::Idle => "the next piece of the answer",
            Self::Sending => "sending the next piece",
            Self::Whole => "the whole exchange",
        })
    }
}

impl HttpError {
    /// What reqwest met; `limit` is the one for what was done.
    pub(crate) fn of(error: &reqwest::Error, limit: Duration) -> Self {
        if error.is_timeout() {
            let phase = if error.is_connect() { Phase::Connect } else { Phase::Answer };
            return Self::TimedOut { phase, limit };
        }
        let causes = || std::iter::successors(error.source(), |cause| (**cause).source());
        let system = || causes().filter_map(|cause| Some(innermost(cause.downcast_ref()?)));
        if system()
            .any(|error| error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some())
        {
            return Self::unreachable(NO_TLS);
        }
        // reqwest keeps the type of this error to itself.
        if causes().any(|cause| cause.to_string().starts_with("dns error")) {
            return Self::unreachable("no such host");
        }
        // Outer errors wrap the system's own.
        match system().map(io::Error::kind).filter(|kind| *kind != io::ErrorKind::Other).last() {
            Some(kind) => Self::unreachable(&kind.to_string()),
            None => Self::unreachable("the connection broke off"),
        }
    }

    pub(crate) fn unreachable(reason: &str) -> Self {
        Self::Unreachable { reason: reason.to_owned() }
    }
}

/// The error in an error in an error: `source` passes over what such an error itself wraps.
fn innermost(error: &io::Error) -> &io::Error {
    let wrapped = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    wrapped.map_or(error, innermost)
}
