//! An operation of the workbench as a tool.

use std::{pin::Pin, sync::Arc};

use greentune_core_config::Diagnostic;
use greentune_workbench::{Result, Workbench};
use rmcp::{
    ErrorData,
    model::{CallToolResult, JsonObject, Tool, ToolAnnotations},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{answer, arguments, progress::Progress, schema};

/// An operation of the workbench as a tool; implemented by the operation's request.
pub(crate) trait Operation: DeserializeOwned + JsonSchema + Send + 'static {
    /// What the operation answers.
    type Response: Serialize + JsonSchema + Send + 'static;

    /// The tool's name: the operation's.
    const NAME: &'static str;
    /// The tool's name for people.
    const TITLE: &'static str;
    /// What it does and when to use it; as short as possible, it costs every conversation room.
    const DESCRIPTION: &'static str;
    /// What a call changes.
    const EFFECT: Effect;
    /// Whether it may reach out of this machine: for a base model of the Hugging Face Hub.
    const REACHES_OUT: bool = false;

    /// Does it.
    fn perform(
        self,
        workbench: &Workbench,
        progress: Option<Progress>,
    ) -> impl Future<Output = Result<Self::Response>> + Send;

    /// What came of it in a sentence or two, main figures included, for clients that show text alone.
    fn text(response: &Self::Response) -> String;
}

/// What a call of a tool changes.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Nothing.
    Reads,
    /// Each call adds something.
    Adds,
    /// The first call changes something, the same call again does not.
    Settles,
    /// Files of an earlier call, when it is told to.
    Replaces,
}

impl Effect {
    fn annotations(self, reaches_out: bool) -> ToolAnnotations {
        ToolAnnotations::new()
            .read_only(matches!(self, Self::Reads))
            .destructive(matches!(self, Self::Replaces))
            .idempotent(!matches!(self, Self::Adds))
            .open_world(reaches_out)
    }
}

/// What a call brings along.
pub(crate) struct Call {
    /// The service layer.
    pub workbench: Workbench,
    /// The arguments as sent.
    pub arguments: JsonObject,
    /// Where progress goes, when the client wants it.
    pub progress: Option<Progress>,
}

type Answering = Pin<Box<dyn Future<Output = Result<CallToolResult, ErrorData>> + Send>>;

/// A tool: how it is listed, and how it is called.
pub(crate) struct Entry {
    /// As listed.
    pub tool: Tool,
    call: fn(Call, Arc<JsonObject>) -> Answering,
}

impl Entry {
    /// The tool of operation `O`.
    pub(crate) fn of<O: Operation>() -> Self {
        let tool = Tool::new(O::NAME, O::DESCRIPTION, schema::input::<O>())
            .with_title(O::TITLE)
            .with_raw_output_schema(Arc::new(schema::output::<O::Response>()))
            .with_annotations(O::EFFECT.annotations(O::REACHES_OUT));
        Self { tool, call: |call, schema| Box::pin(answer_call::<O>(call, schema)) }
    }

    /// The tool's name.
    pub(crate) fn name(&self) -> &str {
        &self.tool.name
    }

    /// Calls the tool.
    pub(crate) fn call(&self, call: Call) -> Answering {
        (self.call)(call, Arc::clone(&self.tool.input_schema))
    }
}

async fn answer_call<O: Operation>(call: Call, schema: Arc<JsonObject>) -> Result<CallToolResult, ErrorData> {
    let request: O = match arguments::read(call.arguments, &schema) {
        Ok(request) => request,
        Err(problem) => return answer::failure(&problem),
    };
    match request.perform(&call.workbench, call.progress).await {
        Ok(response) => answer::success(O::text(&response), &response),
        Err(error) => answer::failure(&error.problem()),
    }
}
