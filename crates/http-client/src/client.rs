//! Requests: what is sent where, and which redirects are followed.

use std::{
    fmt,
    ops::ControlFlow,
    pin::pin,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    Body, Method, Response,
    header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect::Policy,
};

use crate::{
    Address, Answer, Credential, FilePart, HttpError, Phase, Proxy, answer::Clock, redirect, runtime, tls,
};

/// How this client calls itself.
const USER_AGENT: &str = concat!("greentune/", env!("CARGO_PKG_VERSION"));

/// How often who sends a file hears how much has gone.
const TICK: Duration = Duration::from_millis(100);
/// How long a server may take to store a file that it has got.
const STORING: Duration = Duration::from_mins(5);

/// How long an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Name resolution, connection and TLS.
    pub connect: Duration,
    /// From the request's beginning to the head of the answer.
    pub answer: Duration,
    /// How long a body may stand still.
    pub idle: Duration,
    /// From the request's beginning to the last byte of the body.
    pub whole: Option<Duration>,
}

impl Limits {
    /// An exchange that is done within `whole`, whatever of it takes how long.
    pub fn whole(whole: Duration) -> Self {
        Self { connect: whole, answer: whole, idle: whole, whole: Some(whole) }
    }
}

/// What is done with a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// It is the answer.
    HandedBack,
    /// GET and HEAD go where it leads, so many times at most, and never from https to http. The credential goes along to
    /// its own host and port alone.
    Followed {
        /// Redirects in a row.
        at_most: u32,
    },
}

/// What a client keeps to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time limits.
    pub limits: Limits,
    /// What is done with redirects.
    pub redirects: Redirects,
    /// Sent with every request to its host and port.
    pub credential: Option<Credential>,
    /// Through which requests go.
    pub proxy: Option<Proxy>,
}

/// Sends requests, and keeps connections for the next ones. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: reqwest::Client,
    settings: Settings,
}

impl Client {
    /// A client that keeps to `settings`.
    ///
    /// Errors: [`HttpError::Proxy`].
    pub fn new(settings: Settings) -> Result<Self, HttpError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(settings.limits.connect)
            // Followed here, where it is known what the credential is for.
            .redirect(Policy::none())
            // Else the environment's variables would be read.
            .no_proxy();
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(proxy.build()?);
        }
        let inner = builder
            .tls_backend_preconfigured(tls::config()?)
            .build()
            .map_err(|error| HttpError::of(&error, settings.limits.connect))?;
        Ok(Self { inner, settings })
    }

    /// A request for what is at `address`.
    pub fn get(&self, address: Address) -> Request<'_> {
        Request::new(self, Method::GET, address)
    }

    /// A request for the headers of what is at `address`.
    pub fn head(&self, address: Address) -> Request<'_> {
        Request::new(self, Method::HEAD, address)
    }

    /// A request that sends `body` to `address`.
    pub fn post(&self, address: Address, body: impl Into<Bytes>) -> Request<'_> {
        Request { body: body.into(), ..Request::new(self, Method::POST, address) }
    }

    /// Puts a part of a file at `address`, without the credential and whatever it takes: `watch` hears several times a
    /// second how many bytes have gone, and ends the exchange by [`ControlFlow::Break`].
    ///
    /// Errors: no answer came; nothing could be sent for as long as a body may stand still; the file cannot be read;
    /// [`HttpError::Stopped`]. An answer of any status is none.
    pub fn put_file(
        &self,
        address: &Address,
        part: FilePart,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Answer, HttpError> {
        let Limits { connect, idle, .. } = self.settings.limits;
        let (body, sent) = part.open().map_err(|error| HttpError::File(error.kind()))?;
        let request = self.inner.put(address.url().clone()).body(Body::wrap(body));
        let mut stall = Stall::new(part.length, idle);
        let response = runtime::wait(async {
            let mut answer = pin!(request.send());
            loop {
                if let Ok(answer) = tokio::time::timeout(TICK, answer.as_mut()).await {
                    return answer.map_err(|error| HttpError::of(&error, connect));
                }
                let sent = sent.load(Ordering::Relaxed);
                if watch(sent).is_break() {
                    return Err(HttpError::Stopped);
                }
                stall.check(sent)?;
            }
        })?;
        Ok(Answer::new(response, Clock { idle, end: None }))
    }

    /// A request that puts `body` at `address`.
    pub fn put(&self, address: Address, body: impl Into<Bytes>) -> Request<'_> {
        Request { body: body.into(), ..Request::new(self, Method::PUT, address) }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A request that is not sent yet.
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    address: Address,
    headers: HeaderMap,
    body: Bytes,
    is_anonymous: bool,
    redirects: Redirects,
    limits: Limits,
    unusable: Option<HttpError>,
}

