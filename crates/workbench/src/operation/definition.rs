//! What an operation is to a front end: what it is called, what it changes, what it takes and answers, and how it is
//! performed.

use std::pin::Pin;

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
    request_schema: fn() -> Map<String, Value>,
    response_schema: fn() -> Map<String, Value>,
    whole_response_schema: fn() -> Map<String, Value>,
    consent: fn(Map<String, Value>) -> Result<Option<Consent>>,
    perform: fn(Workbench, Map<String, Value>) -> Performing,
}

impl Entry {
    /// The entry of operation `O`.
    pub(super) const fn of<O: Operation>() -> Self {
        Self {
            name: O::NAME,
            title: O::TITLE,
            description: O::DESCRIPTION,
            effect: O::EFFECT,
            reach: O::REACH,
            request_schema: schema::of_request::<O>,
            response_schema: schema::of_response::<O::Response>,
            whole_response_schema: schema::of_whole_response::<O::Response>,
            consent: |arguments| Ok(read::<O>(arguments)?.consent()),
            perform: |workbench, arguments| Box::pin(perform::<O>(workbench, arguments)),
        }
    }

    /// JSON Schema of the arguments.
    pub fn request_schema(&self) -> Map<String, Value> {
        (self.request_schema)()
    }

    /// The same in brief: models read it in every conversation. Arguments that it leaves out are still accepted and checked.
    pub fn brief_request_schema(&self) -> Map<String, Value> {
        schema::brief((self.request_schema)())
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
        (self.consent)(arguments)
    }

    /// Performs it with `arguments`.
    ///
    /// Errors: arguments that are unknown, missing or of a wrong type, all at once; those of the operation.
    pub fn perform(&self, workbench: &Workbench, arguments: Map<String, Value>) -> Performing {
        (self.perform)(workbench.clone(), arguments)
    }
}

fn read<O: Operation>(arguments: Map<String, Value>) -> Result<O> {
    Ok(arguments::read(arguments, &schema::of_request::<O>())?)
}

async fn perform<O: Operation>(workbench: Workbench, arguments: Map<String, Value>) -> Result<Answer> {
    let request: O = read(arguments)?;
    let response = request.perform(&workbench).await?;
    let content = serde_json::to_value(&response)
        .map_err(|error| WorkbenchError::Internal(format!("a response cannot be JSON: {error}")))?;
    Ok(Answer { content, text: O::in_words(&response), advice: O::advice(&response) })
}
