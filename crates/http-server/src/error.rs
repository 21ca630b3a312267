//! Why a server does not listen.

use std::{io, net::SocketAddr};

use greentune_core_config::{Diagnostic, Problem, ProblemKind};

use crate::AccountError;

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Nothing can listen at the address.
    #[error("cannot listen on {address}: {source}")]
    Listening {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The address can be reached from elsewhere, or by another name, and there are no accounts.
    #[error(
        "{0} can be reached from other machines or by other names, and there are no accounts: anybody could use all tools"
    )]
    NeedsAccounts(SocketAddr),
    /// What is allowed as host is none.
    #[error("{0:?} is no host: a name or an address, with a port or without")]
    Host(String),
    /// What is allowed as origin is none.
    #[error("{0:?} is no origin: http:// or https:// and a host, with a port or without, and nothing behind")]
    Origin(String),
    /// The accounts cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

impl Diagnostic for ServerError {
    fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::Listening { source, .. } => {
                let (kind, hint) = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        (ProblemKind::Conflict, "end the program that listens there, or choose another port")
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        (ProblemKind::InvalidInput, "choose an address of this machine, such as 127.0.0.1:8788")
                    }
                    _ => (ProblemKind::Unavailable, "choose another address or port"),
                };
                Problem::new(kind, "http.address", message).with_hint(hint)
            }
            Self::NeedsAccounts(_) => {
                Problem::new(ProblemKind::InvalidInput, "http.no_accounts", message).with_hint(
                    "listen on 127.0.0.1 without --allowed-host, or give out a token: greentune mcp account add NAME",
                )
            }
            Self::Host(_) => Problem::new(ProblemKind::InvalidInput, "http.allowed_host", message)
                .with_hint("write it as in tune.example or tune.example:8788"),
            Self::Origin(_) => Problem::new(ProblemKind::InvalidInput, "http.allowed_origin", message)
                .with_hint("write it as in https://page.example"),
            Self::Accounts(error) => error.problem(),
        }
    }
}
