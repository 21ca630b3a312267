//! The folders that a client says are its user's: its roots.
//!
//! Clients up to the protocol's version 2025-11-25 are asked once, and again when they say that their roots changed. Later
//! versions let a server ask only in an answer; these clients are asked when a path was refused.

#![allow(
    deprecated,
    reason = "roots are deprecated in the protocol, and the way in which clients name their folders"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use greentune_workbench::{Workbench, given_path, is_too_broad};
use rmcp::{
    RoleServer,
    model::{
        CallToolResult, ClientCapabilities, InputRequest, InputRequiredResult, InputResponses,
        ListRootsRequest, ListRootsResult,
    },
    service::RequestContext,
};

/// A client that does not say what its roots are within this time has none.
const PATIENCE: Duration = Duration::from_secs(5);
/// The question in an answer.
const QUESTION: &str = "roots";

/// What the client said.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientRoots(Arc<Mutex<Option<Vec<PathBuf>>>>);

impl ClientRoots {
    /// Forgets what the client said, which has changed.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `workbench` with the client's roots, as far as they are known or may be asked for now.
    pub(crate) async fn extend(
        &self,
        workbench: &Workbench,
        responses: Option<&InputResponses>,
        context: &RequestContext<RoleServer>,
    ) -> Workbench {
        let answered = responses.and_then(|responses| responses.get(QUESTION));
        if let Some(answer) = answered {
            self.keep(&serde_json::from_value(answer.clone()).unwrap_or_default());
        } else if self.known().is_none() && is_of_old_version(context) && has_roots(context) {
            let asked = tokio::time::timeout(PATIENCE, context.peer.list_roots()).await;
            self.keep(&asked.ok().and_then(Result::ok).unwrap_or_default());
        }
        let home = workbench.config().user_home.as_deref();
        let roots = self.known().unwrap_or_default();
        let narrow: Vec<_> = roots.into_iter().filter(|root| !is_too_broad(root, home)).collect();
        workbench.with_allowed(&narrow)
    }

    /// The question for the roots, where `refusal` is that of a path and the client can be asked in an answer.
    pub(crate) fn question(
        &self,
        refusal: &CallToolResult,
        context: &RequestContext<RoleServer>,
    ) -> Option<InputRequiredResult> {
        let code = refusal.structured_content.as_ref().and_then(|content| content["code"].as_str());
        let is_needed = refusal.is_error == Some(true) && code == Some("path.outside_roots");
        if !is_needed || self.known().is_some() || is_of_old_version(context) || !has_roots(context) {
            return None;
        }
        let question = InputRequest::ListRoots(ListRootsRequest::default());
        let questions = BTreeMap::from([(QUESTION.to_owned(), question)]);
        Some(InputRequiredResult::from_input_requests(questions))
    }

    fn known(&self) -> Option<Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, answer: &ListRootsResult) {
        let folder = |uri: &str| given_path(Path::new(uri), None).ok().filter(|path| path.is_absolute());
        let folders = answer.roots.iter().filter_map(|root| folder(&root.uri));
        let folders = folders.filter(|folder| folder.is_dir()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(folders);
    }
}

/// Whether the client may be sent requests.
fn is_of_old_version(context: &RequestContext<RoleServer>) -> bool {
    context.meta.protocol_version().is_none()
}

fn has_roots(context: &RequestContext<RoleServer>) -> bool {
    let said = |capabilities: ClientCapabilities| capabilities.roots.is_some();
    context.meta.client_capabilities().map_or_else(
        || context.peer.peer_info().is_some_and(|client| said(client.capabilities.clone())),
        said,
    )
}
