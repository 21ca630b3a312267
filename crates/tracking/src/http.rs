//! Calls to a tracking server, and what its answers mean.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, header},
};

use crate::{Credentials, Tracker, TrackingError};

/// Time for one call, name resolution to last byte.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for sending one file.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(1);
/// What sending a file is called in errors.
const ARTIFACTS: &str = "mlflow-artifacts";
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 4 << 20;
/// Longest piece of an answer in an error, in characters.
const LONGEST_MESSAGE: usize = 300;

/// Refuses an address that is none, or that holds a user, a password or a query; those are not shown.
///
/// Errors: [`TrackingError::Setting`].
pub fn check_address(tracker: Tracker, uri: &str) -> Result<(), TrackingError> {
    address(tracker, uri).map(drop)
}

/// `uri` without what surrounds an address.
fn address(tracker: Tracker, uri: &str) -> Result<&str, TrackingError> {
    let key = tracker.address_key();
    let refused = |found: &str, allowed| TrackingError::Setting { key, found: found.to_owned(), allowed };
    let address = uri.trim().trim_end_matches('/');
    if address.contains(['@', '?', '#']) {
        let allowed = "an address without user, password or query; credentials are set in the environment";
        return Err(refused("an address with credentials in it", allowed));
    }
    let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let host = rest.map_or("", |rest| rest.split('/').next().unwrap_or_default());
    if host.is_empty() {
        return Err(refused(address, tracker.address_allowed()));
    }
    Ok(address)
}

/// A server's address and how to be let in.
pub(crate) struct Server {
    agent: Agent,
    tracker: Tracker,
    address: String,
    /// What stands before each call's path.
    interface: &'static str,
    authorization: Option<String>,
}

impl Server {
    /// The MLflow server at `uri`. Errors: as [`check_address`].
    pub(crate) fn mlflow(uri: &str, credentials: &Credentials) -> Result<Self, TrackingError> {
        Self::new(Tracker::Mlflow, uri, "/api/2.0/mlflow", credentials.for_mlflow())
    }

    /// The server of Weights & Biases at `uri`, let in by `key`. Errors: as [`check_address`].
    pub(crate) fn wandb(uri: &str, key: &str) -> Result<Self, TrackingError> {
        Self::new(Tracker::Wandb, uri, "", Some(basic("api", key.trim())))
    }

    fn new(
        tracker: Tracker,
        uri: &str,
        interface: &'static str,
        authorization: Option<String>,
    ) -> Result<Self, TrackingError> {
        let address = address(tracker, uri)?.to_owned();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed nowhere: another host must not see the credentials, and a POST would turn into a GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("greentune/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), tracker, address, interface, authorization })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        let rest = self.address.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// `GET {call}?{key}={value}`.
    pub(crate) fn get(&self, call: &str, key: &str, value: &str) -> Result<Value, TrackingError> {
        let mut request = self.agent.get(self.url(call)).query(key, value);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(CALL_TIMEOUT)).build();
        self.json(call, request.call())
    }

    /// `POST {call}` with JSON.
    pub(crate) fn post(&self, call: &str, body: &Value) -> Result<Value, TrackingError> {
        let mut request = self.agent.post(self.url(call));
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(CALL_TIMEOUT)).build();
        self.json(call, request.send(body.to_string()))
    }

