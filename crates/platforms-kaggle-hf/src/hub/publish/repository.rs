//! The Hub's interface for writing to a repository.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use greentune_http_client::{Address, Answer, Client as Http, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Visibility,
    files::{LONGEST_REGULAR, LocalFile, Plan, UploadMode},
    permission::Holder,
};
use crate::hub::{
    client::{self, REPETITIONS},
    error::{HubError, Result},
    refusal::Refusal,
    settings::HubSettings,
    watch::TransferControl,
};

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 64 << 20;
/// The branch that is written to.
const BRANCH: &str = "main";

/// A repository that is written to.
pub(super) struct Repository<'a> {
    pub(super) http: Http,
    pub(super) settings: &'a HubSettings,
    pub(super) watch: &'a TransferControl<'a>,
    pub(super) id: &'a str,
}

/// A repository that is there.
pub(super) struct Found {
    /// Its newest commit, where it was there before.
    pub(super) commit: Option<String>,
    pub(super) visibility: Visibility,
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    private: bool,
    sha: Option<String>,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<PreuploadFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreuploadFile {
    path: String,
    upload_mode: String,
    oid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

impl<'a> Repository<'a> {
    pub(super) fn new(
        settings: &'a HubSettings,
        id: &'a str,
        watch: &'a TransferControl<'a>,
    ) -> Result<Self> {
        let http = client::http(settings).map_err(|error| client::failed(settings, &error))?;
        Ok(Self { http, settings, watch, id })
    }

    /// Makes the repository where there is none.
    ///
    /// Errors: everybody sees it though `visibility` is private; it may not be made or looked at.
    pub(super) fn make_or_find(&self, visibility: Visibility) -> Result<Found> {
        let about = match self.about() {
            Err(HubError::RepoNotFound { .. }) => {
                if self.make(visibility)? {
                    return Ok(Found { commit: None, visibility });
                }
                self.about()?
            }
            about => about?,
        };
        self.check_is_private(visibility, &about)?;
        let visibility = if about.private { Visibility::Private } else { Visibility::Public };
        Ok(Found { commit: about.sha, visibility })
    }

    /// Errors: the repository is there, and everybody sees it though `visibility` is private; it may not be looked at.
    pub(super) fn check_visibility(&self, visibility: Visibility) -> Result<()> {
        match self.about() {
            Err(HubError::RepoNotFound { .. }) => Ok(()),
            about => self.check_is_private(visibility, &about?),
        }
    }

    fn check_is_private(&self, visibility: Visibility, about: &About) -> Result<()> {
        if visibility == Visibility::Public || about.private {
            return Ok(());
        }
        let (id, endpoint) = (self.id.to_owned(), self.settings.endpoint.clone());
        Err(HubError::IsPublic { id, endpoint })
    }

    /// Who the token belongs to; nothing where the Hub does not say. It lets that be asked seldom.
    ///
    /// Errors: it does not know the token, or cannot be reached.
    pub(super) fn holder(&self) -> Result<Option<Holder>> {
        let url = self.api("whoami-v2");
        self.patiently(|| {
            let answer = self.send(self.http.get(self.address(&url)?))?;
            if answer.is_success() {
                return self.read(&url, answer).map(Some);
            }
            Refusal::read(answer).of_asking_who(self.settings).map_or(Ok(None), Err)
        })
    }

    fn about(&self) -> Result<About> {
        let url = self.api(&format!("models/{}", self.id));
        self.patiently(|| {
            let answer = self.send(self.http.get(self.address(&url)?))?;
            if answer.status() >= 400 {
                return Err(Refusal::read(answer).of_looking(self.settings, self.id));
            }
            self.read(&url, answer)
        })
    }

    /// Whether it was made; somebody may have been faster.
    fn make(&self, visibility: Visibility) -> Result<bool> {
        let (owner, name) = self.id.split_once('/').unwrap_or(("", self.id));
        let visibility = match visibility {
            Visibility::Private => "private",
            Visibility::Public => "public",
        };
        let body = json!({ "name": name, "organization": owner, "visibility": visibility });
        let answer = self.patiently(|| {
            let request = self.http.post(self.address(&self.api("repos/create"))?, body.to_string());
            let answer = self.send(request.header("content-type", "application/json"))?;
            if answer.status() == 409 { Ok(None) } else { self.check(answer).map(Some) }
        })?;
        Ok(answer.is_some())
    }

    /// How the Hub wants each of `files`, and which of them it has.
    pub(super) fn plan(&self, files: Vec<LocalFile>) -> Result<Vec<Plan>> {
        let url = self.api(&format!("models/{}/preupload/{BRANCH}", self.id));
        let told: Vec<Value> = files
            .iter()
            .map(|file| {
                let sample = BASE64_STANDARD.encode(&file.sample);
                json!({ "path": file.name, "sample": sample, "size": file.bytes })
            })
            .collect();
        let body = json!({ "files": told }).to_string();
        let Preupload { files: wanted } = self.ask(&url, "application/json", &body)?;
        let plan = |file: LocalFile| {
            let about = wanted.iter().find(|about| about.path == file.name);
            let about = about.ok_or_else(|| bad_answer(&url, format!("it says nothing of {}", file.name)))?;
            let mode = match about.upload_mode.as_str() {
                // A store of objects takes no empty ones.
                _ if file.bytes == 0 => UploadMode::Regular,
                "regular" if file.bytes > LONGEST_REGULAR => {
                    let why = format!("it wants the {} bytes of {} within the commit", file.bytes, file.name);
                    return Err(bad_answer(&url, why));
                }
                "regular" => UploadMode::Regular,
                "lfs" => UploadMode::Lfs,
                mode => return Err(bad_answer(&url, format!("it knows the way {mode:?}"))),
            };
            file.planned(mode, about.oid.as_deref())
        };
        files.into_iter().map(plan).collect()
    }

    /// Makes the files visible; the commit.
    pub(super) fn commit(&self, title: &str, plans: &[Plan]) -> Result<String> {
        let url = self.api(&format!("models/{}/commit/{BRANCH}", self.id));
        let mut body =
            json!({ "key": "header", "value": { "summary": title, "description": "" } }).to_string();
        for Plan { file, mode, .. } in plans {
            let operation = match mode {
                UploadMode::Regular => {
                    let content = BASE64_STANDARD.encode(file.content()?);
                    json!({ "key": "file", "value": { "content": content, "path": file.name, "encoding": "base64" } })
                }
                UploadMode::Lfs => {
                    json!({ "key": "lfsFile", "value": { "path": file.name, "algo": "sha256", "oid": file.sha256, "size": file.bytes } })
                }
            };
            body.push('\n');
            body.push_str(&operation.to_string());
        }
        body.push('\n');
        // Not sent again by itself: the Hub may have made the commit though its answer was lost.
        self.watch.check()?;
        let request = self.http.post(self.address(&url)?, body);
        let answer = self.check(self.send(request.header("content-type", "application/x-ndjson"))?)?;
        let Committed { commit_oid } = self.read(&url, answer)?;
        Ok(commit_oid)
    }

    /// The answer to `body` at `url`.
    pub(super) fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        url: &str,
        content_type: &str,
        body: &str,
    ) -> Result<T> {
        self.patiently(|| {
            let request = self.http.post(self.address(url)?, body.to_owned());
            let request = request.header("content-type", content_type).header("accept", content_type);
            self.read(url, self.check(self.send(request)?)?)
        })
    }

    /// Does `attempt`, again after a pause when its failure may pass.
    pub(super) fn patiently<T>(&self, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        client::with_retries(self.settings, self.watch, REPETITIONS, attempt)
    }

    pub(super) fn address(&self, url: &str) -> Result<Address> {
        Address::parse(url).map_err(|error| client::failed(self.settings, &error))
    }

    pub(super) fn send(&self, request: Request) -> Result<Answer> {
        request.send().map_err(|error| client::failed(self.settings, &error))
    }

    /// `answer` when it is one of success, else what it means for somebody who writes.
    pub(super) fn check(&self, answer: Answer) -> Result<Answer> {
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(Refusal::read(answer).of_writing(self.settings, self.id))
        }
    }

    fn api(&self, path: &str) -> String {
        format!("{}/api/{path}", self.settings.endpoint)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, url: &str, answer: Answer) -> Result<T> {
        let text = answer.text(LONGEST_ANSWER).map_err(|error| client::failed(self.settings, &error))?;
        serde_json::from_str(&text).map_err(|error| bad_answer(url, error.to_string()))
    }
}

/// An answer that is none of the Hub's.
pub(super) fn bad_answer(url: &str, reason: String) -> HubError {
    HubError::BadAnswer { url: url.to_owned(), reason }
}
