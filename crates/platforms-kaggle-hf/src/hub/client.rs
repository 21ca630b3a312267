//! Requests to the Hub: time limits, repetitions, and what a refusal means.

use std::time::Duration;

use greentune_http_client::{
    Address, Answer, Backoff, Client as Http, Credential, HttpError, Limits, Redirects, Request, Settings,
    jittered,
};
use hf_hub::{Repo, RepoType};
use serde::Deserialize;

use super::{
    error::{HubError, Result},
    refusal::Refusal,
    settings::HubSettings,
    watch::TransferControl,
};

/// Repetitions after a failure that may pass.
pub(super) const REPETITIONS: u32 = 3;
/// The longest pause. If the Hub asks for a longer one, the user is told.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Redirects within the Hub, of a model that was renamed.
const REDIRECTS: usize = 5;
/// Redirects to where content is stored.
const REDIRECTS_TO_CONTENT: u32 = 10;
/// Longest description of a model, in bytes.
const LONGEST_DESCRIPTION: u64 = 64 << 20;

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
    http: Http,
    settings: &'a HubSettings,
    repo: Repo,
    id: &'a str,
}

impl<'a> Client<'a> {
    /// A client for the model `id` at `revision`.
    ///
    /// Errors: the endpoint is no address, or the token is none that can be sent.
    pub(super) fn new(settings: &'a HubSettings, id: &'a str, revision: &str) -> Result<Self> {
        let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
        let http = http(settings).map_err(|error| failed(settings, &error))?;
        Ok(Self { http, settings, repo, id })
    }

    /// Which commit the revision stands for, and which files it has.
    pub(super) fn model_info(&self) -> Result<ModelInfo> {
        let Self { settings, id, .. } = self;
        let url = format!("{}/api/models/{id}/revision/{}", settings.endpoint, self.revision_in_url());
        let answer = self.check(self.get(&url, None)?, None)?;
        let text = answer.text(LONGEST_DESCRIPTION).map_err(|error| self.failed(&error))?;
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
            let answer = self.head(&url)?;
            let location = answer.header("location").filter(|to| answer.is_redirect() && to.starts_with('/'));
            if let Some(path) = location {
                url = format!("{}{path}", origin(&self.settings.endpoint));
                continue;
            }
            let answer = self.check(answer, Some(file))?;
            return file_info(|name| answer.header(name)).map_err(|missing| HubError::BadAnswer {
                url,
                reason: format!("{missing} is missing or impossible"),
            });
        }
        Err(HubError::BadAnswer { url, reason: String::from("it redirects in circles") })
    }

    /// The bytes of `file` from `start` on, or all of them when the server cannot begin there.
    pub(super) fn open(&self, file: &str, start: u64) -> Result<Answer> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let answer = self.get(&self.url(file), range)?;
        // That there is nothing after `start` is for the caller to judge.
        if answer.status() == 416 { Ok(answer) } else { self.check(answer, Some(file)) }
    }

    /// Does `attempt`, again after a pause when its failure may pass, `repetitions` times at most.
    pub(super) fn with_retries<T>(
        &self,
        watch: &TransferControl,
        repetitions: u32,
        mut attempt: impl FnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        with_retries(self.settings, watch, repetitions, || attempt(self))
    }

    /// How long to wait after `error`, before the repetition after `done` others; `None` when that is too long.
    pub(super) fn pause(&self, error: &HubError, done: u32) -> Option<Duration> {
        pause(self.settings, error, done)
    }

    /// What it means that there is no answer, or no more of it.
    pub(super) fn failed(&self, error: &HttpError) -> HubError {
        failed(self.settings, error)
    }

    fn url(&self, file: &str) -> String {
        let file = file.replace(' ', "%20");
        let Self { settings, id, .. } = self;
        format!("{}/{id}/resolve/{}/{file}", settings.endpoint, self.revision_in_url())
    }

    /// A branch's name may hold slashes.
    fn revision_in_url(&self) -> String {
        self.repo.revision().replace('/', "%2F")
    }

    fn get(&self, url: &str, range: Option<String>) -> Result<Answer> {
        let request = self.http.get(self.address(url)?);
        self.send(match range {
            Some(range) => request.header("range", &range),
            None => request,
        })
    }

    fn head(&self, url: &str) -> Result<Answer> {
        self.send(self.http.head(self.address(url)?).redirects(Redirects::HandedBack))
    }

    fn address(&self, url: &str) -> Result<Address> {
        Address::parse(url).map_err(|error| self.failed(&error))
    }

    fn send(&self, request: Request) -> Result<Answer> {
        // Compressed bytes can neither be counted nor resumed.
        request.header("accept-encoding", "identity").send().map_err(|error| self.failed(&error))
    }

    /// `answer` when it is what was asked for, else what it means.
    fn check(&self, answer: Answer, file: Option<&str>) -> Result<Answer> {
        if answer.status() < 400 {
            return Ok(answer);
        }
        Err(Refusal::read(answer).into_error(self.settings, self.id, self.repo.revision(), file))
    }
}