impl<'a> Request<'a> {
    fn new(client: &'a Client, method: Method, address: Address) -> Self {
        let Settings { limits, redirects, .. } = client.settings;
        Self {
            client,
            method,
            address,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            is_anonymous: false,
            redirects,
            limits,
            unusable: None,
        }
    }

    /// With a header more. A secret belongs into the client's [`Credential`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.unusable = Some(HttpError::Header { name: name.escape_default().to_string() }),
        }
        self
    }

    /// Without the client's credential.
    pub fn anonymously(mut self) -> Self {
        self.is_anonymous = true;
        self
    }

    /// With another rule for redirects than the client's.
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// Done within `whole`, instead of the client's time limits; its limit for connecting stays.
    pub fn within(mut self, whole: Duration) -> Self {
        self.limits = Limits::whole(whole);
        self
    }

    /// Sends it and waits for the head of the answer.
    ///
    /// Errors: no answer came, or a redirect that is not to be followed. An answer of any status is none.
    pub fn send(self) -> Result<Answer, HttpError> {
        if let Some(unusable) = self.unusable {
            return Err(unusable);
        }
        let Limits { answer, idle, whole, .. } = self.limits;
        let clock = Clock { idle, end: whole.map(|whole| (Instant::now() + whole, whole)) };
        let response = runtime::wait(async { clock.within(Phase::Answer, answer, self.follow()).await })?;
        Ok(Answer::new(response, clock))
    }

    /// The answer at the end of all redirects that are followed.
    async fn follow(&self) -> Result<Response, HttpError> {
        let mut address = self.address.clone();
        let mut followed = 0;
        loop {
            let response = self.send_once(&address).await?;
            let Some(location) = self.followed_location(&response) else { return Ok(response) };
            if let Redirects::Followed { at_most } = self.redirects
                && followed >= at_most
            {
                return Err(HttpError::Redirect { why: "too many times" });
            }
            address = redirect::target(&address, &location)?;
            followed += 1;
        }
    }

    /// Where the answer leads, when this request follows it.
    fn followed_location(&self, response: &Response) -> Option<String> {
        let is_followed = matches!(self.redirects, Redirects::Followed { .. })
            && matches!(self.method, Method::GET | Method::HEAD)
            && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = response.headers().get(LOCATION).filter(|_| is_followed)?;
        Some(location.to_str().unwrap_or_default().to_owned())
    }

    async fn send_once(&self, address: &Address) -> Result<Response, HttpError> {
        let Client { inner, settings } = self.client;
        let origin = address.origin();
        let mut headers = self.headers.clone();
        if origin != self.address.origin() {
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        let credential = settings.credential.as_ref().filter(|_| !self.is_anonymous);
        if let Some((name, value)) = credential.and_then(|credential| credential.for_origin(&origin)) {
            headers.insert(name, value);
        }
        let mut request = inner.request(self.method.clone(), address.url().clone()).headers(headers);
        if !self.body.is_empty() || matches!(self.method, Method::POST | Method::PUT) {
            request = request.body(self.body.clone());
        }
        request.send().await.map_err(|error| HttpError::of(&error, settings.limits.connect))
    }
}

/// Notices that a body that is sent stands still.
struct Stall {
    length: u64,
    idle: Duration,
    sent: u64,
    since: Instant,
}

impl Stall {
    fn new(length: u64, idle: Duration) -> Self {
        Self { length, idle, sent: 0, since: Instant::now() }
    }

    /// Errors: nothing was sent for too long, or all of it and no answer came.
    fn check(&mut self, sent: u64) -> Result<(), HttpError> {
        if sent != self.sent {
            (self.sent, self.since) = (sent, Instant::now());
            return Ok(());
        }
        let (phase, limit) =
            if sent < self.length { (Phase::Sending, self.idle) } else { (Phase::Answer, STORING) };
        if self.since.elapsed() < limit { Ok(()) } else { Err(HttpError::TimedOut { phase, limit }) }
    }
}
