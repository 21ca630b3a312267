//! Requests to the Hub: time limits, repetitions, and what a refusal means.

use std::{io, time::Duration};

use hf_hub::{Repo, RepoType};
use serde::Deserialize;
use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{HeaderMap, Response, header},
};

use super::{
    error::{HubError, Result},
    model::Watch,
    refusal::Refusal,
    settings::HubSettings,
};

/// Repetitions after a failure that may pass.
pub(super) const REPETITIONS: u32 = 3;
/// The longest pause that is waited for; who asks for more is told to the user.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Redirects within the Hub, of a model that was renamed.
const REDIRECTS: usize = 5;
/// What the Hub says of a model.
#[derive(Debug, Deserialize)]
pub(super) struct ModelInfo {
    /// The commit that the revision stands for.
    pub(super) sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
}

impl ModelInfo {
    /// The names of its files.
    pub(super) fn into_listing(self) -> Vec<String> {
        self.siblings.into_iter().map(|sibling| sibling.rfilename).collect()
    }
}

/// What the Hub says of a file.
#[derive(Clone, Debug)]
pub(super) struct FileInfo {
    /// Name of its content: SHA-256 of what is stored apart, else git's object id.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
}

/// Asks the Hub about one model at one revision.
#[derive(Debug)]
pub(super) struct Client<'a> {
    agent: Agent,
    settings: &'a HubSettings,
    repo: Repo,
    id: &'a str,
}

impl<'a> Client<'a> {
    /// A client for the model `id` at `revision`.
    pub(super) fn new(settings: &'a HubSettings, id: &'a str, revision: &str) -> Self {
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Content moves to another host, which must not see the token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            // Compressed bytes can neither be counted nor resumed.
            .accept_encoding("identity")
            .user_agent(concat!("greentune/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(settings.answer_timeout))
            .timeout_connect(Some(settings.answer_timeout))
            .timeout_recv_response(Some(settings.answer_timeout))
            .timeout_per_read(Some(settings.read_timeout))
            .build();
        Self { agent: config.into(), settings, repo, id }
    }

    /// Which commit the revision stands for, and which files it has.
    pub(super) fn model_info(&self) -> Result<ModelInfo> {
        let url = format!("{}/api/{}", self.settings.endpoint, self.repo.api_url());
        let mut answer = self.get(&url, None)?;
        self.check(&mut answer, None)?;
        let read = answer.body_mut().with_config().limit(64 << 20).read_to_string();
        let text = read.map_err(|error| self.broken(error))?;
        let info: ModelInfo = serde_json::from_str(&text)
            .map_err(|error| HubError::BadAnswer { url: url.clone(), reason: error.to_string() })?;
        if super::cache::is_commit(&info.sha) {
            return Ok(info);
        }
        Err(HubError::BadAnswer { url, reason: format!("it names the commit {:?}", info.sha) })
    }

    /// What the Hub says of `file`, without fetching it. The redirect to where the content is stored is not followed:
    /// the answer before it is the one that knows the file.
    pub(super) fn file_info(&self, file: &str) -> Result<FileInfo> {
        let mut url = self.url(file);
        for _ in 0..REDIRECTS {
            let mut answer = self.head(&url)?;
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            if let Some(path) = location.filter(|to| answer.status().is_redirection() && to.starts_with('/'))
            {
                url = format!("{}{path}", origin(&self.settings.endpoint));
                continue;
            }
            self.check(&mut answer, Some(file))?;
            return file_info(answer.headers()).map_err(|missing| HubError::BadAnswer {
                url,
                reason: format!("{missing} is missing or impossible"),
            });
        }
        Err(HubError::BadAnswer { url, reason: String::from("it redirects in circles") })
    }

    /// The bytes of `file` from `start` on, or all of them when the server cannot begin there.
    pub(super) fn open(&self, file: &str, start: u64) -> Result<Response<Body>> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let mut answer = self.get(&self.url(file), range)?;
        // That there is nothing after `start` is for the caller to judge.
        if answer.status().as_u16() != 416 {
            self.check(&mut answer, Some(file))?;
        }
        Ok(answer)
    }

    /// Does `attempt`, again after a pause when its failure may pass, `repetitions` times at most.
    pub(super) fn patiently<T>(
        &self,
        watch: &Watch,
        repetitions: u32,
        mut attempt: impl FnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        let mut done = 0;
        loop {
            watch.check()?;
            match attempt(self) {
                Err(error) if done < repetitions && error.is_passing() => {
                    let Some(pause) = self.pause(&error, done) else { return Err(error) };
                    watch.sleep(pause)?;
                    done += 1;
                }
                result => return result,
            }
        }
    }

    /// How long to wait after `error`, before the repetition after `done` others; `None` when that is too long.
    pub(super) fn pause(&self, error: &HubError, done: u32) -> Option<Duration> {
        let own = self.settings.retry_delay * 2_u32.pow(done);
        let pause = match error {
            HubError::RateLimited { retry_after: Some(asked), .. } => (*asked).max(own),
            _ => own,
        };
        (pause <= LONGEST_PAUSE).then_some(pause)
    }

    /// What it means that reading an answer broke off.
    pub(super) fn broken(&self, error: impl Into<ureq::Error>) -> HubError {
        let endpoint = self.settings.endpoint.clone();
        match error.into() {
            ureq::Error::Timeout(limit) => HubError::Timeout { endpoint, what: limit.to_string() },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                HubError::Timeout { endpoint, what: error.to_string() }
            }
            error => HubError::Unreachable { endpoint, reason: error.to_string() },
        }
    }

