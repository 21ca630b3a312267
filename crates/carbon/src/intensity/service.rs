//! Electricity Maps' interface, version 3: <https://portal.electricitymaps.com/developer-hub/api/reference>.

use std::{net::IpAddr, time::Duration};

use greentune_core_config::ProblemKind;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use ureq::{
    Agent, Body,
    http::{Response, Uri, header},
};

use super::{LiveConfig, Place, Secret, zone::Asked};
use crate::CarbonError;

/// How long a whole exchange may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An answer is a few kB; a forecast of three days about ten.
const LARGEST_ANSWER: u64 = 1 << 20;
/// Old lignite plants emit about 1200 g/kWh; what is above cannot be the mean of a grid.
const HIGHEST_G_PER_KWH: f64 = 2000.0;
/// A figure that is older or further ahead is not one of now.
const NOW_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Hosts that answer nobody without a token.
const TOKEN_NEEDED: [&str; 2] = ["electricitymaps.com", "electricitymap.org"];

/// Why there is no figure. Neither token nor address stand in it, only the host.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{host} {what}")]
pub(super) struct Trouble {
    pub host: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum What {
    #[error("is no address such as https://host/v3/carbon-intensity/latest, without user and query")]
    Endpoint,
    #[error("has no zone for {0:?}")]
    Zone(String),
    #[error("answers nobody without a token (ELECTRICITY_MAPS_TOKEN)")]
    NoToken,
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

impl Trouble {
    pub(super) fn kind(&self) -> ProblemKind {
        match self.what {
            What::NoToken | What::Refused(_) => ProblemKind::Credentials,
            What::SlowDown(_) => ProblemKind::RateLimited,
            What::Endpoint | What::Zone(_) | What::UnknownZone(_) | What::InClear => {
                ProblemKind::InvalidInput
            }
            _ => ProblemKind::Unavailable,
        }
    }

    /// Whether asking again unchanged is of no use.
    pub(super) fn lasts(&self) -> bool {
        matches!(self.kind(), ProblemKind::Credentials | ProblemKind::InvalidInput)
    }
}

/// The figure of an hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    pub zone: String,
    pub g_per_kwh: f64,
    /// The hour that the figure is of.
    pub datetime: Timestamp,
    pub estimated: bool,
    pub fetched_at: Timestamp,
}

impl Reading {
    /// Whether the figure can be used at `now` at all.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.datetime).abs();
        is_possible(self.g_per_kwh)
            && age < NOW_WITHIN
            && self.fetched_at <= now + SignedDuration::from_mins(1)
    }
}

/// Refuses an endpoint that is no address, or that holds a user, a password or a query; it is not shown.
pub fn check_endpoint(endpoint: &str) -> Result<(), CarbonError> {
    let trouble = Trouble { host: "carbon.emissions_endpoint".into(), what: What::Endpoint };
    let refused = || CarbonError::Live { kind: trouble.kind(), message: trouble.to_string() };
    address(endpoint).map(drop).ok_or_else(refused)
}

/// The address without `/latest`, as text and in parts.
fn address(endpoint: &str) -> Option<(String, Uri)> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let base = endpoint.strip_suffix("/latest").unwrap_or(endpoint).to_owned();
    let uri: Uri = base.parse().ok()?;
    let is_plain = !uri.authority()?.as_str().contains('@') && uri.query().is_none();
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_plain && is_http).then_some((base, uri))
}

/// The host of `endpoint`.
pub(super) fn host(endpoint: &str) -> Option<String> {
    Some(address(endpoint)?.1.authority()?.host().to_owned())
}

/// One question, and how to ask it.
#[derive(Debug)]
pub(super) struct Service {
    agent: Agent,
    /// Without `/latest`.
    base: String,
    host: String,
    token: Option<Secret>,
    pub asked: Asked,
}

impl Service {
    pub(super) fn new(place: &Place, config: &LiveConfig, within: Duration) -> Result<Self, Trouble> {
        let invalid = || Trouble { host: "carbon.emissions_endpoint".into(), what: What::Endpoint };
        let (base, uri) = address(&config.endpoint).ok_or_else(invalid)?;
        let authority = uri.authority().ok_or_else(invalid)?;
        let https = uri.scheme_str() == Some("https");
        let host = authority.host().to_owned();
        let trouble = |what| Trouble { host: host.clone(), what };
        if config.token.is_none() && TOKEN_NEEDED.iter().any(|needed| host.ends_with(needed)) {
            return Err(trouble(What::NoToken));
        }
        if config.token.is_some() && !https && !is_this_machine(&host) {
            return Err(trouble(What::InClear));
        }
        let asked = Asked::of(place, config.zone.as_deref()).map_err(trouble)?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The token's header would go along to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("greentune/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(within))
            .build();
        Ok(Self { agent: agent.into(), base, host, token: config.token.clone(), asked })
    }

