//! What an operation is to a front end: what it is called, what it changes, what it takes and answers, and how it is
//! performed.

use std::{pin::Pin, sync::OnceLock};

use greentune_core_config::Suggestion;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{arguments, schema};
use crate::{Result, Workbench, WorkbenchError};

/// An operation of the workbench; implemented by its request (see `registry`).
pub trait Operation: DeserializeOwned + JsonSchema + Send + 'static {
    /// What it answers.
    type Response: Serialize + JsonSchema + Send + 'static;

    /// Its name, such as `start_training`: that of the method of [`Workbench`].
    const NAME: &'static str;
    /// Its name for people.
    const TITLE: &'static str;
    /// What it does and when to use it; as short as possible, assistants read it in every conversation.
    const DESCRIPTION: &'static str;
    /// What it changes.
    const EFFECT: Effect;
    /// How far it reaches.
    const REACH: Reach;

    /// Performs the operation.
    fn perform(self, workbench: &Workbench) -> impl Future<Output = Result<Self::Response>> + Send;

    /// What came of it in a sentence or two, main figures included; the response as JSON where nothing shorter is known.
    fn in_words(response: &Self::Response) -> String {
        serde_json::to_string(response).unwrap_or_default()
    }

    /// What can be done next.
    fn advice(_response: &Self::Response) -> Advice {
        Advice::default()
    }

    /// What of this request its user should agree to when somebody else asks for it.
    fn consent(&self) -> Option<Consent> {
        None
    }
}

/// Something that cannot be taken back, in words that follow "It would".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Sends something to where others may see it.
    Publishes(String),
    /// Replaces files, which the request has asked for in so many words (`force`, `overwrite`).
    Replaces(String),
}

impl Consent {
    /// What would be done.
    pub fn in_words(&self) -> &str {
        let (Self::Publishes(words) | Self::Replaces(words)) = self;
        words
    }
}

/// What an operation changes. Caches and the index of runs, which are rebuilt by themselves, do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Each call adds something.
    Adds,
    /// The first call changes something, the same call again does not.
    Settles,
    /// Files of an earlier call, when it is told to.
    Replaces,
}

/// How far an operation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine alone.
    Local,
    /// It may ask services that the settings name: the Hugging Face Hub, carbon intensity, trackers.
    Network,
}

/// What can be done after an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Operations that help.
    pub suggestions: Vec<Suggestion>,
    /// What else helps, in a sentence.
    pub hint: Option<String>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The response.
    pub content: Value,
    /// The response in words.
    pub text: String,
    /// What can be done next.
    pub advice: Advice,
}

/// Arguments, or a schema of them.
type Object = Map<String, Value>;

/// The schema of a request, made when it is first needed: every call is checked by it.
pub(super) type RequestSchema = OnceLock<Object>;

/// An operation that is being performed.
pub type Performing = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

/// An operation without its types: what front ends iterate.
#[derive(Debug)]
pub struct Entry {
    /// Its name, such as `start_training`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does and when to use it.
    pub description: &'static str,
    /// What it changes.
    pub effect: Effect,
    /// How far it reaches.
    pub reach: Reach,
    make_request_schema: fn() -> Map<String, Value>,
    request_schema: &'static RequestSchema,
    response_schema: fn() -> Map<String, Value>,
    whole_response_schema: fn() -> Map<String, Value>,
    consent: fn(Object, &Object) -> Result<Option<Consent>>,
    perform: fn(Workbench, Object, &Object) -> Performing,
}

impl Entry {
    /// The entry of operation `O`.
    pub(super) const fn of<O: Operation>(request_schema: &'static RequestSchema) -> Self {
        Self {
            name: O::NAME,
            title: O::TITLE,
            description: O::DESCRIPTION,
            effect: O::EFFECT,
            reach: O::REACH,
            make_request_schema: schema::of_request::<O>,
            request_schema,
            response_schema: schema::of_response::<O::Response>,
            whole_response_schema: schema::of_whole_response::<O::Response>,
            consent: |arguments, schema| Ok(read::<O>(arguments, schema)?.consent()),
            perform: |workbench, arguments, schema| {
                let request = read::<O>(arguments, schema);
                Box::pin(async move { perform(&workbench, request?).await })
            },
        }
    }

    /// JSON Schema of the arguments.
    pub fn request_schema(&self) -> &Map<String, Value> {
        self.request_schema.get_or_init(self.make_request_schema)
    }

    /// The same in brief: models read it in every conversation. Arguments that it leaves out are still accepted and checked.
    pub fn brief_request_schema(&self) -> Map<String, Value> {
        schema::brief(self.request_schema().clone())
    }

    /// JSON Schema of the response: the types of its fields.
    pub fn response_schema(&self) -> Map<String, Value> {
        (self.response_schema)()
    }

    /// JSON Schema of the response in full, with its `$defs`.
    pub fn whole_response_schema(&self) -> Map<String, Value> {
        (self.whole_response_schema)()
    }

    /// Reads `arguments` without doing anything, and says what of it its user should agree to.
    ///
    /// Errors: arguments that are unknown, missing or of a wrong type, all at once.
    pub fn consent(&self, arguments: Map<String, Value>) -> Result<Option<Consent>> {
        (self.consent)(arguments, self.request_schema())
    }

    /// Performs it with `arguments`.
    ///
    /// Errors: arguments that are unknown, missing or of a wrong type, all at once; those of the operation.
    pub fn perform(&self, workbench: &Workbench, arguments: Map<String, Value>) -> Performing {
        (self.perform)(workbench.clone(), arguments, self.request_schema())
    }
}

fn read<O: Operation>(arguments: Map<String, Value>, schema: &Map<String, Value>) -> Result<O> {
    Ok(arguments::read(arguments, schema)?)
}

async fn perform<O: Operation>(workbench: &Workbench, request: O) -> Result<Answer> {
    let response = request.perform(workbench).await?;
    let content = serde_json::to_value(&response)
        .map_err(|error| WorkbenchError::Internal(format!("a response cannot be JSON: {error}")))?;
    Ok(Answer { content, text: O::in_words(&response), advice: O::advice(&response) })
}
