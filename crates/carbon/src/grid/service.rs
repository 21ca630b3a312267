//! Electricity Maps' interface, version 3: <https://portal.electricitymaps.com/developer-hub/api/reference>.

use std::time::Duration;

use greentune_http_client::{Address, Client, Credential, HttpError, Limits, Redirects, Settings};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    LiveConfig, Place,
    endpoint::{self, Secret},
    service_error::{HIGHEST_G_PER_KWH, ServiceError, ServiceErrorKind},
    zone::ZoneQuery,
};

/// How long a whole exchange may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An answer is a few kB; a forecast of three days about ten.
const LARGEST_ANSWER: u64 = 1 << 20;
/// A figure that is older or further ahead is not one of now.
const NOW_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Domains that answer nobody without a token.
const TOKEN_NEEDED: [&str; 2] = ["electricitymaps.com", "electricitymap.org"];

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

/// One question, and how to ask it.
#[derive(Debug)]
pub(super) struct Service {
    client: Client,
    within: Duration,
    /// Without `/latest`.
    base: String,
    is_token_withheld: bool,
    host: String,
    pub asked: ZoneQuery,
}

impl Service {
    pub(super) fn new(place: &Place, config: &LiveConfig, within: Duration) -> Result<Self, ServiceError> {
        let invalid =
            || ServiceError { host: "carbon.emissions_endpoint".into(), what: ServiceErrorKind::Endpoint };
        let (base, address) = endpoint::address(&config.endpoint).ok_or_else(invalid)?;
        let host = address.origin().host().to_owned();
        let trouble = |what| ServiceError { host: host.clone(), what };
        if config.token.is_none() && needs_token(&host) {
            return Err(trouble(ServiceErrorKind::without_token(config.is_token_withheld)));
        }
        let unusable = |error: HttpError| trouble(ServiceErrorKind::of(&error, within));
        let credential = config.token.as_ref().map(|token| credential(token, &address)).transpose();
        let settings = Settings {
            limits: Limits::whole(within),
            redirects: Redirects::HandedBack,
            credential: credential.map_err(unusable)?,
            proxy: config.proxy.clone(),
        };
        let asked = ZoneQuery::of(place, config.zone.as_deref()).map_err(trouble)?;
        let client = Client::new(settings).map_err(unusable)?;
        Ok(Self { client, within, base, is_token_withheld: config.is_token_withheld, host, asked })
    }

    /// What the answer depends on; no secret is in it.
    pub(super) fn key(&self) -> String {
        format!("{}?{}", self.base, self.asked.query)
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The figure of now.
    pub(super) fn latest(&self) -> Result<Reading, ServiceError> {
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
        if reading.is_usable(now) {
            Ok(reading)
        } else {
            Err(self.trouble(ServiceErrorKind::NotNow(reading.datetime)))
        }
    }

    /// The hours that come, as the service has them: hour and g/kWh.
    pub(super) fn forecast(&self) -> Result<(String, Vec<(Timestamp, f64)>), ServiceError> {
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

    fn get<T: for<'de> Deserialize<'de>>(&self, what: &str) -> Result<T, ServiceError> {
        let text = self.text(what).map_err(|error| match error {
            HttpError::Status { status: 404, .. } => {
                self.trouble(ServiceErrorKind::UnknownZone(self.asked.expected().to_owned()))
            }
            HttpError::Status { status: 401 | 403, .. } if self.is_token_withheld => {
                self.trouble(ServiceErrorKind::Withheld)
            }
            error => self.trouble(ServiceErrorKind::of(&error, self.within)),
        })?;
        serde_json::from_str(&text).map_err(|_| {
            let html = text.trim_start().starts_with('<');
            self.trouble(if html { ServiceErrorKind::Html } else { ServiceErrorKind::NotExpected })
        })
    }

    fn text(&self, what: &str) -> Result<String, HttpError> {
        let address = Address::parse(&format!("{}/{what}?{}", self.base, self.asked.query))?;
        self.client.get(address).send()?.checked()?.text(LARGEST_ANSWER)
    }

    fn check(&self, zone: &str, figures: &[f64]) -> Result<(), ServiceError> {
        if !self.asked.fits(zone) {
            let answered = zone.chars().take(30).collect();
            return Err(self
                .trouble(ServiceErrorKind::WrongZone { asked: self.asked.expected().to_owned(), answered }));
        }
        match figures.iter().find(|figure| !is_possible(**figure)) {
            Some(figure) => Err(self.trouble(ServiceErrorKind::Value(*figure))),
            None => Ok(()),
        }
    }

    fn trouble(&self, what: ServiceErrorKind) -> ServiceError {
        ServiceError { host: self.host.clone(), what }
    }
}

fn needs_token(host: &str) -> bool {
    let below =
        |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    TOKEN_NEEDED.into_iter().any(below)
}

fn is_possible(g_per_kwh: f64) -> bool {
    (0.0..=HIGHEST_G_PER_KWH).contains(&g_per_kwh)
}

fn credential(token: &Secret, address: &Address) -> Result<Credential, HttpError> {
    Credential::new("auth-token", token.expose(), address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_needs_a_token_is_not_known_by_its_last_letters() {
        for host in ["electricitymaps.com", "api.electricitymaps.com", "api.electricitymap.org"] {
            assert!(needs_token(host), "{host}");
        }
        for host in ["evilelectricitymaps.com", "electricitymaps.com.example", "localhost"] {
            assert!(!needs_token(host), "{host}");
        }
    }
}
