//! Calls to a tracking server, and what its answers mean.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use greentune_http_client::{
    Address, Client, Credential, HttpError, Limits, Proxy, Redirects, Request, Settings,
};
use serde_json::Value;

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

/// A server's address, and the credentials for it.
pub(crate) struct Server {
    client: Client,
    tracker: Tracker,
    address: String,
    /// What stands before each call's path.
    interface: &'static str,
    /// Whether there are credentials that it does not get, because it is not the user who set its address.
    is_withheld: bool,
    /// What is taken out of the server's words, should it repeat it.
    secrets: Vec<String>,
}

/// The value of a header that lets in, and what is secret in it.
struct Authorization {
    value: String,
    secrets: Vec<String>,
}

impl Server {
    /// The MLflow server at `uri`, which gets credentials if it is one that the user named.
    ///
    /// Errors: as [`check_address`]; credentials would go over plain http to another machine.
    pub(crate) fn mlflow(uri: &str, credentials: &Credentials) -> Result<Self, TrackingError> {
        let is_users = credentials.is_users_host(address(Tracker::Mlflow, uri)?);
        let authorization = credentials.for_mlflow();
        let is_withheld = authorization.is_some() && !is_users;
        let authorization = authorization.filter(|_| is_users);
        let proxy = credentials.proxy.clone();
        let server = Self::new(Tracker::Mlflow, uri, "/api/2.0/mlflow", authorization, proxy)?;
        Ok(Self { is_withheld, ..server })
    }

    /// The server of Weights & Biases at `uri`, let in by `key`. Errors: as [`check_address`].
    pub(crate) fn wandb(uri: &str, key: &str, proxy: Option<Proxy>) -> Result<Self, TrackingError> {
        Self::new(Tracker::Wandb, uri, "", Some(basic("api", key.trim())), proxy)
    }

