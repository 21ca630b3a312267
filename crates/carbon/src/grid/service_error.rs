//! Why a live figure is not to be had.

use std::time::Duration;

use greentune_core_config::ProblemKind;
use greentune_http_client::HttpError;
use jiff::Timestamp;

/// Old lignite plants emit about 1200 g/kWh; what is above cannot be the mean of a grid.
pub(super) const HIGHEST_G_PER_KWH: f64 = 2000.0;

/// Why there is no figure. It contains the host, but neither token nor address.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{host} {what}")]
pub(super) struct ServiceError {
    pub host: String,
    pub what: ServiceErrorKind,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum ServiceErrorKind {
    #[error("is no address such as https://host/v3/carbon-intensity/latest, without user and query")]
    Endpoint,
    #[error("has no zone for {0:?}")]
    Zone(String),
    #[error("answers nobody without a token (ELECTRICITY_MAPS_TOKEN)")]
    NoToken,
    #[error(
        "gets no token, because a project names it; where it is yours, name its host in GREENTUNE_ALLOWED_HOSTS"
    )]
    Withheld,
    #[error("would get the token in clear; https is needed")]
    InClear,
    #[error("refuses the token ({0})")]
    Refused(u16),
    #[error("knows no zone {0} (404)")]
    UnknownZone(String),
    #[error("asks to slow down (429)")]
    SlowDown(Option<Duration>),
    #[error("answers {0}")]
    Status(u16),
    #[error("redirects elsewhere ({0}), where the token is not sent")]
    Redirect(u16),
    #[error("did not answer within {0:?}")]
    Timeout(Duration),
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("answers HTML instead of JSON")]
    Html,
    #[error("answers something else than the JSON expected")]
    NotExpected,
    #[error("answers {0} g/kWh; allowed is 0 to {HIGHEST_G_PER_KWH}")]
    Value(f64),
    #[error("answers for zone {answered:?} instead of {asked}")]
    WrongZone { asked: String, answered: String },
    #[error("answers for {0}, which is not now")]
    NotNow(Timestamp),
    #[error("cannot be asked: no thread to be had ({0})")]
    NoThread(std::io::ErrorKind),
}

impl ServiceErrorKind {
    /// Why a service that wants a token was not asked: the user has none, or it was withheld from this address.
    pub(super) fn without_token(is_withheld: bool) -> Self {
        if is_withheld { Self::Withheld } else { Self::NoToken }
    }

    /// What it means that an exchange, allowed to take `within`, ended in `error`, in whose words no address stands.
    pub(super) fn of(error: &HttpError, within: Duration) -> Self {
        match error {
            HttpError::Address => Self::Endpoint,
            HttpError::InClear { .. } => Self::InClear,
            HttpError::RateLimited { status: 429, retry_after } => Self::SlowDown(*retry_after),
            HttpError::Status { status: status @ (401 | 403), .. } => Self::Refused(*status),
            HttpError::Status { status: status @ 300..=399, .. } => Self::Redirect(*status),
            HttpError::RateLimited { status, .. } | HttpError::Status { status, .. } => Self::Status(*status),
            HttpError::TimedOut { .. } => Self::Timeout(within),
            HttpError::TooLarge { .. } => Self::NotExpected,
            HttpError::Thread(kind) => Self::NoThread(*kind),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl ServiceError {
    pub(super) fn kind(&self) -> ProblemKind {
        match self.what {
            ServiceErrorKind::NoToken | ServiceErrorKind::Withheld | ServiceErrorKind::Refused(_) => {
                ProblemKind::Credentials
            }
            ServiceErrorKind::SlowDown(_) => ProblemKind::RateLimited,
            ServiceErrorKind::Endpoint
            | ServiceErrorKind::Zone(_)
            | ServiceErrorKind::UnknownZone(_)
            | ServiceErrorKind::InClear => ProblemKind::InvalidInput,
            _ => ProblemKind::Unavailable,
        }
    }

    /// Whether asking again without a change is useless.
    pub(super) fn lasts(&self) -> bool {
        matches!(self.kind(), ProblemKind::Credentials | ProblemKind::InvalidInput)
    }
}