    /// Sends a file to the server's own store, at `path` in it.
    pub(crate) fn put_artifact(&self, path: &str, contents: &[u8]) -> Result<(), TrackingError> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{}", self.address, encoded(path));
        let mut request = self.agent.put(url).header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(UPLOAD_TIMEOUT)).build();
        let text = self.text(ARTIFACTS, request.send(contents))?;
        // Acknowledged by an empty answer or an object.
        if text.is_empty() { Ok(()) } else { self.object(ARTIFACTS, &text).map(drop) }
    }

    /// Sends a file to `url`, a place that the server named: elsewhere perhaps, so that no credentials go with it.
    /// `name` stands for it in errors, because such an address is a credential itself.
    pub(crate) fn upload(
        &self,
        name: &str,
        url: &str,
        headers: &[(String, String)],
        contents: &[u8],
    ) -> Result<(), TrackingError> {
        let call = format!("upload of {name}");
        let url = if url.starts_with('/') { format!("{}{url}", self.address) } else { url.to_owned() };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(self.foreign(&call, "a place that is no address"));
        }
        let mut request = self.agent.put(url);
        for (name, value) in headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let request = request.config().timeout_global(Some(UPLOAD_TIMEOUT)).build();
        let status = match request.send(contents) {
            Ok(answer) => answer.status().as_u16(),
            Err(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => {
                return Err(self.foreign(&call, "a place that is no address"));
            }
            Err(error) => return Err(self.unreachable(&error)),
        };
        // A store's own words may hold what the address does.
        let (address, message) = (self.address.clone(), String::from("the store did not take the file"));
        match status {
            200..=299 => Ok(()),
            408 | 429 | 500.. => Err(TrackingError::Unwell { address, status, call, message }),
            _ => Err(TrackingError::Rejected { address, call, code: status.to_string(), message }),
        }
    }

    fn url(&self, call: &str) -> String {
        format!("{}{}/{call}", self.address, self.interface)
    }

    fn json(&self, call: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, TrackingError> {
        self.object(call, &self.text(call, answer)?)
    }

    fn object(&self, call: &str, text: &str) -> Result<Value, TrackingError> {
        let parsed = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        parsed.ok_or_else(|| self.foreign(call, &found(200, text)))
    }

    /// The text of an answer that says yes.
    fn text(&self, call: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<String, TrackingError> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = to.split(['?', '#']).next().unwrap_or_default().to_owned();
        let read = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let text = read.map_err(|error| self.unreachable(&error))?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let said = serde_json::from_str::<Value>(&text).ok().and_then(|value| Said::of(&value, status));
        let (tracker, address, call) = (self.tracker, self.address.clone(), call.to_owned());
        let message = said.as_ref().map_or_else(|| shortened(text.trim()), |said| said.message.clone());
        Err(match (status, said) {
            (300..=399, _) => TrackingError::Redirected { tracker, address, call, to },
            (401 | 403, _) => TrackingError::Refused { tracker, address, status, call, message },
            (408 | 429 | 500.., _) => TrackingError::Unwell { address, status, call, message },
            (400..=499, Some(Said { code, message })) => {
                TrackingError::Rejected { address, call, code, message }
            }
            _ => self.foreign(&call, &found(status, &text)),
        })
    }

    /// That `call` was answered by something else than the tracker.
    pub(crate) fn foreign(&self, call: &str, found: &str) -> TrackingError {
        TrackingError::NotATracker {
            tracker: self.tracker,
            address: self.address.clone(),
            call: call.to_owned(),
            found: found.to_owned(),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> TrackingError {
        TrackingError::Unreachable { address: self.address.clone(), reason: error.to_string() }
    }
}

/// Why a server says no.
pub(crate) struct Said {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Said {
    /// MLflow's `{error_code, message}`, or what the interfaces of Weights & Biases say: `{error: …}`, where … is text
    /// or `{message}`, and GraphQL's `{errors: [{message}]}`.
    pub(crate) fn of(answer: &Value, status: u16) -> Option<Self> {
        if let Some(code) = answer["error_code"].as_str() {
            let message = answer["message"].as_str().unwrap_or_default();
            return Some(Self { code: code.to_owned(), message: shortened(message) });
        }
        let said = |error: &Value| error.as_str().or_else(|| error["message"].as_str()).map(shortened);
        if let Some(errors) = answer["errors"].as_array().filter(|errors| !errors.is_empty()) {
            let messages: Vec<_> = errors.iter().filter_map(said).collect();
            return Some(Self { code: String::from("graphql"), message: shortened(&messages.join("; ")) });
        }
        said(&answer["error"]).map(|message| Self { code: status.to_string(), message })
    }
}

impl Credentials {
    fn for_mlflow(&self) -> Option<String> {
        if let Some(token) = &self.mlflow_token {
            return Some(format!("Bearer {token}"));
        }
        let username = self.mlflow_username.as_ref()?;
        let password = self.mlflow_password.as_deref().unwrap_or_default();
        Some(basic(username, password))
    }
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
}

/// What came instead of an answer.
fn found(status: u16, text: &str) -> String {
    format!("status {status} and {:?}", text.trim().chars().take(80).collect::<String>())
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).collect()
}

/// `path` as it stands in a URL: every byte but letters, digits and `-._~/` in percent notation.
pub(crate) fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