    fn new(
        tracker: Tracker,
        uri: &str,
        interface: &'static str,
        authorization: Option<Authorization>,
        proxy: Option<Proxy>,
    ) -> Result<Self, TrackingError> {
        let address = address(tracker, uri)?.to_owned();
        let unusable = |error: HttpError| TrackingError::Setting {
            key: tracker.address_key(),
            found: error.to_string(),
            allowed: tracker.address_allowed(),
        };
        let place = Address::parse(&address).map_err(unusable)?;
        let unsendable = |error: HttpError| match error {
            HttpError::InClear { .. } => TrackingError::Setting {
                key: tracker.address_key(),
                found: String::from(
                    "an address of plain http on another machine, which would get a token in clear",
                ),
                allowed: "an address that begins with https://, or one of this machine",
            },
            _ => TrackingError::Setting {
                key: "MLFLOW_TRACKING_TOKEN",
                found: String::from("a token with characters that no header can hold"),
                allowed: "letters, digits and punctuation",
            },
        };
        let (value, secrets) = authorization.map(|Authorization { value, secrets }| (value, secrets)).unzip();
        let credential = value.map(|value| Credential::new("authorization", &value, &place)).transpose();
        let settings = Settings {
            limits: Limits::whole(CALL_TIMEOUT),
            // A POST would turn into a GET.
            redirects: Redirects::HandedBack,
            credential: credential.map_err(unsendable)?,
            proxy,
        };
        let client = Client::new(settings).map_err(unusable)?;
        Ok(Self {
            client,
            tracker,
            address,
            interface,
            is_withheld: false,
            secrets: secrets.unwrap_or_default(),
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

    /// `GET {call}?{key}={value}`.
    pub(crate) fn get(&self, call: &str, key: &str, value: &str) -> Result<Value, TrackingError> {
        let address = self.place(call, &self.url(call))?.with_query(key, value);
        self.json(call, self.client.get(address))
    }

    /// `POST {call}` with JSON.
    pub(crate) fn post(&self, call: &str, body: &Value) -> Result<Value, TrackingError> {
        let request = self.client.post(self.place(call, &self.url(call))?, body.to_string());
        self.json(call, request.header("content-type", "application/json"))
    }

    /// Sends a file to the server's own store, at `path` in it.
    pub(crate) fn put_artifact(&self, path: &str, contents: Vec<u8>) -> Result<(), TrackingError> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{}", self.address, encoded(path));
        let request = self.client.put(self.place(ARTIFACTS, &url)?, contents).within(UPLOAD_TIMEOUT);
        let text = self.text(ARTIFACTS, request.header("content-type", "application/octet-stream"))?;
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
        contents: Vec<u8>,
    ) -> Result<(), TrackingError> {
        let call = format!("upload of {name}");
        let url = if url.starts_with('/') { format!("{}{url}", self.address) } else { url.to_owned() };
        let place = self.place(&call, &url)?;
        let mut request = self.client.put(place, contents).anonymously().within(UPLOAD_TIMEOUT);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().map_err(|error| self.failed(&call, &error))?;
        let (status, retry_after) = (answer.status(), answer.retry_after());
        // A store's own words may hold what the address does.
        let (address, message) = (self.address.clone(), String::from("the store did not take the file"));
        match status {
            200..=299 => Ok(()),
            408 | 429 | 500.. => {
                Err(TrackingError::ServerUnavailable { address, status, call, message, retry_after })
            }
            _ => Err(TrackingError::Rejected { address, call, code: status.to_string(), message }),
        }
    }

    fn url(&self, call: &str) -> String {
        format!("{}{}/{call}", self.address, self.interface)
    }

    /// `url` as an address. Errors: the server named a place that is none.
    fn place(&self, call: &str, url: &str) -> Result<Address, TrackingError> {
        Address::parse(url).map_err(|error| self.failed(call, &error))
    }

    fn json(&self, call: &str, request: Request) -> Result<Value, TrackingError> {
        self.object(call, &self.text(call, request)?)
    }

    fn object(&self, call: &str, text: &str) -> Result<Value, TrackingError> {
        let parsed = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        parsed.ok_or_else(|| self.foreign(call, &found(200, &self.without_secrets(text))))
    }

    /// The text of an answer that says yes.
    fn text(&self, call: &str, request: Request) -> Result<String, TrackingError> {
        let answer = request.send().map_err(|error| self.failed(call, &error))?;
        let (status, retry_after) = (answer.status(), answer.retry_after());
        let to = answer.header("location").unwrap_or("nowhere");
        let to = self.without_secrets(to.split(['?', '#']).next().unwrap_or_default());
        let text = answer.text(LONGEST_ANSWER).map_err(|error| self.failed(call, &error))?;
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let text = self.without_secrets(&text);
        let said = serde_json::from_str::<Value>(&text).ok().and_then(|value| Said::of(&value, status));
        let (tracker, address, call) = (self.tracker, self.address.clone(), call.to_owned());
        let message = said.as_ref().map_or_else(|| shortened(text.trim()), |said| said.message.clone());
        Err(match (status, said) {
            (300..=399, _) => TrackingError::Redirected { tracker, address, call, to },
            (401 | 403, _) if self.is_withheld => TrackingError::Withheld { address, status, call },
            (401 | 403, _) => TrackingError::Refused { tracker, address, status, call, message },
            (408 | 429 | 500.., _) => {
                TrackingError::ServerUnavailable { address, status, call, message, retry_after }
            }
            (400..=499, Some(Said { code, message })) => {
                TrackingError::Rejected { address, call, code, message }
            }
            _ => self.foreign(&call, &found(status, &text)),
        })
    }

    /// The error for a `call` that was answered by something other than the tracker.
    pub(crate) fn foreign(&self, call: &str, found: &str) -> TrackingError {
        TrackingError::NotATracker {
            tracker: self.tracker,
            address: self.address.clone(),
            call: call.to_owned(),
            found: found.to_owned(),
        }
    }

    /// The server's words without the credentials, should it repeat them.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(secret)"))
    }

    fn failed(&self, call: &str, error: &HttpError) -> TrackingError {
        match error {
            HttpError::Address | HttpError::Header { .. } => self.foreign(call, "a place that is no address"),
            error => TrackingError::Unreachable { address: self.address.clone(), reason: error.to_string() },
        }
    }
}

/// The error code and message in a server's answer.
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
    fn for_mlflow(&self) -> Option<Authorization> {
        if let Some(token) = &self.mlflow_token {
            return Some(Authorization { value: format!("Bearer {token}"), secrets: vec![token.clone()] });
        }
        let username = self.mlflow_username.as_ref()?;
        let password = self.mlflow_password.as_deref().unwrap_or_default();
        Some(basic(username, password))
    }
}

fn basic(username: &str, password: &str) -> Authorization {
    let encoded = BASE64_STANDARD.encode(format!("{username}:{password}"));
    let value = format!("Basic {encoded}");
    let secrets = [encoded, password.to_owned()].into_iter().filter(|secret| !secret.is_empty()).collect();
    Authorization { value, secrets }
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
