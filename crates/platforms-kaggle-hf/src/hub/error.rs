//! What can go wrong between here and the Hub.

use std::{io, path::PathBuf, time::Duration};

use greentune_core_config::{Diagnostic, FileFault, Problem, ProblemKind};

/// Result of a call to the Hub.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// What can go wrong between here and the Hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// An id or a revision that cannot be one.
    #[error("{0}")]
    Invalid(Box<Problem>),
    /// The Hub requires a login.
    #[error("{endpoint} shows {id} only to those who log in, and no token was found")]
    LoginNeeded {
        /// The model.
        id: String,
        /// The Hub.
        endpoint: String,
    },
    /// The Hub does not know the token.
    #[error("{endpoint} does not accept the token from {source_name}")]
    TokenRefused {
        /// Where the token came from.
        source_name: String,
        /// The Hub.
        endpoint: String,
    },
    /// The token would go over plain http to another machine.
    #[error("{endpoint} would get the token from {source_name} over plain http, where others can read it")]
    InClear {
        /// Where the token came from.
        source_name: String,
        /// The Hub.
        endpoint: String,
    },
    /// The model's licence has to be accepted first.
    #[error("{id} is gated: its owners give it to those who accepted its conditions")]
    Gated {
        /// The model.
        id: String,
        /// The model's page.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The token is known and not allowed to do this.
    #[error("{endpoint} does not allow reading {id}{}", said(reason))]
    Forbidden {
        /// The model.
        id: String,
        /// The Hub.
        endpoint: String,
        /// What the Hub said.
        reason: String,
    },
    /// No such model, or one that is hidden.
    #[error("{endpoint} has no model {id}, or does not show it")]
    RepoNotFound {
        /// The model.
        id: String,
        /// The Hub.
        endpoint: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// The model has no such branch, tag or commit.
    #[error("{id} has no revision {revision}")]
    RevisionNotFound {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
    },
    /// The model has no such file.
    #[error("{id} has no file {file} at the revision {revision}")]
    EntryNotFound {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// The revision.
        revision: String,
    },
    /// The Hub asks to slow down.
    #[error("{endpoint} asks to slow down{}", retry_after.map_or_else(String::new, |wait| format!(": try again in {} s", wait.as_secs())))]
    RateLimited {
        /// The Hub.
        endpoint: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing came in time.
    #[error("{endpoint} did not answer in time ({what})")]
    Timeout {
        /// The Hub.
        endpoint: String,
        /// What was waited for.
        what: String,
    },
    /// No connection, or one that broke.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// The Hub.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The Hub has a problem of its own.
    #[error("{endpoint} failed with status {status}{}", said(reason))]
    ServerFailed {
        /// The Hub.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// What the Hub said.
        reason: String,
    },
    /// An answer that is not the Hub's.
    #[error("{url} does not answer as the Hub does: {reason}")]
    BadAnswer {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The connection broke again and again.
    #[error("the download of {file} broke off at {done} of {total} bytes: {reason}")]
    Cut {
        /// The file.
        file: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// What broke it last.
        reason: String,
    },
    /// What came is not what was promised; it is removed.
    #[error("{file} of {id} came damaged ({reason}) and was removed")]
    Damaged {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// How that was seen.
        reason: String,
    },
    /// Weights in other formats alone.
    #[error("{id} has no *.safetensors weights{}", others_words(others))]
    NoSafetensors {
        /// The model.
        id: String,
        /// Weights that it has.
        others: Vec<String>,
    },
    /// A file without which the model cannot be trained.
    #[error("{id} has no {file}")]
    FileMissing {
        /// The model.
        id: String,
        /// The file.
        file: String,
    },
    /// Without network, and not in the cache.
    #[error("{id} at {revision} is not complete in the cache {}, and HF_HUB_OFFLINE is set", cache.display())]
    NotCached {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
        /// The cache.
        cache: PathBuf,
    },
    /// Another process downloads the same file and makes no progress.
    #[error("another process holds {} and makes no progress", lock.display())]
    Locked {
        /// The lock's file.
        lock: PathBuf,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No id of a repository that somebody owns.
    #[error("found {id:?}; allowed: the owner and the name of a repository, such as ada/my-model")]
    RepositoryId {
        /// What was given.
        id: String,
    },
    /// The network must not be used.
    #[error("nothing can be sent to {id} while HF_HUB_OFFLINE is set")]
    OfflineUpload {
        /// The repository.
        id: String,
    },
    /// Nobody writes to the Hub without a token.
    #[error("{endpoint} lets nobody write to {id} without a token, and no token was found")]
    NoTokenToWrite {
        /// The repository.
        id: String,
        /// The Hub.
        endpoint: String,
    },
    /// The token is known and may not write there.
    #[error("{endpoint} does not let the token from {source_name} write to {id}{}", said(reason))]
    WriteForbidden {
        /// The repository.
        id: String,
        /// The Hub.
        endpoint: String,
        /// Where the token came from.
        source_name: String,
        /// What the Hub said.
        reason: String,
    },
    /// Everybody sees the repository.
    #[error("everybody can see {id} on {endpoint}, and the upload is to be private")]
    IsPublic {
        /// The repository.
        id: String,
        /// The Hub.
        endpoint: String,
    },
    /// Somebody else wrote at the same time.
    #[error("somebody else changed {id} meanwhile{}", said(reason))]
    ChangedMeanwhile {
        /// The repository.
        id: String,
        /// What the Hub said.
        reason: String,
    },
    /// The connection broke again and again.
    #[error("the upload of {file} broke off at {done} of {total} bytes: {reason}")]
    UploadCut {
        /// The file.
        file: String,
        /// Bytes that had gone.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// What broke it last.
        reason: String,
    },
    /// An upload failed in a way that may pass.
    #[error("{0}")]
    NotUploaded(Box<HubError>),
    /// Ended on request.
    #[error("the transfer of {0} was stopped")]
    Cancelled(String),
}

impl HubError {
    /// A failed `action` on `path`, for `map_err`.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// The error, when it was met on the way of an upload.
    pub(super) fn while_uploading(self) -> Self {
        if self.is_passing() { Self::NotUploaded(Box::new(self)) } else { self }
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Timeout { .. }
                | Self::Unreachable { .. }
                | Self::ServerFailed { .. }
        )
    }

    fn class(&self) -> (ProblemKind, &'static str) {
        use ProblemKind::{
            Cancelled, Conflict, Credentials, InvalidInput, NotFound, RateLimited, Unavailable, Unsupported,
        };
        match self {
            Self::Invalid(_) => (InvalidInput, "model.id"),
            Self::LoginNeeded { .. } | Self::NoTokenToWrite { .. } => (Credentials, "hub.login_needed"),
            Self::TokenRefused { .. } => (Credentials, "hub.token_refused"),
            Self::InClear { .. } => (Credentials, "hub.token_in_clear"),
            Self::Gated { .. } => (Credentials, "hub.gated"),
            Self::Forbidden { .. } => (Credentials, "hub.forbidden"),
            Self::RepoNotFound { .. } => (NotFound, "hub.model_unknown"),
            Self::RevisionNotFound { .. } => (NotFound, "hub.revision_unknown"),
            Self::EntryNotFound { .. } => (NotFound, "hub.file_unknown"),
            Self::RateLimited { .. } => (RateLimited, "hub.rate_limited"),
            Self::Timeout { .. } => (Unavailable, "hub.timeout"),
            Self::Unreachable { .. } => (Unavailable, "hub.unreachable"),
            Self::ServerFailed { .. } => (Unavailable, "hub.failed"),
            Self::BadAnswer { .. } => (Unavailable, "hub.bad_answer"),
            Self::Cut { .. } => (Unavailable, "hub.cut"),
            Self::Damaged { .. } => (Unavailable, "hub.damaged"),
            Self::NoSafetensors { .. } => (Unsupported, "hub.no_safetensors"),
            Self::FileMissing { .. } => (Unsupported, "hub.file_missing"),
            Self::NotCached { .. } | Self::OfflineUpload { .. } => (Unavailable, "hub.offline"),
            Self::Locked { .. } => (Conflict, "hub.locked"),
            Self::File { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
            Self::Cancelled(_) => (Cancelled, "hub.cancelled"),
            Self::NotUploaded(error) => error.class(),
            Self::RepositoryId { .. } => (InvalidInput, "hub.repository_id"),
            Self::WriteForbidden { .. } => (Credentials, "hub.write_forbidden"),
            Self::IsPublic { .. } => (Conflict, "hub.is_public"),
            Self::ChangedMeanwhile { .. } => (Conflict, "hub.changed_meanwhile"),
            Self::UploadCut { .. } => (Unavailable, "hub.upload_cut"),
        }
    }

    fn hint(&self) -> Option<String> {
        const LOG_IN: &str = "make a token at https://huggingface.co/settings/tokens (read access is enough) and set HF_TOKEN, or run `hf auth login`";
        const WRITE_TOKEN: &str = "make a token with write access at https://huggingface.co/settings/tokens and set HF_TOKEN, or run `hf auth login`";
        const OTHER_WAYS: &str = "try again later, name a mirror in HF_ENDPOINT, or set base_model.local_path to a folder with the model";
        const GOES_ON: &str = "try again: the transfer continues where it stopped";
        Some(match self {
            Self::LoginNeeded { .. } => LOG_IN.to_owned(),
            Self::TokenRefused { source_name, .. } => {
                format!(
                    "renew the token in {source_name}, or take it away for models that are public: {LOG_IN}"
                )
            }
            Self::InClear { .. } => {
                "set HF_ENDPOINT to an address of https, or send no token: HF_HUB_DISABLE_IMPLICIT_TOKEN=1"
                    .to_owned()
            }
            Self::Gated { page, has_token: true, .. } => {
                format!(
                    "accept its conditions at {page} with the account whose token this is, then try again"
                )
            }
            Self::Gated { page, has_token: false, .. } => {
                format!("accept its conditions at {page}, then {LOG_IN}")
            }
            Self::Forbidden { .. } => {
                "give the token read access to this model, or take another token".to_owned()
            }
            Self::RepoNotFound { has_token: true, .. } => {
                "check base_model.model_id; a private model needs a token of somebody who may see it"
                    .to_owned()
            }
            Self::RepoNotFound { has_token: false, .. } => {
                format!("check base_model.model_id; if it is private or gated: {LOG_IN}")
            }
            Self::RevisionNotFound { .. } => {
                "check base_model.revision: a branch, a tag or a commit".to_owned()
            }
            Self::EntryNotFound { .. } => "check base_model.revision, or choose another model".to_owned(),
            Self::RateLimited { .. } => "wait, or log in: those with a token may ask more often".to_owned(),
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::ServerFailed { .. } => {
                OTHER_WAYS.to_owned()
            }
            Self::BadAnswer { .. } => {
                "check HF_ENDPOINT, and whether a proxy or a login page stands in between".to_owned()
            }
            Self::Cut { .. } | Self::Cancelled(_) => GOES_ON.to_owned(),
            Self::Damaged { .. } => "try again: it is fetched anew".to_owned(),
            Self::NoSafetensors { .. } => {
                "choose a model with safetensors, or convert its weights and set base_model.local_path"
                    .to_owned()
            }
            Self::FileMissing { .. } => {
                "choose a model that has it, or complete it in a folder and set base_model.local_path"
                    .to_owned()
            }
            Self::NotCached { .. } => {
                "unset HF_HUB_OFFLINE once to download it, or set base_model.local_path".to_owned()
            }
            Self::Locked { .. } => "wait for the other download, or end it".to_owned(),
            Self::File { source, .. } => match FileFault::of(source) {
                FileFault::DiskFull => {
                    format!("free some space, or name a folder on another disk in HF_HOME; {GOES_ON}")
                }
                _ => "HF_HOME names the folder of the cache: it must be writable".to_owned(),
            },
            Self::NoTokenToWrite { .. } => WRITE_TOKEN.to_owned(),
            Self::WriteForbidden { id, .. } => {
                let owner = id.split('/').next().unwrap_or_default();
                format!("name a repository of your own, or take a token of somebody who may write to those of {owner}: {WRITE_TOKEN}")
            }
            Self::IsPublic { .. } => {
                "choose a public upload if everybody may see it, another repository, or make this one private in its settings".to_owned()
            }
            Self::OfflineUpload { .. } => "unset HF_HUB_OFFLINE".to_owned(),
            Self::ChangedMeanwhile { .. } => "try again: what was sent is not sent again".to_owned(),
            Self::NotUploaded(_) | Self::UploadCut { .. } => {
                "try again: files that arrived are not sent again".to_owned()
            }
            Self::RepositoryId { .. } | Self::Invalid(_) => return None,
        })
    }

    /// The setting that it is about.
    fn key(&self) -> Option<&'static str> {
        match self {
            Self::RevisionNotFound { .. } | Self::EntryNotFound { .. } => Some("base_model.revision"),
            Self::RepoNotFound { .. }
            | Self::Gated { .. }
            | Self::LoginNeeded { .. }
            | Self::Forbidden { .. }
            | Self::NoSafetensors { .. }
            | Self::FileMissing { .. }
            | Self::NotCached { .. } => Some("base_model.model_id"),
            _ => None,
        }
    }
}

impl Diagnostic for HubError {
    fn problem(&self) -> Problem {
        if let Self::Invalid(problem) = self {
            return (**problem).clone();
        }
        let (kind, code) = self.class();
        let mut problem = Problem::new(kind, code, self.to_string());
        problem.hint = self.hint();
        match self.key() {
            Some(key) => problem.at_key(key),
            None => problem,
        }
    }
}

impl From<Problem> for HubError {
    fn from(problem: Problem) -> Self {
        Self::Invalid(Box::new(problem))
    }
}

fn said(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn others_words(others: &[String]) -> String {
    if others.is_empty() { String::new() } else { format!(", only {}", others.join(", ")) }
}
