//! The same request sent twice makes one run.
//!
//! A run that a request made keeps the request's key in `request.json` of its folder. The key is the caller's, or one
//! derived from what was asked for.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use greentune_core_config::{
    Problem, ProblemKind,
    layout::{ProjectLayout, RunLayout},
    manifest::RunStatus,
};
use greentune_run_folder::json;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, inputs::sha256_of_text, job_store::runs_of};

/// How long a request without a key of its caller's counts as the same as one before.
const SAME_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// A request that makes a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentRequest {
    /// What tells it from other requests.
    pub key: String,
    /// Whether the caller gave the key.
    is_given: bool,
    /// SHA-256 of what was asked for.
    content: String,
    /// When it was sent.
    at: Timestamp,
}

impl SentRequest {
    /// The request for `content` with the caller's `key`, or with one derived from the content.
    ///
    /// Errors: a key that is empty or too long.
    pub(crate) fn new(key: Option<&str>, content: &impl Serialize) -> Result<Self> {
        let content = serde_json::to_string(content)
            .map_err(|error| WorkbenchError::Internal(format!("a request cannot be JSON: {error}")))?;
        let content = sha256_of_text(&content);
        if let Some(key) = key.filter(|key| key.trim().is_empty() || key.len() > LONGEST_KEY) {
            return Err(WorkbenchError::InvalidValue {
                key: "idempotency_key",
                found: format!("{} bytes", key.trim().len()),
                allowed: format!("1 to {LONGEST_KEY} bytes, such as a UUID"),
            });
        }
        let derived = || format!("derived-{content}");
        let (key, is_given) = (key.map_or_else(derived, str::to_owned), key.is_some());
        Ok(Self { key, is_given, content, at: Timestamp::now() })
    }

    /// The request that made or started `run`, when one is known.
    pub(crate) fn of(run: &RunLayout) -> Option<Self> {
        json::read(&file(run)).ok()
    }

    /// Keeps it in the folder of the run that it made.
    pub(crate) fn keep(&self, run: &RunLayout) -> Result<()> {
        Ok(json::write(&file(run), self)?)
    }
}

/// What a run's folder says of the request that made or started it.
pub(crate) struct Kept(Option<SentRequest>);

impl Kept {
    /// That of `run` now.
    pub(crate) fn of(run: &RunLayout) -> Self {
        Self(SentRequest::of(run))
    }

    /// Puts it back.
    pub(crate) fn restore(&self, run: &RunLayout) -> Result<()> {
        match &self.0 {
            Some(request) => request.keep(run),
            None => match fs::remove_file(file(run)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(WorkbenchError::file("remove", file(run))(error))
                }
                _ => Ok(()),
            },
        }
    }
}

/// The key of the request that made or started `run`, when it has one.
pub(crate) fn key_of(run: &RunLayout) -> Option<String> {
    Some(SentRequest::of(run)?.key)
}

impl Workbench {
    /// While it is held no other process looks for a run of a request, or makes one.
    pub(crate) fn lock_requests(&self) -> Result<File> {
        let home = &self.config().home;
        fs::create_dir_all(home).map_err(WorkbenchError::file("create", home))?;
        let path = home.join("requests.lock");
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(WorkbenchError::file("open", &path))?;
        file.lock().map_err(WorkbenchError::file("lock", path))?;
        Ok(file)
    }

    /// The run of `project` that the same request made before: with the same key of the caller's whenever that was, else
    /// a short time ago and not ended yet.
    ///
    /// Errors: the caller's key was given to another request.
    pub(crate) fn made_before(
        &self,
        project: &ProjectLayout,
        sent: &SentRequest,
    ) -> Result<Option<RunLayout>> {
        for run in runs_of(project) {
            let Some(known) = SentRequest::of(&run).filter(|known| known.key == sent.key) else { continue };
            if sent.is_given && known.content != sent.content {
                return Err(key_of_another(&sent.key, &run));
            }
            let is_recent = sent.at.duration_since(known.at) < SAME_WITHIN;
            let is_open = || {
                let status = self.status_of(&run)?;
                Ok::<_, WorkbenchError>(status.is_active() || status == RunStatus::NotStarted)
            };
            if sent.is_given || (is_recent && is_open()?) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

fn key_of_another(key: &str, run: &RunLayout) -> WorkbenchError {
    let message = format!("{key:?} is the key of another request, which made the run {}", run.run_id());
    Problem::new(ProblemKind::Conflict, "request.key_used", message)
        .at_key("idempotency_key")
        .with_hint("give each request a key of its own, and send a request again unchanged")
        .into()
}

fn file(run: &RunLayout) -> PathBuf {
    run.folder().join("request.json")
}