    /// What the answer depends on; no secret is in it.
    pub(super) fn key(&self) -> String {
        format!("{}?{}", self.base, self.asked.query)
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The figure of now.
    pub(super) fn latest(&self) -> Result<Reading, Trouble> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Latest {
            zone: String,
            carbon_intensity: f64,
            datetime: Timestamp,
            #[serde(default)]
            is_estimated: Option<bool>,
        }
        let latest: Latest = self.get("latest")?;
        let now = Timestamp::now();
        self.check(&latest.zone, &[latest.carbon_intensity])?;
        let reading = Reading {
            zone: latest.zone,
            g_per_kwh: latest.carbon_intensity,
            datetime: latest.datetime,
            estimated: latest.is_estimated.unwrap_or_default(),
            fetched_at: now,
        };
        if reading.is_usable(now) { Ok(reading) } else { Err(self.trouble(What::NotNow(reading.datetime))) }
    }

    /// The hours that come, as the service has them: hour and g/kWh.
    pub(super) fn forecast(&self) -> Result<(String, Vec<(Timestamp, f64)>), Trouble> {
        #[derive(Deserialize)]
        struct Answer {
            zone: String,
            forecast: Vec<Hour>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Hour {
            carbon_intensity: f64,
            datetime: Timestamp,
        }
        let Answer { zone, forecast } = self.get("forecast")?;
        let figures: Vec<_> = forecast.iter().map(|hour| hour.carbon_intensity).collect();
        self.check(&zone, &figures)?;
        Ok((zone, forecast.into_iter().map(|hour| (hour.datetime, hour.carbon_intensity)).collect()))
    }

    fn get<T: for<'de> Deserialize<'de>>(&self, what: &str) -> Result<T, Trouble> {
        let mut request = self.agent.get(format!("{}/{what}?{}", self.base, self.asked.query));
        if let Some(token) = &self.token {
            request = request.header("auth-token", token.expose());
        }
        let mut answer = request.call().map_err(|error| self.broken(&error))?;
        self.check_status(&answer)?;
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let text = body.map_err(|error| self.broken(&error))?;
        serde_json::from_str(&text).map_err(|_| {
            let html = text.trim_start().starts_with('<');
            self.trouble(if html { What::Html } else { What::NotExpected })
        })
    }

    fn check_status(&self, answer: &Response<Body>) -> Result<(), Trouble> {
        let what = match answer.status().as_u16() {
            200 => return Ok(()),
            status @ (401 | 403) => What::Refused(status),
            404 => What::UnknownZone(self.asked.expected().to_owned()),
            429 => What::SlowDown(retry_after(answer)),
            status @ 300..=399 => What::Redirect(status),
            status => What::Status(status),
        };
        Err(self.trouble(what))
    }

    fn check(&self, zone: &str, figures: &[f64]) -> Result<(), Trouble> {
        if !self.asked.fits(zone) {
            let answered = zone.chars().take(30).collect();
            return Err(self.trouble(What::WrongZone { asked: self.asked.expected().to_owned(), answered }));
        }
        match figures.iter().find(|figure| !is_possible(**figure)) {
            Some(figure) => Err(self.trouble(What::Value(*figure))),
            None => Ok(()),
        }
    }

    /// Without the error's own words where these may hold an address.
    fn broken(&self, error: &ureq::Error) -> Trouble {
        self.trouble(match error {
            ureq::Error::Timeout(_) => What::Timeout(self.within()),
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                What::Timeout(self.within())
            }
            ureq::Error::Io(error) => What::Unreachable(error.kind().to_string()),
            ureq::Error::HostNotFound => What::Unreachable("no such host".into()),
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => What::Unreachable("no secure connection".into()),
            ureq::Error::BodyExceedsLimit(_) => What::NotExpected,
            _ => What::Unreachable("the connection failed".into()),
        })
    }

    fn within(&self) -> Duration {
        self.agent.config().timeouts().global.unwrap_or(ANSWER_WITHIN)
    }

    fn trouble(&self, what: What) -> Trouble {
        Trouble { host: self.host.clone(), what }
    }
}

fn is_possible(g_per_kwh: f64) -> bool {
    (0.0..=HIGHEST_G_PER_KWH).contains(&g_per_kwh)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Seconds; a date is not understood and counts as none.
fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
