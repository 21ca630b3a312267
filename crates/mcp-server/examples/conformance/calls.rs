//! Calls that are answered while their client waits.

use std::time::Duration;

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, LoggingLevel,
        LoggingMessageNotificationParam, ProgressNotificationParam,
    },
    service::{RequestContext, ServiceError},
};
use serde_json::{Value, json};

use crate::{
    catalogue::{PNG, WAV},
    fixture::{Change, Fixture, of},
    input::question,
};

/// Time between two steps of a tool that tells of them.
const STEP: Duration = Duration::from_millis(50);

/// An answer of `text`.
pub fn says(text: &str) -> Result<CallToolResult, ErrorData> {
    has(&json!([{ "type": "text", "text": text }]))
}

/// A failure that is told as `text`.
pub fn fails(text: &str) -> Result<CallToolResult, ErrorData> {
    of(json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }], "isError": true }))
}

/// The text of an argument, empty where there is none.
pub fn text_of(argument: Option<&Value>) -> String {
    argument.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn has(content: &Value) -> Result<CallToolResult, ErrorData> {
    of(json!({ "resultType": "complete", "content": content }))
}

/// Calls the tool that `request` names.
///
/// Errors: there is none; the client cannot do what it needs.
pub async fn call(
    fixture: &Fixture,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let argument = |name: &str| text_of(request.arguments.as_ref().and_then(|arguments| arguments.get(name)));
    let image = json!({ "type": "image", "data": PNG, "mimeType": "image/png" });
    let resource = |uri: &str, kind: &str, text: &str| {
        let resource = json!({ "uri": uri, "mimeType": kind, "text": text });
        json!({ "type": "resource", "resource": resource })
    };
    match request.name.as_ref() {
        "test_simple_text" => says("This is a simple text response for testing."),
        "test_image_content" => has(&json!([image])),
        "test_audio_content" => has(&json!([{ "type": "audio", "data": WAV, "mimeType": "audio/wav" }])),
        "test_embedded_resource" => {
            let text = "This is an embedded resource content.";
            has(&json!([resource("test://embedded-resource", "text/plain", text)]))
        }
        "test_multiple_content_types" => {
            let text = json!({ "type": "text", "text": "Multiple content types test:" });
            let data = json!({ "test": "data", "value": 123 }).to_string();
            has(&json!([text, image, resource("test://mixed-content-resource", "application/json", &data)]))
        }
        "test_error_handling" => fails("This tool intentionally returns an error for testing"),
        "greet" => says(&format!("Hello, {}!", argument("name"))),
        "test_custom_headers" => says(&argument("region")),
        "json_schema_2020_12_tool" => says("The schema is what counts."),
        "test_tool_with_logging" => {
            for text in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                log(context, text).await?;
                tokio::time::sleep(STEP).await;
            }
            says("Three lines were written into the log.")
        }
        "test_logging_tool" => {
            if context.meta.log_level().is_some() {
                log(context, "The call sets a level").await?;
            }
            says("The log has a line where the call sets a level.")
        }
        "test_tool_with_progress" => {
            for progress in [0.0, 50.0, 100.0] {
                report(context, progress).await?;
                tokio::time::sleep(STEP).await;
            }
            says("All is done.")
        }
        "test_reconnection" => {
            log(context, "The call has begun").await?;
            says("The call is done.")
        }
        "test_trigger_tool_change" => told(fixture, Change::Tools),
        "test_trigger_prompt_change" => told(fixture, Change::Prompts),
        "test_missing_capability" => {
            let sampling = ClientCapabilities::builder().enable_sampling().build();
            let client = context.client_capabilities().unwrap_or_default();
            if client.sampling.is_none() {
                return Err(ErrorData::missing_required_client_capability(sampling));
            }
            says("The client samples.")
        }
        "test_streaming_elicitation" => {
            report(context, 0.0).await?;
            says("Nothing was asked.")
        }
        "test_sampling" => {
            let message =
                json!({ "role": "user", "content": { "type": "text", "text": argument("prompt") } });
            let answer = context.peer.create_message(of(json!({ "messages": [message], "maxTokens": 100 }))?);
            let answer = serde_json::to_value(answer.await.map_err(refused)?).unwrap_or_default();
            says(&format!("LLM response: {}", answer["content"]))
        }
        "test_elicitation" => {
            let mut question = question(&argument("message"), "username", "string");
            let schema = &mut question["params"]["requestedSchema"];
            schema["properties"]["email"] = json!({ "type": "string" });
            schema["required"] = json!(["username", "email"]);
            ask(context, question["params"].take()).await
        }
        "test_elicitation_sep1034_defaults" => ask(context, form(&defaults())).await,
        "test_elicitation_sep1330_enums" => ask(context, form(&enums())).await,
        other => Err(ErrorData::invalid_params(format!("no tool {other:?}"), None)),
    }
}

fn told(fixture: &Fixture, change: Change) -> Result<CallToolResult, ErrorData> {
    // Nobody may have subscribed.
    let _ = fixture.changes.send(change);
    says("Those who subscribed are told.")
}

async fn log(context: &RequestContext<RoleServer>, text: &str) -> Result<(), ErrorData> {
    let line = LoggingMessageNotificationParam::new(LoggingLevel::Info, text.into());
    context.peer.notify_logging_message(line).await.map_err(refused)
}

/// Tells of progress where the client asks for it.
async fn report(context: &RequestContext<RoleServer>, progress: f64) -> Result<(), ErrorData> {
    let Some(token) = context.meta.get_progress_token() else { return Ok(()) };
    let progress = ProgressNotificationParam::new(token, progress).with_total(100.0);
    context.peer.notify_progress(progress).await.map_err(refused)
}

async fn ask(context: &RequestContext<RoleServer>, question: Value) -> Result<CallToolResult, ErrorData> {
    let answer = context.peer.create_elicitation(of(question)?).await.map_err(refused)?;
    says(&format!("User response: {}", serde_json::to_value(answer).unwrap_or_default()))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn refused(error: ServiceError) -> ErrorData {
    ErrorData::invalid_request(error.to_string(), None)
}

fn form(properties: &Value) -> Value {
    json!({
        "mode": "form",
        "message": "Please fill this in",
        "requestedSchema": { "type": "object", "properties": properties, "required": [] },
    })
}

fn defaults() -> Value {
    json!({
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true },
    })
}

fn enums() -> Value {
    let plain = json!(["option1", "option2", "option3"]);
    let titled = |word: &str| {
        let one = |number: u8, title: &str| json!({ "const": format!("value{number}"), "title": format!("{title} {word}") });
        json!([one(1, "First"), one(2, "Second"), one(3, "Third")])
    };
    json!({
        "untitledSingle": { "type": "string", "enum": plain },
        "titledSingle": { "type": "string", "oneOf": titled("Option") },
        "legacyEnum": {
            "type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
        "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } },
    })
}
