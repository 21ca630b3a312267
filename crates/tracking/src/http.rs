//! Calls to a tracking server, and what its answers mean.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, header},
};

use crate::{Credentials, TrackingError};

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

/// A server's address and how to be let in.
pub(crate) struct Server {
    agent: Agent,
    address: String,
    authorization: Option<String>,
}

impl Server {
    /// The server at `uri`. Errors: it is no address of HTTP, or holds credentials.
    pub(crate) fn new(uri: &str, credentials: &Credentials) -> Result<Self, TrackingError> {
        let key = "mlflow.tracking_uri";
        let refused = |found: &str, allowed| TrackingError::Setting { key, found: found.to_owned(), allowed };
        let address = uri.trim().trim_end_matches('/');
        let rest = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
        let host = rest.map_or("", |rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.contains('@') {
            let allowed =
                "an address without user name; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD";
            return Err(refused("an address with credentials in it", allowed));
        }
        if host.is_empty() || address.contains(['?', '#']) {
            return Err(refused(address, "the address of an MLflow server, such as http://localhost:5000"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed nowhere: another host must not see the credentials, and a POST would turn into a GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("greentune/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.into(),
            address: address.to_owned(),
            authorization: credentials.authorization(),
        })
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

    /// `GET api/2.0/mlflow/{call}?{key}={value}`.
    pub(crate) fn get(&self, call: &str, key: &str, value: &str) -> Result<Value, TrackingError> {
        let url = format!("{}/api/2.0/mlflow/{call}", self.address);
        let mut request = self.agent.get(url).query(key, value);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.config().timeout_global(Some(CALL_TIMEOUT)).build();
        self.json(call, request.call())
    }

    /// `POST api/2.0/mlflow/{call}` with JSON.
    pub(crate) fn post(&self, call: &str, body: &Value) -> Result<Value, TrackingError> {
        let mut request = self.agent.post(format!("{}/api/2.0/mlflow/{call}", self.address));
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
        self.json(ARTIFACTS, request.send(contents)).map(drop)
    }

    fn json(&self, call: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, TrackingError> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = to.split(['?', '#']).next().unwrap_or_default().to_owned();
        let read = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let text = read.map_err(|error| self.unreachable(&error))?;
        let parsed = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        let (address, call) = (self.address.clone(), call.to_owned());
        let said = |name: &str| parsed.as_ref().and_then(|value| value[name].as_str()).map(shortened);
        let message = said("message").unwrap_or_else(|| shortened(text.trim()));
        let code = said("error_code");
        match (status.as_u16(), parsed.is_some(), code) {
            // Files are acknowledged by an empty answer, everything else by an object.
            (200..=299, ..) if call == ARTIFACTS && text.is_empty() => Ok(Value::Null),
            (200..=299, true, _) => Ok(parsed.unwrap_or_default()),
            (300..=399, ..) => Err(TrackingError::Redirected { address, call, to }),
            (status @ (401 | 403), ..) => Err(TrackingError::Refused { address, status, call, message }),
            (status @ (429 | 500..), ..) => Err(TrackingError::Unwell { address, status, call, message }),
            (400..=499, _, Some(code)) => Err(TrackingError::Rejected { address, call, code, message }),
            (status, ..) => {
                let found = format!("status {status} and {:?}", message.chars().take(80).collect::<String>());
                Err(TrackingError::NotMlflow { address, call, found })
            }
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> TrackingError {
        TrackingError::Unreachable { address: self.address.clone(), reason: error.to_string() }
    }
}

impl Credentials {
    fn authorization(&self) -> Option<String> {
        if let Some(token) = &self.mlflow_token {
            return Some(format!("Bearer {token}"));
        }
        let username = self.mlflow_username.as_ref()?;
        let password = self.mlflow_password.as_deref().unwrap_or_default();
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).collect()
}

/// `path` as it stands in a URL: every byte but letters, digits and `-._~/` in percent notation.
fn encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
