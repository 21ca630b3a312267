//! What it means when the Hub answers with an error.

use std::time::Duration;

use greentune_http_client::Answer;

use super::{error::HubError, settings::HubSettings};

/// How much of a refusal's text is worth repeating, in characters.
const SAID: usize = 200;

/// An answer with an error.
pub(super) struct Refusal {
    status: u16,
    /// The header `X-Error-Code`, which tells apart what the status alone does not.
    code: String,
    reason: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// The error in `answer`.
    pub(super) fn read(answer: Answer) -> Self {
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let (status, retry_after) = (answer.status(), answer.retry_after());
        let code = header("x-error-code").unwrap_or_default();
        let reason = header("x-error-message").or_else(|| error_in(answer)).unwrap_or_default();
        let reason = reason.chars().take(SAID).collect();
        Self { status, code, reason, retry_after }
    }

    /// What the refusal means for a request of the model `id` at `revision`, or of its `file`.
    pub(super) fn into_error(
        self,
        settings: &HubSettings,
        id: &str,
        revision: &str,
        file: Option<&str>,
    ) -> HubError {
        let Self { status, code, reason, retry_after } = self;
        let (id, revision, endpoint) = (id.to_owned(), revision.to_owned(), settings.endpoint.clone());
        let token = settings.token.as_ref();
        let has_token = token.is_some();
        match (status, code.as_str(), file, token) {
            (_, "GatedRepo", ..) => HubError::Gated { page: format!("{endpoint}/{id}"), id, has_token },
            (_, "RevisionNotFound", ..) => HubError::RevisionNotFound { id, revision },
            (_, "EntryNotFound", Some(file), _) => {
                HubError::EntryNotFound { id, file: file.to_owned(), revision }
            }
            // The Hub hides what exists from those who may not see it, so that 401 is its 404 for strangers.
            (401 | 404, "RepoNotFound", ..) => HubError::RepoNotFound { id, endpoint, has_token },
            (401, _, _, Some(token)) => {
                HubError::TokenRefused { source_name: token.source().to_owned(), endpoint }
            }
            (401, _, _, None) => HubError::LoginNeeded { id, endpoint },
            (403, ..) => HubError::Forbidden { id, endpoint, reason },
            (404, _, Some(file), _) => HubError::EntryNotFound { id, file: file.to_owned(), revision },
            (404, ..) => HubError::RepoNotFound { id, endpoint, has_token },
            (429, ..) => HubError::RateLimited { endpoint, retry_after },
            (408 | 500.., ..) => HubError::ServerFailed { endpoint, status, reason },
            _ => HubError::BadAnswer { url: endpoint, reason: format!("status {status} {reason}") },
        }
    }
}

impl Refusal {
    /// What the refusal means for somebody who asks whose token they send; nothing where the Hub does not say, or not now.
    pub(super) fn of_asking_who(self, settings: &HubSettings) -> Option<HubError> {
        match (self.status, settings.token.as_ref()) {
            (401, Some(token)) => Some(HubError::TokenRefused {
                source_name: token.source().to_owned(),
                endpoint: settings.endpoint.clone(),
            }),
            _ => None,
        }
    }

    /// What the refusal means for somebody who is about to write to the repository `id`, and looks whether it is there.
    pub(super) fn of_looking(self, settings: &HubSettings, id: &str) -> HubError {
        let is_unknown = self.status == 404 || self.code == "RepoNotFound";
        if is_unknown { self.into_error(settings, id, "main", None) } else { self.of_writing(settings, id) }
    }

    /// What the refusal means for somebody who writes to the repository `id`.
    pub(super) fn of_writing(self, settings: &HubSettings, id: &str) -> HubError {
        let Self { status, reason, retry_after, .. } = self;
        let (id, endpoint) = (id.to_owned(), settings.endpoint.clone());
        let source_name = settings.token.as_ref().map(|token| token.source().to_owned()).unwrap_or_default();
        match status {
            401..=404 => HubError::WriteForbidden { id, endpoint, source_name, reason },
            409 | 412 => HubError::ChangedMeanwhile { id, reason },
            429 => HubError::RateLimited { endpoint, retry_after },
            408 | 500.. => HubError::ServerFailed { endpoint, status, reason },
            _ => HubError::BadAnswer { url: endpoint, reason: format!("status {status} {reason}") },
        }
    }
}

/// What the body of a refusal says, in the Hub's form `{"error": "…"}`.
fn error_in(answer: Answer) -> Option<String> {
    let said: serde_json::Value = serde_json::from_str(&answer.text(64 << 10).ok()?).ok()?;
    Some(said.get("error")?.as_str()?.to_owned())
}