/// Does `attempt`, again after a pause when its failure may pass, `repetitions` times at most.
pub(super) fn with_retries<T>(
    settings: &HubSettings,
    watch: &TransferControl,
    repetitions: u32,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut done = 0;
    loop {
        watch.check()?;
        match attempt() {
            Err(error) if done < repetitions && error.is_passing() => {
                let Some(pause) = pause(settings, &error, done) else { return Err(error) };
                watch.sleep(pause)?;
                done += 1;
            }
            result => return result,
        }
    }
}

/// How long to wait after `error`, before the repetition after `done` others; `None` when that is too long.
fn pause(settings: &HubSettings, error: &HubError, done: u32) -> Option<Duration> {
    let backoff = Backoff { first: settings.retry_delay, longest: LONGEST_PAUSE };
    let asked = match error {
        HubError::RateLimited { retry_after, .. } => *retry_after,
        _ => None,
    };
    let pause = backoff.pause(done, asked);
    (pause <= LONGEST_PAUSE).then(|| jittered(pause))
}

/// The client for the Hub of `settings`.
pub(super) fn http(settings: &HubSettings) -> Result<Http, HttpError> {
    let address = Address::parse(&settings.endpoint)?;
    let token = settings.token.as_ref();
    let credential = token.map(|token| Credential::new("authorization", &token.authorization(), &address));
    Http::new(Settings {
        limits: Limits {
            connect: settings.answer_timeout,
            // The connection comes before the answer and has its own time.
            answer: settings.answer_timeout * 2,
            idle: settings.read_timeout,
            whole: None,
        },
        redirects: Redirects::Followed { at_most: REDIRECTS_TO_CONTENT },
        credential: credential.transpose()?,
        proxy: settings.proxy.clone(),
    })
}

/// What it means that there is no answer, or no more of it.
pub(super) fn failed(settings: &HubSettings, error: &HttpError) -> HubError {
    let (endpoint, reason) = (settings.endpoint.clone(), error.to_string());
    match error {
        HttpError::TimedOut { .. } => HubError::Timeout { endpoint, what: reason },
        HttpError::InClear { .. } => {
            let source_name = settings.token.as_ref().map(|token| token.source().to_owned());
            HubError::InClear { endpoint, source_name: source_name.unwrap_or_default() }
        }
        HttpError::Redirect { .. } => HubError::BadAnswer { url: endpoint, reason },
        _ => HubError::Unreachable { endpoint, reason },
    }
}

/// The file in the headers, or the name of the header that is missing.
fn file_info<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<FileInfo, &'static str> {
    let etag = header("x-linked-etag").or_else(|| header("etag")).ok_or("ETag")?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    // It becomes the name of a file.
    if !super::files::is_plain(&etag) {
        return Err("ETag");
    }
    let size = header("x-linked-size").or_else(|| header("content-length")).ok_or("Content-Length")?;
    Ok(FileInfo { etag, size: size.parse().map_err(|_| "Content-Length")? })
}

/// The scheme and host of `url`.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    url[after_scheme..].find('/').map_or(url, |slash| &url[..after_scheme + slash])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_linked_content_is_the_one_that_counts() {
        let mut headers = BTreeMap::new();
        let info = |headers: &BTreeMap<&str, &'static str>| file_info(|name| headers.get(name).copied());
        assert_eq!(info(&headers).unwrap_err(), "ETag");
        headers.insert("etag", "W/\"abc\"");
        assert_eq!(info(&headers).unwrap_err(), "Content-Length");
        headers.insert("content-length", "12");
        let plain = info(&headers).unwrap();
        assert_eq!((plain.etag.as_str(), plain.size), ("abc", 12));
        headers.insert("x-linked-etag", "\"def\"");
        headers.insert("x-linked-size", "3000");
        let linked = info(&headers).unwrap();
        assert_eq!((linked.etag.as_str(), linked.size), ("def", 3000));
        headers.insert("x-linked-etag", "\"../x\"");
        assert_eq!(info(&headers).unwrap_err(), "ETag");
    }

    #[test]
    fn the_origin_is_scheme_and_host() {
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(origin("https://mirror.example/hf"), "https://mirror.example");
    }
}