    fn url(&self, file: &str) -> String {
        let file = file.replace(' ', "%20");
        let Self { settings, repo, .. } = self;
        format!("{}/{}/resolve/{}/{file}", settings.endpoint, repo.url(), repo.url_revision())
    }

    fn get(&self, url: &str, range: Option<String>) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.settings.token {
            request = request.header(header::AUTHORIZATION, token.authorization());
        }
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        request.call().map_err(|error| self.broken(error))
    }

    fn head(&self, url: &str) -> Result<Response<Body>> {
        let request = self.agent.head(url).config().max_redirects(0).max_redirects_will_error(false).build();
        let request = match &self.settings.token {
            Some(token) => request.header(header::AUTHORIZATION, token.authorization()),
            None => request,
        };
        request.call().map_err(|error| self.broken(error))
    }

    /// Nothing when `answer` is what was asked for, else what it means.
    fn check(&self, answer: &mut Response<Body>, file: Option<&str>) -> Result<()> {
        if answer.status().as_u16() < 400 {
            return Ok(());
        }
        Err(Refusal::read(answer).means(self.settings, self.id, self.repo.revision(), file))
    }
}

/// The file in the headers, or the name of the header that is missing.
fn file_info(headers: &HeaderMap) -> Result<FileInfo, &'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text("x-linked-etag").or_else(|| text("etag")).ok_or("ETag")?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    // It becomes the name of a file.
    if !super::files::is_plain(&etag) {
        return Err("ETag");
    }
    let size = text("x-linked-size").or_else(|| text("content-length")).ok_or("Content-Length")?;
    Ok(FileInfo { etag, size: size.parse().map_err(|_| "Content-Length")? })
}

/// The scheme and host of `url`.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    url[after_scheme..].find('/').map_or(url, |slash| &url[..after_scheme + slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_content_is_the_one_that_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(file_info(&headers).unwrap_err(), "ETag");
        headers.insert("etag", "W/\"abc\"".parse().unwrap());
        assert_eq!(file_info(&headers).unwrap_err(), "Content-Length");
        headers.insert("content-length", "12".parse().unwrap());
        let info = file_info(&headers).unwrap();
        assert_eq!((info.etag.as_str(), info.size), ("abc", 12));
        headers.insert("x-linked-etag", "\"def\"".parse().unwrap());
        headers.insert("x-linked-size", "3000".parse().unwrap());
        let info = file_info(&headers).unwrap();
        assert_eq!((info.etag.as_str(), info.size), ("def", 3000));
        headers.insert("x-linked-etag", "\"../x\"".parse().unwrap());
        assert_eq!(file_info(&headers).unwrap_err(), "ETag");
    }

    #[test]
    fn the_origin_is_scheme_and_host() {
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(origin("https://mirror.example/hf"), "https://mirror.example");
    }
}
