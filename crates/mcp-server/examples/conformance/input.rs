//! Calls that ask for input and are called again with it (SEP-2322).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
        InputRequest, InputRequests, InputRequiredResult, InputResponses,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use crate::{calls::says, fixture::of};

/// Calls that wait for input, by the state that their client sends back: it only names what is kept here, so that nobody can
/// make one up.
#[derive(Default)]
pub struct States(Mutex<HashMap<String, &'static str>>);

impl States {
    /// A state for a call that stands at `step`.
    fn keep(&self, step: &'static str) -> Result<String, ErrorData> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let state = format!("{:032x}", u128::from_be_bytes(bytes));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(state.clone(), step);
        Ok(state)
    }

    /// Where the call of `state` stands; nowhere without a state.
    ///
    /// Errors: the state is not one that was given out.
    fn take(&self, state: Option<&str>) -> Result<Option<&'static str>, ErrorData> {
        let Some(state) = state else { return Ok(None) };
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(state);
        kept.map(Some)
            .ok_or_else(|| ErrorData::invalid_params("the request state is not one of this server", None))
    }
}

/// A question to the user, with one field.
pub fn question(message: &str, field: &str, kind: &str) -> Value {
    json!({ "method": "elicitation/create", "params": {
        "mode": "form",
        "message": message,
        "requestedSchema": { "type": "object", "properties": { field: { "type": kind } }, "required": [field] },
    }})
}

fn sampling(text: &str, most_tokens: u64) -> Value {
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    json!({ "method": "sampling/createMessage", "params": { "messages": [message], "maxTokens": most_tokens } })
}

fn roots() -> Value {
    json!({ "method": "roots/list", "params": {} })
}

/// An answer that asks for `requests`.
fn asks(requests: Value, state: Option<String>) -> Result<InputRequiredResult, ErrorData> {
    let requests: InputRequests = of(requests)?;
    Ok(InputRequiredResult::new(Some(requests), state))
}

/// The field of the user's answer under `key`, when the user gave one.
pub fn field<'a>(responses: Option<&'a InputResponses>, key: &str, field: &str) -> Option<&'a Value> {
    responses?.get(key)?.get("content")?.get(field)
}

/// The answer to a call of a tool that asks for input; nothing when it is another tool.
pub fn call(
    states: &States,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<Option<CallToolResponse>, ErrorData> {
    let responses = request.input_responses.as_ref();
    let given =
        |key: &str| responses.and_then(|responses| responses.get(key)).filter(|given| given.is_object());
    let name = question("What is your name?", "name", "string");
    let Some(tool) = request.name.strip_prefix("test_input_required_result_") else {
        return Ok(None);
    };
    let step = states.take(request.request_state.as_deref())?;
    let asked = match tool {
        "elicitation" => match field(responses, "user_name", "name").and_then(Value::as_str) {
            Some(name) => return answered(&format!("Hello, {name}!")),
            None => asks(json!({ "user_name": name }), None)?,
        },
        "sampling" => match given("capital_question") {
            Some(answer) => return answered(&answer["content"]["text"].to_string()),
            None => {
                asks(json!({ "capital_question": sampling("What is the capital of France?", 100) }), None)?
            }
        },
        "list_roots" => match given("client_roots") {
            Some(roots) => return answered(&roots["roots"].to_string()),
            None => asks(json!({ "client_roots": roots() }), None)?,
        },
        "request_state" | "tampered_state" => {
            if let (Some(_), Some(_)) = (step, given("confirm")) {
                return answered("state-ok");
            }
            let confirm = question("Please confirm", "ok", "boolean");
            asks(json!({ "confirm": confirm }), Some(states.keep("confirm")?))?
        }
        "multiple_inputs" => {
            let are_given = ["user_name", "greeting", "client_roots"].iter().all(|key| given(key).is_some());
            if step.is_some() && are_given {
                return answered("all three are there");
            }
            let all = json!({
                "user_name": name, "greeting": sampling("Generate a greeting", 50), "client_roots": roots(),
            });
            asks(all, Some(states.keep("all")?))?
        }
        "multi_round" => match step {
            Some("color") if given("step2").is_some() => return answered("both steps are done"),
            Some("name") if given("step1").is_some() => {
                let color = question("Step 2: What is your favorite color?", "color", "string");
                asks(json!({ "step2": color }), Some(states.keep("color")?))?
            }
            _ => {
                let name = question("Step 1: What is your name?", "name", "string");
                asks(json!({ "step1": name }), Some(states.keep("name")?))?
            }
        },
        "capabilities" => asks(what_the_client_can(context), None)?,
        _ => return Ok(None),
    };
    Ok(Some(CallToolResponse::from(asked)))
}

/// Questions of the kinds that the client declares.
fn what_the_client_can(context: &RequestContext<RoleServer>) -> Value {
    let client = context.client_capabilities().unwrap_or_default();
    let mut all = json!({});
    if client.elicitation.is_some() {
        all["user_name"] = question("What is your name?", "name", "string");
    }
    if client.sampling.is_some() {
        all["greeting"] = sampling("Generate a greeting", 50);
    }
    all
}

fn answered(text: &str) -> Result<Option<CallToolResponse>, ErrorData> {
    says(text).map(|result| Some(CallToolResponse::from(result)))
}

/// The prompt that asks for its context; nothing when `request` names another.
pub fn prompt(request: &GetPromptRequestParams) -> Result<Option<GetPromptResponse>, ErrorData> {
    if request.name != "test_input_required_result_prompt" {
        return Ok(None);
    }
    let Some(context) = field(request.input_responses.as_ref(), "user_context", "context") else {
        let question = question("What context should the prompt use?", "context", "string");
        return asks(json!({ "user_context": question }), None).map(|asked| Some(asked.into()));
    };
    let content = json!({ "type": "text", "text": format!("The context is {context}.") });
    let messages = json!([{ "role": "user", "content": content }]);
    of::<GetPromptResult>(json!({ "resultType": "complete", "messages": messages }))
        .map(|prompt| Some(prompt.into()))
}

/// One question to the user, for a task.
pub fn of_task(message: &str, field: &str, kind: &str) -> Result<InputRequest, ErrorData> {
    of(question(message, field, kind))
}

/// Asks for the name before a task begins; the name once it is there.
pub fn name_for_task(
    request: &CallToolRequestParams,
) -> Result<Result<String, InputRequiredResult>, ErrorData> {
    match field(request.input_responses.as_ref(), "user_name", "name").and_then(Value::as_str) {
        Some(name) => Ok(Ok(name.to_owned())),
        None => asks(json!({ "user_name": question("What is your name?", "name", "string") }), None).map(Err),
    }
}
