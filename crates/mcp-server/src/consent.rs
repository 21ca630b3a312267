//! The user's consent to what cannot be taken back: an upload, files that are replaced.
//!
//! A client that can ask its user (elicitation) is had to ask. Of another the call must say `confirm: true` for what is
//! published; that files are replaced it says by `force` or `overwrite`.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use greentune_core_config::{Problem, ProblemKind};
use greentune_workbench::operation::Consent;
use rmcp::{
    RoleServer,
    model::{
        ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
        InputRequiredResult, InputResponses,
    },
    service::RequestContext,
};

/// A user who does not answer within this time has not agreed.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the user says.
pub(crate) enum Said {
    /// Go on.
    Yes,
    /// Do not; why, for the model.
    No(Box<Problem>),
    /// Nothing yet: the client is to ask.
    Ask(Box<InputRequiredResult>),
}

/// Finds out whether the user agrees to `consent`.
pub(crate) async fn of_user(
    consent: &Consent,
    confirmed: bool,
    responses: Option<&InputResponses>,
    context: &RequestContext<RoleServer>,
) -> Said {
    let can_ask = context.client_capabilities().is_some_and(|client| client.elicitation.is_some());
    if !can_ask {
        return match consent {
            Consent::Publishes(_) if !confirmed => Said::No(Box::new(unconfirmed(consent))),
            Consent::Publishes(_) | Consent::Replaces(_) => Said::Yes,
        };
    }
    let question = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: format!("greentune would {}. Do you agree?", consent.in_words()),
        requested_schema: ElicitationSchema::new(BTreeMap::new()),
    };
    // Up to version 2025-11-25 a server may ask in between; later it asks in an answer, and the call comes again.
    if context.meta.protocol_version().is_none() {
        let asked = tokio::time::timeout(PATIENCE, context.peer.create_elicitation(question)).await;
        return said(consent, asked.ok().and_then(Result::ok).as_ref());
    }
    let key = key(consent);
    if let Some(answer) = responses.and_then(|responses| responses.get(&key)) {
        return said(consent, serde_json::from_value(answer.clone()).ok().as_ref());
    }
    let question = InputRequest::Elicitation(ElicitRequest::new(question));
    let questions = BTreeMap::from([(key, question)]);
    Said::Ask(Box::new(InputRequiredResult::from_input_requests(questions)))
}

/// The name of the question: an answer to another one is none to this.
fn key(consent: &Consent) -> String {
    let mut hasher = DefaultHasher::new();
    consent.in_words().hash(&mut hasher);
    format!("consent-{:016x}", hasher.finish())
}

fn said(consent: &Consent, answer: Option<&ElicitResult>) -> Said {
    if answer.is_some_and(|answer| answer.action == ElicitationAction::Accept) {
        return Said::Yes;
    }
    let message = format!("the user did not agree to {}", consent.in_words());
    let problem = Problem::new(ProblemKind::Cancelled, "consent.refused", message);
    Said::No(Box::new(problem.with_hint("nothing was done; ask the user what they want instead")))
}

fn unconfirmed(consent: &Consent) -> Problem {
    let message = format!("this would {}, and the user has not agreed to it", consent.in_words());
    Problem::new(ProblemKind::InvalidInput, "consent.needed", message)
        .at_key("confirm")
        .with_hint("ask the user; when they agree, make the same call with confirm = true")
}
